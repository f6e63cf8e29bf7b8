use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokenizers::Tokenizer;
use worldpm_ort_bundle::text_files::{TOKENIZER, TextFiles};

use super::{
    config::{self, TokenizerConfig},
    conversation::{Conversation, Message},
    error::TextError,
    guard::Guard,
    left_out,
    literal::Literal,
    long::{LongTexts, PIECE_BYTES, known::Settings},
    options::TextOptions,
    special::Given,
    template::ChatTemplates,
    tokenizer::{add_tokens, guarded, load_tokenizer},
};

/// Conversations of so many bytes, more than any model reads, become text one at a time: it takes three times their size.
const LARGE_BYTES: usize = 4 << 20;

/// A checkpoint's chat template and tokenizer: from conversation to token ids.
///
/// Cheap to clone; clones share one template and one tokenizer, and may be used from several threads at once.
///
/// ```no_run
/// # use worldpm_ort_runtime as worldpm_ort;
/// use worldpm_ort::text::{ChatEncoder, Conversation};
///
/// let encoder = ChatEncoder::open("WorldPM-72B")?;
/// let ids = encoder.conversation_ids(&Conversation::exchange("Tips for better sleep?", "Keep it dark."))?;
/// assert_eq!(encoder.token_text(ids[ids.len() - 1]).as_deref(), Some("<|endoftext|>"));
/// # Ok::<(), worldpm_ort::text::TextError>(())
/// ```
#[derive(Clone)]
pub struct ChatEncoder {
    parts: Arc<Parts>,
    options: TextOptions,
    step_token: Option<String>,
    guard: Made<Arc<Guard>>,
    /// The encoder to which special tokens in content are ordinary text.
    of_literal: Made<ChatEncoder>,
    /// What this one has of such an encoder, where it is one.
    literal: Option<Arc<Literal>>,
}

/// What is made when it is first needed, or why it cannot be.
type Made<T> = Arc<OnceLock<Result<T, String>>>;

struct Parts {
    tokenizer: Tokenizer,
    templates: Arc<ChatTemplates>,
    notes: Vec<String>,
    settings: Arc<Settings>,
    long: OnceLock<LongTexts>,
    large: Mutex<()>,
}

impl fmt::Debug for ChatEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatEncoder")
            .field("vocabulary", &self.parts.tokenizer.get_vocab_size(true))
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ChatEncoder {
    /// [`ChatEncoder::open_with`] and the default options.
    ///
    /// # Errors
    ///
    /// As [`ChatEncoder::open_with`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, TextError> {
        Self::open_with(dir, TextOptions::default())
    }

    /// Reads the [text files](mod@worldpm_ort_bundle::text_files) of a checkpoint, and compiles the template. For those of a
    /// bundle, see [`Bundle::text_files`](crate::Bundle::text_files) and [`ChatEncoder::from_files`].
    ///
    /// A `chat_template.jinja` (and files in `additional_chat_templates/`) comes before the `chat_template` field of
    /// `tokenizer_config.json`, which is one template or a list of named ones. The one named `default` is used, or the
    /// one named `tool_use` for a conversation with tools. `chat_template.json`, which belongs to processors of images,
    /// is not read; `transformers` does not read it for tokenizers either.
    ///
    /// # Errors
    ///
    /// Names the file that is missing, unreadable or malformed, and the line where a template does not compile.
    pub fn open_with(dir: impl AsRef<Path>, options: TextOptions) -> Result<Self, TextError> {
        Self::from_files(&TextFiles::of_checkpoint(dir.as_ref())?, options)
    }

    /// Makes an encoder of files that were read before.
    ///
    /// Special tokens that only their names give (`pad_token`, `extra_special_tokens`, …) are added to the tokenizer in
    /// the order of `transformers` 5, and so get its ids. `model.dropout`, which would make the ids of a text differ
    /// from run to run, is off.
    ///
    /// # Errors
    ///
    /// As [`ChatEncoder::open_with`].
    pub fn from_files(files: &TextFiles, options: TextOptions) -> Result<Self, TextError> {
        let path = files.dir().join(TOKENIZER);
        let bytes = config::required(files, TOKENIZER)?;
        let (mut tokenizer, mut notes) = load_tokenizer(&path, bytes)?;
        notes.splice(0..0, files.notes().iter().cloned());
        let given = Given {
            added: tokenizer.get_added_tokens_decoder().into_iter().collect(),
            padding: tokenizer
                .get_padding()
                .map(|padding| padding.pad_token.clone()),
        };
        tokenizer.with_padding(None);
        let config = TokenizerConfig::read(files, &given)?;
        add_tokens(&path, &mut tokenizer, config.special.additions)?;
        tokenizer.set_encode_special_tokens(config.split_special_tokens);
        let variables = config.special.variables;
        let templates = ChatTemplates::compile(config.templates, variables, options.now)?;
        Ok(Self {
            parts: Arc::new(Parts {
                tokenizer,
                templates: Arc::new(templates),
                notes,
                // Settings of another form are those of a tokenizer of which nothing is known.
                settings: Arc::new(serde_json::from_slice(bytes).unwrap_or_default()),
                long: OnceLock::new(),
                large: Mutex::new(()),
            }),
            options,
            step_token: None,
            guard: Made::default(),
            of_literal: Made::default(),
            literal: None,
        })
    }

    /// What a user should know of how the files were read, each in a sentence.
    pub fn notes(&self) -> &[String] {
        &self.parts.notes
    }

    /// The file of the chat template, and the field where it is in a field.
    pub fn template_origin(&self) -> &str {
        self.parts.templates.origin()
    }

    /// The added tokens, which a text is searched for before anything else, and their ids.
    pub fn added_tokens(&self) -> BTreeMap<String, u32> {
        let added = self.parts.tokenizer.get_added_tokens_decoder();
        let named = added.into_iter().map(|(id, token)| (token.content, id));
        named.collect()
    }

    /// Makes this the encoder of a model that scores steps: an assistant's answer may be a list of steps, and this
    /// token goes behind each of them.
    #[must_use]
    pub fn with_step_token(mut self, token: impl Into<String>) -> Self {
        self.step_token = Some(token.into());
        self.remade()
    }

    /// Sets whether a conversation without a system message gets an empty one in front, see
    /// [`TextOptions::system_marker`].
    #[must_use]
    pub fn with_system_marker(mut self, system_marker: bool) -> Self {
        self.options.system_marker = system_marker;
        self.remade()
    }

    /// Without what depends on how it was.
    fn remade(mut self) -> Self {
        self.guard = Made::default();
        self.of_literal = Made::default();
        self
    }

    /// An encoder with another tokenizer, which knows stand-ins of special tokens.
    pub(super) fn with_literal(&self, tokenizer: Tokenizer, literal: Literal) -> Self {
        Self {
            parts: Arc::new(Parts {
                tokenizer,
                templates: Arc::clone(&self.parts.templates),
                notes: Vec::new(),
                settings: Arc::clone(&self.parts.settings),
                long: OnceLock::new(),
                large: Mutex::new(()),
            }),
            options: self.options.clone(),
            step_token: literal.step().map(String::from),
            guard: Made::default(),
            of_literal: Made::default(),
            literal: Some(Arc::new(literal)),
        }
    }

    pub(super) fn literal(&self) -> Option<&Literal> {
        self.literal.as_deref()
    }

    pub(super) fn guard_cell(&self) -> &OnceLock<Result<Arc<Guard>, String>> {
        &self.guard
    }

    pub(super) fn literal_cell(&self) -> &OnceLock<Result<Self, String>> {
        &self.of_literal
    }

    pub(super) fn templates(&self) -> &ChatTemplates {
        &self.parts.templates
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    pub(super) fn step_token(&self) -> Option<&str> {
        self.step_token.as_deref()
    }

    /// The options in force.
    pub fn options(&self) -> &TextOptions {
        &self.options
    }

    /// The text that the chat template makes of a conversation, without a prompt for a further reply.
    ///
    /// # Errors
    ///
    /// A conversation that does not [validate](Conversation::validate), or that the template refuses or fails on.
    pub fn render(&self, conversation: &Conversation) -> Result<String, TextError> {
        let marker = self.options.system_marker;
        let conversation = self.prepare(conversation)?;
        self.parts.templates.render(&conversation, marker)
    }

    /// Waits until no other large conversation takes memory for its text, where this is one.
    pub(super) fn turn_of(&self, conversation: &Conversation) -> Option<MutexGuard<'_, ()>> {
        let contents = conversation.messages.iter().filter_map(Message::content);
        let bytes: usize = contents.map(str::len).sum();
        let large = &self.parts.large;
        (bytes >= LARGE_BYTES).then(|| large.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The conversation as the template takes it: valid, and each message one text.
    pub(super) fn prepare<'a>(
        &self,
        conversation: &'a Conversation,
    ) -> Result<Cow<'a, Conversation>, TextError> {
        conversation.validate()?;
        let joined = conversation.join_steps(self.step_token.as_deref())?;
        left_out::check(&self.parts.templates, &joined, self.options.system_marker)?;
        Ok(joined)
    }

    /// The token ids of a text. Nothing is added to it, and the text of a special token becomes that token.
    ///
    /// # Errors
    ///
    /// [`TextError::Encode`] when the tokenizer fails, as it does on ten million spaces in a row, and
    /// [`TextError::TextTooLarge`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut ids = Vec::new();
        self.encode_while(text, |piece| {
            ids.extend_from_slice(piece);
            true
        })?;
        Ok(ids)
    }

    /// [`encode`](Self::encode) in bounded memory: `take` is given the ids as they come, and says whether to go on.
    pub(super) fn encode_while(
        &self,
        text: &str,
        mut take: impl FnMut(&[u32]) -> bool,
    ) -> Result<(), TextError> {
        let Some(literal) = self.literal() else {
            return self.encode_raw(text, take);
        };
        let (mut special, mut all) = (Vec::new(), true);
        self.encode_raw(text, |ids| {
            special.extend(ids.iter().copied().filter(|id| literal.is_special(*id)));
            all = take(&literal.restored(ids));
            all
        })?;
        match all {
            true => literal.check_found(text, &special),
            false => Ok(()),
        }
    }

    fn encode_raw(
        &self,
        text: &str,
        mut take: impl FnMut(&[u32]) -> bool,
    ) -> Result<(), TextError> {
        let tokenizer = &self.parts.tokenizer;
        if text.len() <= PIECE_BYTES {
            let encoding = guarded(text, || tokenizer.encode_fast(text, false))?;
            take(encoding.get_ids());
            return Ok(());
        }
        let encode = |piece: &str| guarded(text, || tokenizer.encode(piece, false));
        self.long().encode(text, encode, |piece| take(piece.ids))
    }

    /// What is known of the tokenizer's way with long texts.
    pub(super) fn long(&self) -> &LongTexts {
        let parts = &self.parts;
        let of = || LongTexts::of(&parts.settings, &parts.tokenizer);
        parts.long.get_or_init(of)
    }

    /// The ids of the tokens of a text, each with its bytes.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_with_ranges(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>, TextError> {
        let ids = self.encode(text)?;
        let ranges = self.token_ranges(text)?;
        // Inside of a character that several tokens make up, the whole of it.
        let whole = |(start, end)| text.floor_char_boundary(start)..text.ceil_char_boundary(end);
        Ok(ids.into_iter().zip(ranges.into_iter().map(whole)).collect())
    }

    /// The byte range of each token of a text.
    pub(super) fn token_ranges(&self, text: &str) -> Result<Vec<(usize, usize)>, TextError> {
        let tokenizer = &self.parts.tokenizer;
        let encode = |piece: &str| guarded(text, || tokenizer.encode(piece, false));
        if text.len() <= PIECE_BYTES {
            return Ok(encode(text)?.get_offsets().to_vec());
        }
        let mut ranges = Vec::new();
        self.long().encode(text, encode, |piece| {
            let start = piece.start;
            ranges.extend(
                piece
                    .ranges
                    .iter()
                    .map(|range| (start + range.0, start + range.1)),
            );
            true
        })?;
        Ok(ranges)
    }

    /// The token ids of a conversation: [`render`](Self::render), then [`encode`](Self::encode), but for
    /// [`TextOptions::special_tokens`].
    ///
    /// # Errors
    ///
    /// As both of them, and for special tokens in the content where they are refused.
    pub fn conversation_ids(&self, conversation: &Conversation) -> Result<Vec<u32>, TextError> {
        let encoder = self.of_content(conversation)?.unwrap_or(self);
        let conversation = encoder.prepare(conversation)?;
        encoder.encode(&encoder.text_of(&conversation)?)
    }

    /// The text of a token, as it stands in the vocabulary.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.parts.tokenizer.id_to_token(id)
    }

    /// The id of a token, by its text in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.parts.tokenizer.token_to_id(token)
    }
}

#[cfg(test)]
mod tests;
