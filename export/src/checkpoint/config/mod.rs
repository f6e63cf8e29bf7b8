//! The model's dimensions and rules, read from `config.json`.

mod check;
#[cfg(test)]
mod families;
#[cfg(test)]
mod field_tests;
mod identity;
mod labels;
mod layer;
mod rope;
mod table;
#[cfg(test)]
mod tests;
mod windows;

use std::path::Path;

use serde_json::Value;
use worldpm_ort_bundle::{checkpoint_files::read_text, files::MAX_CONFIG_BYTES, json::kind};

use super::{
    fields::{Fields, MAX_SIZE},
    python_json::{self, shown},
};
use crate::{
    arch::{Activation, Architecture, Decoder},
    error::{Error, Result},
};

pub use rope::{Rope, RopeScaling};

/// More layers are refused: each costs names and graph nodes before a weight is looked at.
const MAX_LAYERS: usize = 1 << 16;

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
    /// Longest sequence, in tokens: the field of this name, or what YaRN scaling reaches past it.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f64,
    /// How positions become angles.
    pub rope: Rope,
    /// The function of the MLP's gate.
    pub activation: Activation,
    /// The products of queries and keys are divided by its square root; by that of `head_dim` when `None`.
    pub query_pre_attn_scalar: Option<f64>,
    /// The products of queries and keys are kept below it by a hyperbolic tangent, where it is set.
    pub attn_logit_softcapping: Option<f64>,
    /// Whether the projections of queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the projection after attention has a bias.
    pub output_bias: bool,
    /// Whether the projections of the MLP have a bias.
    pub mlp_bias: bool,
    /// How many of the latest tokens each layer sees, the token itself among them; one entry for each
    /// layer, `None` where it sees all.
    pub windows: Vec<Option<usize>>,
    /// The pad token, which decides the token that is scored. `None` when
    /// absent, null or -1: no token has the id -1, so `transformers` then takes
    /// the last one too.
    pub pad_token_id: Option<u32>,
    /// Whether the output embedding is the input embedding; without effect on a score.
    pub tie_word_embeddings: bool,
    /// Scores per conversation, where the file says so: the size of `id2label`,
    /// or else `num_labels`.
    pub num_labels: Option<usize>,
    /// The scores' names in their order, where the file has `id2label`.
    pub label_names: Option<Vec<String>>,
    /// The type the weights were saved in, as in `bfloat16`. For display only:
    /// what counts is the type in the weight files.
    pub dtype: Option<String>,
}

impl ModelConfig {
    /// Reads and checks a `config.json`, in the spelling of `transformers` 4
    /// (`rope_theta`, `rope_scaling`, `torch_dtype`) or 5 (`rope_parameters`, `dtype`).
    ///
    /// # Errors
    /// [`Error::Bundle`] when the file cannot be read; [`Error::Config`] when it is
    /// not JSON, lacks a needed field or holds a value that makes no sense;
    /// [`Error::UnsupportedArchitecture`]; [`Error::UnsupportedConfig`] for code of the checkpoint's own, and for what is
    /// known to change scores and is not handled: other kinds of rope scaling, other activations, quantized weights.
    pub fn read(path: &Path) -> Result<Self> {
        read(path, false).map(|found| found.config)
    }

    /// Checks an already parsed `config.json`; `path` is for error messages only.
    pub(crate) fn from_json(value: &Value, path: &Path) -> Result<Self> {
        Found::from_json(value, path, false).map(|found| found.config)
    }
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) config: ModelConfig,
    /// Fields that no version of `transformers` knows for these models, sorted; dots are for nested ones.
    pub(super) unknown: Vec<String>,
}

/// As [`ModelConfig::read`]. With `head_is_lent` the file is of the base model of an adapter with a reward head, see
/// [`identity::read`].
pub(super) fn read(path: &Path, head_is_lent: bool) -> Result<Found> {
    let text = read_text(path, MAX_CONFIG_BYTES)?;
    let value = python_json::parse(&text).map_err(|e| Error::Config {
        path: path.to_owned(),
        field: "(whole file)".to_owned(),
        problem: format!("not valid JSON: {e}"),
    })?;
    Found::from_json(&value, path, head_is_lent)
}

impl Found {
    fn from_json(value: &Value, path: &Path, head_is_lent: bool) -> Result<Self> {
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

        let architecture = identity::read(&fields, head_is_lent)?;
        let decoder = architecture.backbone().decoder();
        let check::Checked {
            read: ref map,
            mut unknown,
        } = check::check(&fields, table::FIELDS, decoder)?;
        let fields = Fields { map, ..fields };
        let hidden_size = fields.size("hidden_size")?;
        let num_hidden_layers = fields.size("num_hidden_layers")?;
        if num_hidden_layers > MAX_LAYERS {
            return Err(fields.error(
                "num_hidden_layers",
                format!("is {num_hidden_layers}; at most {MAX_LAYERS} make sense"),
            ));
        }
        let num_attention_heads = fields.size("num_attention_heads")?;
        let num_key_value_heads = match (map.get("num_key_value_heads"), decoder.kv_heads_default) {
            // Null means "as many as query heads"; an absent field does so for some classes only, since
            // the default of `transformers` is a fixed number for the others.
            (Some(Value::Null), _) | (None, true) => num_attention_heads,
            _ => fields.size("num_key_value_heads")?,
        };
        let stated_positions = fields.size("max_position_embeddings")?;
        let rope = rope::read(&fields, decoder, stated_positions)?;
        unknown.extend(rope::unknown_fields(&fields, decoder)?);
        let max_position_embeddings = rope.scaling.reach().unwrap_or(0).max(stated_positions);
        let vocab_size = fields.size("vocab_size")?;

        layer::check_direction(&fields)?;
        check_quantization(&fields)?;
        let label_names = labels::label_names(&fields)?;
        let attention_bias = fields.flag("attention_bias")?.unwrap_or(false);
        let head_dim = head_dim(
            &fields,
            decoder,
            hidden_size,
            num_attention_heads,
            num_key_value_heads,
        )?;

        let config = ModelConfig {
            architecture,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            vocab_size,
            max_position_embeddings,
            rms_norm_eps: fields.positive("rms_norm_eps")?,
            rope,
            activation: layer::activation(&fields, decoder)?,
            query_pre_attn_scalar: layer::query_scalar(&fields, decoder, head_dim)?,
            attn_logit_softcapping: layer::softcap(&fields, decoder)?,
            qkv_bias: attention_bias || decoder.qkv_bias,
            output_bias: attention_bias,
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            windows: windows::read(&fields, decoder, num_hidden_layers, max_position_embeddings)?,
            pad_token_id: pad_token_id(&fields, decoder, vocab_size)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
            num_labels: labels::num_labels(&fields, label_names.as_deref())?,
            label_names,
            dtype: match fields.text("dtype")? {
                Some(dtype) => Some(dtype),
                None => fields.text("torch_dtype")?,
            }
            .map(str::to_owned),
        };
        Ok(Self { config, unknown })
    }
}

fn head_dim(
    fields: &Fields<'_>,
    decoder: &Decoder,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
) -> Result<usize> {
    if !heads.is_multiple_of(kv_heads) {
        return Err(fields.error(
            "num_key_value_heads",
            format!("is {kv_heads}, which does not divide num_attention_heads, {heads}"),
        ));
    }
    let (field, head_dim) = match fields.get("head_dim") {
        Some(_) => ("head_dim", fields.size("head_dim")?),
        // The default of `transformers` is then a fixed number.
        None if decoder.head_dim_needed => {
            return Err(fields.missing("head_dim"));
        }
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

fn pad_token_id(fields: &Fields<'_>, decoder: &Decoder, vocab_size: usize) -> Result<Option<u32>> {
    let value = match fields.map.get("pad_token_id") {
        // The default of `transformers`.
        None => return Ok(decoder.pad_token_id),
        Some(Value::Null) => return Ok(None),
        Some(value) => value,
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
                    "is {}; it must be null or a token id below vocab_size, {vocab_size}: \
                     it decides which token is scored",
                    shown(value)
                ),
            )
        })
}
