//! The model's dimensions and rules, read from `config.json`.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::fields::{Fields, MAX_SIZE, kind};
use super::read_text;
use crate::error::{Error, Result};

/// More layers are refused: each costs names and graph nodes before a weight is looked at.
const MAX_LAYERS: usize = 1 << 16;
/// A real `config.json` has a few KB.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// What `transformers` assumes for Qwen2 when `max_window_layers` is absent.
const DEFAULT_MAX_WINDOW_LAYERS: usize = 28;

/// The model classes this project knows, by their name in `architectures`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Qwen2 with a head of two linear layers: WorldPM, Qwen2.5-Math-RM.
    Qwen2ForRewardModel,
    /// Qwen2 with a head of one linear layer.
    Qwen2ForSequenceClassification,
}

impl Architecture {
    /// Every known class.
    pub const ALL: [Self; 2] = [
        Self::Qwen2ForRewardModel,
        Self::Qwen2ForSequenceClassification,
    ];

    /// The name in `architectures`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qwen2ForRewardModel => "Qwen2ForRewardModel",
            Self::Qwen2ForSequenceClassification => "Qwen2ForSequenceClassification",
        }
    }

    /// The class of this name, if it is known.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part of `config.json` that decides a score.
///
/// Every value is checked: sizes are not zero, heads divide as they must, and
/// the product of any two sizes, in bytes, fits 64 bits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The model class.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head, an even number; `hidden_size / num_attention_heads` unless given.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// The pad token, which decides the token that is scored. `None` when
    /// absent, null or -1: no token has the id -1, so `transformers` then takes
    /// the last one too.
    pub pad_token_id: Option<u32>,
    /// Whether the output embedding is the input embedding; without effect on a score.
    pub tie_word_embeddings: bool,
    /// Scores per conversation, where the file says so: the size of `id2label`,
    /// or else `num_labels`.
    pub num_labels: Option<usize>,
    /// The type the weights were saved in, as in `bfloat16`. For display only:
    /// what counts is the type in the weight files.
    pub dtype: Option<String>,
}

impl ModelConfig {
    /// Reads and checks a `config.json`, in the spelling of `transformers` 4
    /// (`rope_theta`, `rope_scaling`, `torch_dtype`) or 5 (`rope_parameters`, `dtype`).
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Config`] when it is
    /// not JSON, lacks a needed field or holds a value that makes no sense;
    /// [`Error::Unsupported`] for an unknown architecture, a sliding window in
    /// use, rope scaling, another activation than SiLU, and quantized weights.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path, MAX_CONFIG_BYTES)?;
        let value = serde_json::from_str(&text).map_err(|e| Error::Config {
            path: path.to_owned(),
            field: "(whole file)".to_owned(),
            problem: format!("not valid JSON: {e}"),
        })?;
        Self::from_json(&value, path)
    }

    /// Checks an already parsed `config.json`; `path` is for error messages only.
    pub(crate) fn from_json(value: &Value, path: &Path) -> Result<Self> {
        let Value::Object(map) = value else {
            return Err(Error::Config {
                path: path.to_owned(),
                field: "(whole file)".to_owned(),
                problem: format!("must be a JSON object, not {}", kind(value)),
            });
        };
        let fields = Fields {
            path,
            prefix: "",
            map,
        };

        let architecture = architecture(&fields)?;
        let hidden_size = fields.size("hidden_size")?;
        let num_hidden_layers = fields.size("num_hidden_layers")?;
        if num_hidden_layers > MAX_LAYERS {
            return Err(fields.error(
                "num_hidden_layers",
                format!("is {num_hidden_layers}; at most {MAX_LAYERS} make sense"),
            ));
        }
        let num_attention_heads = fields.size("num_attention_heads")?;
        let num_key_value_heads = match map.get("num_key_value_heads") {
            // Null means "as many as query heads"; an absent field does not, since
            // the default of `transformers` is then a fixed number.
            Some(Value::Null) => num_attention_heads,
            _ => fields.size("num_key_value_heads")?,
        };
        let max_position_embeddings = fields.size("max_position_embeddings")?;
        let vocab_size = fields.size("vocab_size")?;

        check_activation(&fields)?;
        check_quantization(&fields)?;
        check_windows(&fields, num_hidden_layers, max_position_embeddings)?;

        Ok(Self {
            architecture,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim: head_dim(
                &fields,
                hidden_size,
                num_attention_heads,
                num_key_value_heads,
            )?,
            vocab_size,
            max_position_embeddings,
            rms_norm_eps: fields.positive("rms_norm_eps")?,
            rope_theta: rope_theta(&fields)?,
            pad_token_id: pad_token_id(&fields, vocab_size)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
            num_labels: num_labels(&fields)?,
            dtype: match fields.text("dtype")? {
                Some(dtype) => Some(dtype),
                None => fields.text("torch_dtype")?,
            }
            .map(str::to_owned),
        })
    }
}

fn architecture(fields: &Fields<'_>) -> Result<Architecture> {
    let names = fields.required("architectures")?;
    let name = names
        .as_array()
        .and_then(|names| names.first())
        .and_then(Value::as_str)
        .ok_or_else(|| fields.error("architectures", "must be a list that starts with a name"))?;
    Architecture::from_name(name).ok_or_else(|| Error::Unsupported {
        what: format!("{}: architecture `{name}`", fields.path.display()),
        hint: format!(
            "supported are {}",
            Architecture::ALL.map(Architecture::as_str).join(", ")
        ),
    })
}

fn head_dim(fields: &Fields<'_>, hidden: usize, heads: usize, kv_heads: usize) -> Result<usize> {
    if !heads.is_multiple_of(kv_heads) {
        return Err(fields.error(
            "num_key_value_heads",
            format!("is {kv_heads}, which does not divide num_attention_heads, {heads}"),
        ));
    }
    let (field, head_dim) = match fields.get("head_dim") {
        Some(_) => ("head_dim", fields.size("head_dim")?),
        None if hidden.is_multiple_of(heads) => ("hidden_size", hidden / heads),
        None => {
            return Err(fields.error(
                "hidden_size",
                format!("is {hidden}, not a multiple of num_attention_heads, {heads}, and head_dim is absent"),
            ));
        }
    };
    if !head_dim.is_multiple_of(2) {
        return Err(fields.error(
            field,
            format!("makes heads of size {head_dim}; rotary embeddings need an even size"),
        ));
    }
    if heads
        .checked_mul(head_dim)
        .is_none_or(|width| width as u64 > MAX_SIZE)
    {
        return Err(fields.error(
            field,
            format!("{heads} heads of size {head_dim} make an absurd width"),
        ));
    }
    Ok(head_dim)
}

fn check_activation(fields: &Fields<'_>) -> Result<()> {
    match fields.text("hidden_act")? {
        None | Some("silu") => Ok(()),
        Some(other) => {
            Err(fields.unsupported(format!("hidden_act `{other}`"), "only `silu` is".to_owned()))
        }
    }
}

fn check_quantization(fields: &Fields<'_>) -> Result<()> {
    let Some(quantization) = fields.get("quantization_config") else {
        return Ok(());
    };
    let method = quantization
        .get("quant_method")
        .and_then(Value::as_str)
        .unwrap_or("of unnamed method");
    Err(fields.unsupported(
        format!("quantization_config (`{method}`)"),
        "take the checkpoint with bf16, fp16 or fp32 weights".to_owned(),
    ))
}

/// Refuses a sliding window that some sequence could outgrow.
fn check_windows(fields: &Fields<'_>, layers: usize, max_positions: usize) -> Result<()> {
    let window = match fields.flag("use_sliding_window")? {
        Some(true) => fields.optional_size("sliding_window")?,
        _ => None,
    };
    let slides = match fields.get("layer_types") {
        Some(types) => has_sliding_layer(fields, types, layers)?,
        None => {
            let full_layers = match fields.get("max_window_layers") {
                Some(value) => value.as_u64().ok_or_else(|| {
                    fields.error("max_window_layers", "must be a whole number, 0 or more")
                })?,
                None => DEFAULT_MAX_WINDOW_LAYERS as u64,
            };
            window.is_some() && full_layers < layers as u64
        }
    };
    if slides && window.is_none_or(|window| window < max_positions) {
        let size = window.map_or("unknown".to_owned(), |window| window.to_string());
        return Err(fields.unsupported(
            format!(
                "sliding-window attention (window {size}, max_position_embeddings {max_positions})"
            ),
            "only full attention is; if sequences stay within the window, set \
             `use_sliding_window` to false and `max_position_embeddings` to the window"
                .to_owned(),
        ));
    }
    Ok(())
}

fn has_sliding_layer(fields: &Fields<'_>, types: &Value, layers: usize) -> Result<bool> {
    let types = types
        .as_array()
        .ok_or_else(|| fields.error("layer_types", "must be a list of names"))?;
    if types.len() != layers {
        return Err(fields.error(
            "layer_types",
            format!("has {} entries for num_hidden_layers {layers}", types.len()),
        ));
    }
    let mut slides = false;
    for (layer, value) in types.iter().enumerate() {
        match value.as_str() {
            Some("full_attention") => {}
            Some("sliding_attention") => slides = true,
            Some(other) => {
                return Err(fields.unsupported(
                    format!("layer_types[{layer}] `{other}`"),
                    "only `full_attention` is".to_owned(),
                ));
            }
            None => {
                return Err(fields.error(
                    "layer_types",
                    format!("entry {layer} must be a name, not {}", kind(value)),
                ));
            }
        }
    }
    Ok(slides)
}

fn rope_theta(fields: &Fields<'_>) -> Result<f64> {
    let outer = match fields.get("rope_theta") {
        Some(_) => Some(fields.positive("rope_theta")?),
        None => None,
    };
    let mut theta = outer;
    for name in ["rope_parameters", "rope_scaling"] {
        let Some(value) = fields.get(name) else {
            continue;
        };
        let map = value
            .as_object()
            .ok_or_else(|| fields.error(name, format!("must be an object, not {}", kind(value))))?;
        let rope = Fields {
            path: fields.path,
            prefix: name,
            map,
        };
        check_rope_kind(&rope)?;
        if rope.get("rope_theta").is_some() {
            let inner = rope.positive("rope_theta")?;
            if theta.is_some_and(|theta| theta != inner) {
                return Err(rope.error(
                    "rope_theta",
                    format!(
                        "is {inner}, but another rope_theta in the file is {}",
                        theta.unwrap_or(inner)
                    ),
                ));
            }
            theta = Some(inner);
        }
    }
    theta.ok_or_else(|| {
        fields.error(
            "rope_theta",
            "is missing, here and in `rope_parameters`; the model needs it",
        )
    })
}

fn check_rope_kind(rope: &Fields<'_>) -> Result<()> {
    let name = rope.prefix;
    let kind = match rope.text("rope_type")? {
        Some(kind) => Some(kind),
        None => rope.text("type")?,
    };
    if let Some(kind) = kind.filter(|&kind| kind != "default") {
        return Err(rope.unsupported(
            format!("{name} of kind `{kind}`"),
            "only plain rotary embeddings (`default`, or null) are".to_owned(),
        ));
    }
    // Some models have a set of parameters for each kind of layer.
    if let Some((key, _)) = rope.map.iter().find(|(_, value)| value.is_object()) {
        return Err(rope.unsupported(
            format!("{name} with its own parameters for `{key}`"),
            "only one set for all layers is".to_owned(),
        ));
    }
    if rope.get("partial_rotary_factor").is_some() && rope.positive("partial_rotary_factor")? != 1.0
    {
        return Err(rope.unsupported(
            format!("{name} with a partial_rotary_factor"),
            "only rotating whole heads is".to_owned(),
        ));
    }
    Ok(())
}

fn pad_token_id(fields: &Fields<'_>, vocab_size: usize) -> Result<Option<u32>> {
    let Some(value) = fields.get("pad_token_id") else {
        return Ok(None);
    };
    if value.as_i64() == Some(-1) {
        return Ok(None);
    }
    value
        .as_u64()
        .filter(|&id| id < vocab_size as u64)
        .and_then(|id| u32::try_from(id).ok())
        .map(Some)
        .ok_or_else(|| {
            fields.error(
                "pad_token_id",
                format!(
                    "is {value}; it must be null or a token id below vocab_size, {vocab_size}: \
                     it decides which token is scored"
                ),
            )
        })
}

fn num_labels(fields: &Fields<'_>) -> Result<Option<usize>> {
    let declared = fields.optional_size("num_labels")?;
    let Some(labels) = fields.get("id2label") else {
        return Ok(declared);
    };
    let count = labels
        .as_object()
        .map(Map::len)
        .filter(|&count| count > 0)
        .ok_or_else(|| fields.error("id2label", "must be an object with at least one label"))?;
    match declared {
        Some(declared) if declared != count => Err(fields.error(
            "num_labels",
            format!("is {declared}, but `id2label` has {count} entries"),
        )),
        _ => Ok(Some(count)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A configuration as `transformers` 4 writes it.
    fn style4() -> Value {
        json!({
            "architectures": ["Qwen2ForRewardModel"],
            "attention_dropout": 0.0,
            "bos_token_id": 151643,
            "eos_token_id": 151643,
            "hidden_act": "silu",
            "hidden_size": 8192,
            "intermediate_size": 29568,
            "max_position_embeddings": 131072,
            "max_window_layers": 80,
            "model_type": "qwen2",
            "num_attention_heads": 64,
            "num_hidden_layers": 80,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5,
            "rope_scaling": null,
            "rope_theta": 1000000.0,
            "sliding_window": null,
            "tie_word_embeddings": false,
            "torch_dtype": "bfloat16",
            "use_sliding_window": false,
            "vocab_size": 152064,
        })
    }

    fn style5() -> Value {
        let mut config = style4();
        let map = config.as_object_mut().unwrap();
        map.remove("rope_scaling");
        map.remove("rope_theta");
        map.remove("torch_dtype");
        map.insert("dtype".into(), "bfloat16".into());
        map.insert("pad_token_id".into(), Value::Null);
        map.insert(
            "rope_parameters".into(),
            json!({"rope_type": "default", "rope_theta": 1000000.0}),
        );
        map.insert("layer_types".into(), json!(vec!["full_attention"; 80]));
        config
    }

    /// `style4` with these fields replaced; a JSON string "absent" removes one.
    fn with(changes: Value) -> Value {
        let mut config = style4();
        let map = config.as_object_mut().unwrap();
        for (key, value) in changes.as_object().unwrap() {
            if value == "absent" {
                map.remove(key);
            } else {
                map.insert(key.clone(), value.clone());
            }
        }
        config
    }

    fn parse(config: &Value) -> Result<ModelConfig> {
        ModelConfig::from_json(config, Path::new("dir/config.json"))
    }

    #[test]
    fn both_spellings_read_the_same() {
        let four = parse(&style4()).unwrap();
        assert_eq!(
            four,
            ModelConfig {
                architecture: Architecture::Qwen2ForRewardModel,
                hidden_size: 8192,
                intermediate_size: 29568,
                num_hidden_layers: 80,
                num_attention_heads: 64,
                num_key_value_heads: 8,
                head_dim: 128,
                vocab_size: 152064,
                max_position_embeddings: 131072,
                rms_norm_eps: 1e-5,
                rope_theta: 1e6,
                pad_token_id: None,
                tie_word_embeddings: false,
                num_labels: None,
                dtype: Some("bfloat16".into()),
            }
        );
        assert_eq!(parse(&style5()).unwrap(), four);
    }

    #[test]
    fn accepted_variants() {
        type Check = fn(&ModelConfig) -> bool;
        let cases: Vec<(Value, Check)> = vec![
            (json!({"head_dim": 64}), |c| c.head_dim == 64),
            (json!({"head_dim": null}), |c| c.head_dim == 128),
            (json!({"num_key_value_heads": null}), |c| {
                c.num_key_value_heads == 64
            }),
            (json!({"pad_token_id": 151643}), |c| {
                c.pad_token_id == Some(151643)
            }),
            (json!({"pad_token_id": 0}), |c| c.pad_token_id == Some(0)),
            (json!({"pad_token_id": -1}), |c| c.pad_token_id.is_none()),
            (json!({"hidden_act": "absent"}), |c| c.hidden_size == 8192),
            (json!({"rope_scaling": {"type": "default"}}), |c| {
                c.rope_theta == 1e6
            }),
            (json!({"rope_theta": 10000}), |c| c.rope_theta == 10000.0),
            (
                json!({"rope_parameters": {"rope_theta": 1000000, "partial_rotary_factor": 1.0}}),
                |c| c.rope_theta == 1e6,
            ),
            (json!({"tie_word_embeddings": true}), |c| {
                c.tie_word_embeddings
            }),
            (json!({"id2label": {"0": "LABEL_0"}}), |c| {
                c.num_labels == Some(1)
            }),
            (json!({"num_labels": 3}), |c| c.num_labels == Some(3)),
            (
                json!({"architectures": ["Qwen2ForSequenceClassification"]}),
                |c| c.architecture == Architecture::Qwen2ForSequenceClassification,
            ),
            // A window that no sequence can outgrow, or that no layer uses.
            (
                json!({"use_sliding_window": true, "sliding_window": 131072, "max_window_layers": 0}),
                |c| c.max_position_embeddings == 131072,
            ),
            (
                json!({"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 80}),
                |c| c.num_hidden_layers == 80,
            ),
            (
                json!({"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 0}),
                |c| c.num_hidden_layers == 80,
            ),
        ];
        for (changes, check) in cases {
            let config = parse(&with(changes.clone())).unwrap_or_else(|e| panic!("{changes}: {e}"));
            assert!(check(&config), "{changes}: {config:?}");
        }
    }

    #[test]
    fn every_needed_field_is_named_when_missing() {
        for field in [
            "architectures",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "vocab_size",
            "max_position_embeddings",
            "rms_norm_eps",
            "rope_theta",
        ] {
            let error = parse(&with(json!({ field: "absent" }))).unwrap_err();
            let Error::Config {
                path,
                field: f,
                problem,
            } = &error
            else {
                panic!("{field}: {error:?}");
            };
            assert_eq!(path, Path::new("dir/config.json"));
            assert_eq!(f, field);
            assert!(problem.starts_with("is missing"), "{problem}");
        }
    }

    #[test]
    fn senseless_values_name_their_field() {
        let cases = [
            (json!({"hidden_size": 0}), "hidden_size"),
            (json!({"hidden_size": -8}), "hidden_size"),
            (json!({"hidden_size": 8192.5}), "hidden_size"),
            (json!({"hidden_size": "8192"}), "hidden_size"),
            (json!({"hidden_size": 8200}), "hidden_size"),
            (
                json!({"hidden_size": 9223372036854775807u64}),
                "hidden_size",
            ),
            (json!({"hidden_size": 64}), "hidden_size"),
            (json!({"vocab_size": 18446744073709551615u64}), "vocab_size"),
            (json!({"intermediate_size": 0}), "intermediate_size"),
            (json!({"num_hidden_layers": 0}), "num_hidden_layers"),
            (json!({"num_hidden_layers": 100000}), "num_hidden_layers"),
            (json!({"num_attention_heads": 0}), "num_attention_heads"),
            (json!({"num_key_value_heads": 0}), "num_key_value_heads"),
            (json!({"num_key_value_heads": 7}), "num_key_value_heads"),
            (json!({"num_key_value_heads": 128}), "num_key_value_heads"),
            (json!({"head_dim": 0}), "head_dim"),
            (json!({"head_dim": 63}), "head_dim"),
            (json!({"head_dim": 268435456}), "head_dim"),
            (json!({"rms_norm_eps": 0.0}), "rms_norm_eps"),
            (json!({"rms_norm_eps": "1e-6"}), "rms_norm_eps"),
            (json!({"rope_theta": -1.0}), "rope_theta"),
            (json!({"rope_theta": [1.0]}), "rope_theta"),
            (
                json!({"rope_parameters": {"rope_theta": 5.0}}),
                "rope_parameters.rope_theta",
            ),
            (json!({"rope_parameters": 3}), "rope_parameters"),
            (json!({"rope_scaling": {"type": 3}}), "rope_scaling.type"),
            (json!({"pad_token_id": -2}), "pad_token_id"),
            (json!({"pad_token_id": 152064}), "pad_token_id"),
            (json!({"pad_token_id": 1.5}), "pad_token_id"),
            (json!({"pad_token_id": "<pad>"}), "pad_token_id"),
            (json!({"tie_word_embeddings": 1}), "tie_word_embeddings"),
            (json!({"architectures": []}), "architectures"),
            (
                json!({"architectures": "Qwen2ForRewardModel"}),
                "architectures",
            ),
            (json!({"layer_types": ["full_attention"]}), "layer_types"),
            (json!({"layer_types": vec![1; 80]}), "layer_types"),
            (json!({"id2label": {}}), "id2label"),
            (
                json!({"id2label": {"0": "a"}, "num_labels": 2}),
                "num_labels",
            ),
            (json!({"hidden_act": 1}), "hidden_act"),
            (json!({"use_sliding_window": "no"}), "use_sliding_window"),
            (
                json!({"use_sliding_window": true, "sliding_window": 0}),
                "sliding_window",
            ),
        ];
        for (changes, field) in cases {
            match parse(&with(changes.clone())) {
                Err(Error::Config { field: f, .. }) => assert_eq!(f, field, "{changes}"),
                other => panic!("{changes}: {other:?}"),
            }
        }
    }

    #[test]
    fn unsupported_features_are_named() {
        let mut last_layer_slides = vec!["full_attention"; 79];
        last_layer_slides.push("sliding_attention");
        let cases = [
            (
                json!({"architectures": ["LlamaForCausalLM"]}),
                "LlamaForCausalLM",
            ),
            (json!({"hidden_act": "gelu"}), "gelu"),
            (
                json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}),
                "yarn",
            ),
            (json!({"rope_scaling": {"rope_type": "llama3"}}), "llama3"),
            (
                json!({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000000.0}}),
                "dynamic",
            ),
            (
                json!({"rope_parameters": {"full_attention": {"rope_theta": 1000000.0}}}),
                "full_attention",
            ),
            (
                json!({"rope_parameters": {"partial_rotary_factor": 0.5}}),
                "partial_rotary_factor",
            ),
            (
                json!({"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 70}),
                "sliding-window attention (window 4096",
            ),
            (
                json!({"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": "absent"}),
                "sliding-window attention (window 4096",
            ),
            (
                json!({"use_sliding_window": true, "sliding_window": 4096, "layer_types": last_layer_slides}),
                "sliding-window attention (window 4096",
            ),
            (
                json!({"layer_types": vec!["sliding_attention"; 80]}),
                "sliding-window attention (window unknown",
            ),
            (
                json!({"layer_types": vec!["linear_attention"; 80]}),
                "layer_types[0] `linear_attention`",
            ),
            (
                json!({"quantization_config": {"quant_method": "gptq"}}),
                "gptq",
            ),
        ];
        for (changes, text) in cases {
            let error = parse(&with(changes.clone())).unwrap_err();
            assert!(
                matches!(error, Error::Unsupported { .. }),
                "{changes}: {error:?}"
            );
            let message = error.to_string();
            assert!(message.contains(text), "{changes}: {message}");
            assert!(message.starts_with("dir/config.json: "), "{message}");
        }
    }

    #[test]
    fn an_unknown_architecture_lists_the_known_ones() {
        let error = parse(&with(json!({"architectures": ["Nope"]}))).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("Qwen2ForRewardModel, Qwen2ForSequenceClassification"),
            "{message}"
        );
    }

    #[test]
    fn files_that_are_not_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for text in ["", "{", "[]", "7", "{\"hidden_size\": NaN}"] {
            std::fs::write(&path, text).unwrap();
            let error = ModelConfig::read(&path).unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{text}: {error:?}");
        }
        std::fs::write(&path, b"{\"\xff\": 1}").unwrap();
        assert!(matches!(
            ModelConfig::read(&path).unwrap_err(),
            Error::Io { .. }
        ));
    }
}
