//! What can go wrong with a checkpoint's text files, and with a conversation on the way to its token ids.

use std::path::PathBuf;

use super::{conversation_error::ConversationError, truncation::Truncation};
use crate::error::ErrorKind;

/// What can go wrong between a conversation and its token ids.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file that every checkpoint must have is not there.
    #[error(
        "{path} is missing: copy it from the checkpoint (tokenizer.json, tokenizer_config.json and, where it has one, \
         chat_template.jinja)", path = path.display()
    )]
    FileMissing {
        /// The file looked for.
        path: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of a checkpoint or a bundle is not what it should be.
    #[error("{path}: {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file is not the JSON it should be.
    #[error("{path} is not valid JSON: {source}; fetch the file again", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where the JSON breaks.
        source: serde_json::Error,
    },
    /// A field of a configuration file has a form that is not known.
    #[error("{path}: field `{field}`: {problem}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, as a dotted path.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// `tokenizer.json` is JSON, but not a tokenizer.
    #[error("{path} is not a tokenizer that can be loaded: {message}; fetch the file again", path = path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The tokenizer library's reason.
        message: String,
    },
    /// The checkpoint has no chat template.
    #[error(
        "{dir} has no chat template: it needs a chat_template.jinja, or a `chat_template` in tokenizer_config.json{names}",
        dir = dir.display(),
        names = if names.is_empty() { String::new() } else {
            format!(" (there are templates named {}, but none is named default)", names.join(", "))
        }
    )]
    TemplateMissing {
        /// The checkpoint's directory.
        dir: PathBuf,
        /// The names of the templates that are there.
        names: Vec<String>,
    },
    /// The chat template cannot be compiled.
    #[error("the chat template in {origin} does not compile: {message}")]
    TemplateSyntax {
        /// The file, and the field where the template is in a field.
        origin: String,
        /// What the compiler says, with the line.
        message: String,
    },
    /// The chat template called `raise_exception`: it does not accept this conversation.
    #[error("the chat template does not accept this conversation: {message}{hint}")]
    TemplateRaised {
        /// The template's own message.
        message: String,
        /// Empty, or what to change.
        hint: &'static str,
    },
    /// The chat template failed while it ran, as it would under Python.
    #[error("the chat template failed on this conversation: {message}{hint}")]
    TemplateFailed {
        /// What the template engine says, with the line.
        message: String,
        /// Empty, or what to change.
        hint: &'static str,
    },
    /// The chat template cannot be run to its end here: a limit of time, memory or depth was reached, or it uses
    /// something that has no repeatable result.
    #[error("the chat template cannot be run on this conversation: {message}{hint}")]
    TemplateStopped {
        /// What the template engine says, with the line.
        message: String,
        /// Empty, or what to change.
        hint: &'static str,
    },
    /// A conversation is not of the form that is scored.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// Special tokens in content cannot be told from those of the chat template.
    #[error("special tokens: {problem}")]
    SpecialTokens {
        /// Why not, and what to do.
        problem: String,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed on a text of {bytes} bytes: {message}")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// The tokenizer library's reason.
        message: String,
    },
    /// A text is too long to be encoded at once, and the tokenizer does not allow anything else.
    #[error(
        "the text of {bytes} bytes is too long for this tokenizer, which takes all of a text at once: \
         the most is {limit} bytes"
    )]
    TextTooLarge {
        /// Length of the text.
        bytes: usize,
        /// The most that is encoded at once.
        limit: usize,
    },
    /// A conversation has more tokens than the limit in force.
    #[error(
        "the conversation has {}{tokens} tokens and the limit is {limit}: {}",
        if *at_least { "at least " } else { "" },
        match truncation {
            Truncation::Refuse => "shorten it, raise the limit (not past the model's own), or allow truncation",
            Truncation::OldestTurns => "even with only its system message and last turn it does not fit",
            Truncation::LongestMessageMiddle => "even with its longest message cut to its two ends it does not fit",
        }
    )]
    TooLong {
        /// Tokens of the whole conversation.
        tokens: usize,
        /// Whether it may have more: a long text is not encoded whole to find out.
        at_least: bool,
        /// The limit in force.
        limit: usize,
        /// The truncation that was allowed, and did not suffice.
        truncation: Truncation,
    },
    /// A conversation has more tokens than the limit in force, and the part that would be left out has steps in it.
    #[error(
        "the conversation has {tokens} tokens and the limit is {limit}: to cut it would leave {kept} of its {steps} \
         steps, which are all scored; shorten it, or raise the limit (not past the model's own)"
    )]
    StepsCut {
        /// Tokens of the whole conversation.
        tokens: usize,
        /// The limit in force.
        limit: usize,
        /// Step tokens of the whole conversation.
        steps: usize,
        /// How many of them would be left.
        kept: usize,
    },
}

impl TextError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::FileMissing { .. }
            | Self::FileUnreadable { .. }
            | Self::File { .. }
            | Self::Json { .. }
            | Self::Config { .. }
            | Self::Tokenizer { .. }
            | Self::TemplateMissing { .. }
            | Self::TemplateSyntax { .. } => ErrorKind::DamagedBundle,
            Self::TextTooLarge { .. } | Self::TooLong { .. } | Self::StepsCut { .. } => {
                ErrorKind::TooLong
            }
            // A template that fails does so for what it was given.
            Self::TemplateRaised { .. }
            | Self::TemplateFailed { .. }
            | Self::TemplateStopped { .. }
            | Self::Conversation(_)
            | Self::SpecialTokens { .. }
            | Self::Encode { .. } => ErrorKind::InvalidInput,
        }
    }

    /// Whether it is the template's own answer to a conversation, which it would give under Python too.
    #[must_use]
    pub fn is_templates_own(&self) -> bool {
        match self {
            // What only the system marker brings about is not the conversation's doing.
            Self::TemplateRaised { hint, .. } | Self::TemplateFailed { hint, .. } => {
                hint.is_empty()
            }
            _ => false,
        }
    }
}

impl From<worldpm_ort_bundle::Error> for TextError {
    fn from(error: worldpm_ort_bundle::Error) -> Self {
        match error {
            worldpm_ort_bundle::Error::Io { path, source, .. } => {
                Self::FileUnreadable { path, source }
            }
            worldpm_ort_bundle::Error::Tokenizer { path, problem } => Self::File { path, problem },
            other => Self::File {
                path: PathBuf::new(),
                problem: other.to_string(),
            },
        }
    }
}
