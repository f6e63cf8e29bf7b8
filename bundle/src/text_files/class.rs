//! With which class `transformers` loads a tokenizer, and what that class adds to the files.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A tokenizer class of `transformers` 5, as far as it has special tokens of its own.
///
/// Ids are always those of `tokenizer.json`, as with `transformers` 4 and with the general class of 5. The others build
/// their pipeline again in `transformers` 5; where that gives another one than the file's, the export says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenizerClass {
    /// Takes everything from the files.
    #[default]
    TokenizersBackend,
    /// Of Qwen2, Qwen2.5 and Qwen3.
    Qwen2Tokenizer,
    /// Of Llama 1 and 2, and of others with a SentencePiece vocabulary.
    LlamaTokenizer,
    /// Of Gemma.
    GemmaTokenizer,
}

/// The words into which Qwen's tokenizers split a text.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl TokenizerClass {
    /// The special tokens that it has where the files name none.
    #[must_use]
    pub fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::TokenizersBackend => &[],
            Self::Qwen2Tokenizer => &[
                ("unk_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("pad_token", "<|endoftext|>"),
            ],
            Self::LlamaTokenizer => &[
                ("unk_token", "<unk>"),
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
            ],
            Self::GemmaTokenizer => &[
                ("unk_token", "<unk>"),
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name.strip_suffix("Fast").unwrap_or(name) {
            "PreTrainedTokenizer" | "TokenizersBackend" | "PythonBackend" => {
                Some(Self::TokenizersBackend)
            }
            "Qwen2Tokenizer" => Some(Self::Qwen2Tokenizer),
            "LlamaTokenizer" => Some(Self::LlamaTokenizer),
            "GemmaTokenizer" => Some(Self::GemmaTokenizer),
            _ => None,
        }
    }

    /// The class that `transformers` 5 has for models of this type, where it has one.
    fn registered(model_type: &str) -> Option<Self> {
        match model_type {
            "qwen2" | "qwen3" => Some(Self::Qwen2Tokenizer),
            "gemma" | "gemma2" => Some(Self::GemmaTokenizer),
            "mistral" => Some(Self::TokenizersBackend),
            _ => None,
        }
    }

    /// The normaliser and the pre-tokenizer with which `transformers` 5 builds it.
    fn pipeline(self) -> Option<(Value, Value)> {
        match self {
            Self::TokenizersBackend => None,
            Self::Qwen2Tokenizer => Some((
                json!({"type": "NFC"}),
                json!({"type": "Sequence", "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": QWEN2_WORDS}, "behavior": "Isolated", "invert": false},
                    {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}
                ]}),
            )),
            Self::LlamaTokenizer => Some((
                Value::Null,
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}),
            )),
            Self::GemmaTokenizer => Some((
                json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
                json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}),
            )),
        }
    }
}

/// The parts of `tokenizer.json` that decide of the class.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Outline {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
}

impl Outline {
    pub(super) fn of(tokenizer: &[u8]) -> Self {
        serde_json::from_slice(tokenizer).unwrap_or_default()
    }

    fn is_byte_level(&self) -> bool {
        fn has(value: &Value) -> bool {
            let listed = |name| value.get(name).and_then(Value::as_array);
            value.get("type") == Some(&json!("ByteLevel"))
                || ["pretokenizers", "decoders"]
                    .into_iter()
                    .filter_map(listed)
                    .flatten()
                    .any(has)
        }
        has(&self.pre_tokenizer) || has(&self.decoder)
    }

    /// Whether this is the pipeline `(normalizer, pre_tokenizer)`, whatever fields it has besides.
    fn is(&self, (normalizer, pre_tokenizer): &(Value, Value)) -> bool {
        fn covers(found: &Value, expected: &Value) -> bool {
            match (found, expected) {
                (Value::Object(found), Value::Object(expected)) => expected
                    .iter()
                    .all(|(name, value)| found.get(name).is_some_and(|own| covers(own, value))),
                (Value::Array(found), Value::Array(expected)) => {
                    let pairs = found.iter().zip(expected);
                    found.len() == expected.len() && pairs.into_iter().all(|(f, e)| covers(f, e))
                }
                (found, expected) => found == expected,
            }
        }
        covers(&self.normalizer, normalizer) && covers(&self.pre_tokenizer, pre_tokenizer)
    }
}

/// The class that `AutoTokenizer` of `transformers` 5 takes, and what a user should know of it.
pub(super) fn resolve(
    tokenizer_config: &Value,
    model_config: &Value,
    outline: &Outline,
) -> (TokenizerClass, Vec<String>) {
    let text = |config: &Value, field: &str| {
        let value = config.get(field).and_then(Value::as_str);
        value.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let mut notes = Vec::new();
    let own_code = tokenizer_config.get("auto_map").is_some_and(|map| {
        map.is_array()
            || map
                .as_object()
                .is_some_and(|map: &Map<_, _>| map.contains_key("AutoTokenizer"))
    });
    if own_code {
        notes.push(
            "tokenizer_config.json names code of its own (`auto_map`), which is not run: ids are those of \
             tokenizer.json"
                .to_owned(),
        );
    }
    let declared =
        text(tokenizer_config, "tokenizer_class").or_else(|| text(model_config, "tokenizer_class"));
    let model_type = text(model_config, "model_type").unwrap_or_default();
    let registered = TokenizerClass::registered(&model_type);
    let class = match (&declared, registered) {
        (None, registered) => registered.unwrap_or_default(),
        (Some(name), registered) => match (TokenizerClass::named(name), registered) {
            // It says Llama, and is of the kind that Llama 3 has.
            (Some(TokenizerClass::LlamaTokenizer), _)
                if outline.is_byte_level() && model_type != "qwen2" =>
            {
                TokenizerClass::TokenizersBackend
            }
            (_, Some(TokenizerClass::TokenizersBackend)) => TokenizerClass::TokenizersBackend,
            // Many Qwen2 models declare another class than their own.
            (_, Some(own)) if model_type == "qwen2" => own,
            (Some(named), _) => named,
            (None, _) => {
                notes.push(format!(
                    "the tokenizer class {name} is not known here: special tokens that it has by itself are not \
                     added, and ids are those of tokenizer.json"
                ));
                TokenizerClass::TokenizersBackend
            }
        },
    };
    if class
        .pipeline()
        .is_some_and(|pipeline| !outline.is(&pipeline))
    {
        notes.push(format!(
            "ids are those of tokenizer.json, as with transformers 4; transformers 5 builds {class:?} without its \
             normalizer and pre_tokenizer, and may give other ids"
        ));
    }
    (class, notes)
}
