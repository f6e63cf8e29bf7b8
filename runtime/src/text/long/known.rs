//! What is known of a tokenizer, by its settings and its vocabulary.

use serde::Deserialize;
use tokenizers::{Tokenizer, pre_tokenizers::byte_level::ByteLevel};

use super::{LongTexts, PIECE_BYTES};

/// What a pattern may look at behind a word, with room to spare.
const LOOKAHEAD_BYTES: usize = 64;

/// Patterns of words that look one character past a word at most, and never back.
const PATTERNS: [&str; 3] = [
    // Qwen2 and its successors.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // Llama 3.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // GPT-2, spelled out.
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
];

/// The parts of `tokenizer.json` that decide.
#[derive(Default, Deserialize)]
pub(crate) struct Settings {
    #[serde(default)]
    normalizer: Option<Step>,
    #[serde(default)]
    pre_tokenizer: Option<Step>,
    #[serde(default)]
    model: Model,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Step {
    #[serde(rename = "NFC")]
    Nfc,
    Prepend {},
    Replace {
        pattern: Pattern,
        content: String,
    },
    Sequence {
        #[serde(alias = "normalizers", alias = "pretokenizers")]
        steps: Vec<Step>,
    },
    Split {
        pattern: Pattern,
        behavior: String,
        #[serde(default)]
        invert: bool,
    },
    ByteLevel {
        #[serde(default = "yes")]
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Digits {},
    Metaspace {},
    #[serde(other)]
    Other,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(String),
}

#[derive(Default, Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
}

impl Step {
    fn steps(step: Option<&Self>) -> Vec<&Self> {
        match step {
            None => Vec::new(),
            Some(Self::Sequence { steps }) => steps
                .iter()
                .flat_map(|step| Self::steps(Some(step)))
                .collect(),
            Some(step) => vec![step],
        }
    }

    /// Whether it is a normaliser that leaves a text as long as it was, but for composed characters.
    fn keeps_length(&self) -> bool {
        match self {
            Self::Nfc | Self::Prepend {} => true,
            Self::Replace {
                pattern: Pattern::String(pattern),
                content,
            } => content.len() >= pattern.len(),
            _ => false,
        }
    }

    /// Whether it is a step of a pre-tokenizer that leaves nothing out.
    fn keeps_all(&self) -> bool {
        match self {
            Self::Split { behavior, .. } => behavior != "Removed",
            Self::ByteLevel { .. } | Self::Digits {} | Self::Metaspace {} => true,
            _ => false,
        }
    }
}

impl LongTexts {
    /// Of a tokenizer with these settings.
    pub(crate) fn of(settings: &Settings, tokenizer: &Tokenizer) -> Self {
        let normalizers = Step::steps(settings.normalizer.as_ref());
        let words = Step::steps(settings.pre_tokenizer.as_ref());
        let model = &settings.model;
        let added = tokenizer.get_added_tokens_decoder();
        let added_bytes = added.values().map(|token| token.content.len()).max();
        let takes_space = added.values().any(|token| token.lstrip || token.rstrip);
        let is_byte_level = words
            .iter()
            .any(|step| matches!(step, Step::ByteLevel { .. }));

        let has = |token: &str| tokenizer.token_to_id(token).is_some();
        let knows_all_bytes = match is_byte_level {
            true => ByteLevel::alphabet().iter().all(|c| has(&c.to_string())),
            false => model.byte_fallback && (0..=255).all(|byte| has(&format!("<0x{byte:02X}>"))),
        };
        let is_known = model.kind.as_deref().is_none_or(|kind| kind == "BPE")
            && model.end_of_word_suffix.as_deref().unwrap_or("").is_empty()
            && (knows_all_bytes || model.unk_token.is_some() && !model.fuse_unk)
            && normalizers.iter().all(|step| step.keeps_length())
            && words.iter().all(|step| step.keeps_all());
        let token_bytes = is_known.then(|| {
            let vocabulary = tokenizer.get_vocab(false);
            let bytes = |token: &String| match is_byte_level {
                true => token.chars().count(),
                false => token.len(),
            };
            let longest = vocabulary.keys().map(bytes).max();
            longest.max(added_bytes).unwrap_or(1).max(4)
        });

        let is_word_pattern = match words.as_slice() {
            [
                Step::ByteLevel {
                    add_prefix_space: false,
                    use_regex: true,
                },
            ] => true,
            [
                Step::Split {
                    pattern: Pattern::Regex(pattern),
                    behavior,
                    invert: false,
                },
                Step::ByteLevel {
                    add_prefix_space: false,
                    use_regex: false,
                },
            ] => behavior == "Isolated" && PATTERNS.contains(&pattern.as_str()),
            _ => false,
        };
        let only_composes = normalizers.iter().all(|step| matches!(step, Step::Nfc));
        let single_words = added.values().any(|token| token.single_word);
        Self {
            token_bytes,
            composes: normalizers.iter().any(|step| matches!(step, Step::Nfc)),
            takes_space,
            in_pieces: is_known
                && is_word_pattern
                && only_composes
                && !single_words
                && !takes_space,
            piece: PIECE_BYTES,
            margin: added_bytes.unwrap_or(0) + LOOKAHEAD_BYTES,
        }
    }
}
