//! Rotary position embeddings.

use serde_json::Value;
use worldpm_ort_bundle::json::kind;

use super::{check, table};
use crate::{
    arch::Decoder,
    checkpoint::{fields::Fields, python_json::is_number},
    error::Result,
};

/// Rotations per original context above which YaRN leaves a frequency alone, unless the file says.
const YARN_BETA_FAST: f64 = 32.0;
/// Rotations per original context below which YaRN divides a frequency by its whole factor, unless the
/// file says.
const YARN_BETA_SLOW: f64 = 1.0;

/// How positions become angles.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// What is done to them.
    pub scaling: RopeScaling,
}

/// What is done to the frequencies so that a model reaches past the context it was first trained on.
///
/// The fields have their names in `config.json`; see `ROPE_INIT_FUNCTIONS` in `transformers`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Nothing.
    Default,
    /// All of them divided by `factor`.
    Linear {
        /// How many times longer the context becomes.
        factor: f64,
    },
    /// Low ones divided by `factor`, high ones left, those between interpolated (Llama 3.1).
    Llama3 {
        /// How many times longer the context becomes.
        factor: f64,
        /// Wavelengths above the original context over this are scaled.
        low_freq_factor: f64,
        /// Wavelengths below the original context over this are left; above `low_freq_factor`.
        high_freq_factor: f64,
        /// The context before scaling, in tokens.
        original_max_position_embeddings: usize,
    },
    /// As in Llama 3, over a ramp of dimensions, with cosines and sines multiplied by a factor (YaRN).
    Yarn {
        /// How many times longer the context becomes.
        factor: f64,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// Frequencies with more rotations per original context are left.
        beta_fast: f64,
        /// Frequencies with fewer rotations per original context are scaled.
        beta_slow: f64,
        /// Whether the ends of the ramp are whole dimensions.
        truncate: bool,
        /// The context before scaling, in tokens.
        original_max_position_embeddings: usize,
    },
}

impl RopeScaling {
    /// The context that scaling reaches, in tokens, where `max_position_embeddings` may still state the
    /// one before: the files of Qwen models with YaRN do.
    pub(super) fn reach(self) -> Option<usize> {
        match self {
            Self::Yarn {
                factor,
                original_max_position_embeddings,
                ..
            } => {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    clippy::cast_sign_loss
                )]
                let reach = (original_max_position_embeddings as f64 * factor) as usize;
                Some(reach)
            }
            _ => None,
        }
    }
}

/// Reads `rope_theta` and the kind of scaling, wherever the file has them.
///
/// `transformers` 5 takes `rope_scaling` where that is not empty, and `rope_parameters` otherwise; inside of either,
/// `rope_theta` counts more than outside. Version 4 knows neither `rope_parameters` nor a `rope_theta` inside. So where
/// a value is given twice, both have to be the same.
pub(super) fn read(
    fields: &Fields<'_>,
    decoder: &Decoder,
    max_position_embeddings: usize,
) -> Result<Rope> {
    refuse_partial(fields)?;
    let mut found: Option<Rope> = None;
    for rope in sets(fields)? {
        let one = Rope {
            scaling: read_scaling(fields, &rope, max_position_embeddings)?,
            theta: theta(fields, Some(&rope), decoder)?,
        };
        if found.as_ref().is_some_and(|other| *other != one) {
            return Err(fields.error(
                rope.prefix,
                "describes other positions than `rope_parameters`; remove one of the two",
            ));
        }
        found = Some(one);
    }
    let rope = match found {
        Some(rope) => rope,
        None => Rope {
            theta: theta(fields, None, decoder)?,
            scaling: RopeScaling::Default,
        },
    };
    if matches!(rope.scaling, RopeScaling::Yarn { .. }) && rope.theta <= 1.0 {
        return Err(fields.error(
            "rope_theta",
            format!("is {}; YaRN needs more than 1", rope.theta),
        ));
    }
    Ok(rope)
}

/// Names of fields of rotary positions that nobody knows.
///
/// # Errors
/// As for [`check::check`].
pub(super) fn unknown_fields(fields: &Fields<'_>, decoder: &Decoder) -> Result<Vec<String>> {
    let mut unknown = Vec::new();
    for rope in sets(fields)? {
        unknown.extend(check::check(&rope, table::ROPE_FIELDS, decoder)?.unknown);
    }
    Ok(unknown)
}

/// The sets of parameters in the file, but for empty ones.
fn sets<'a>(fields: &Fields<'a>) -> Result<Vec<Fields<'a>>> {
    let mut sets = Vec::new();
    for name in ["rope_parameters", "rope_scaling"] {
        let Some(value) = fields.get(name) else {
            continue;
        };
        let map = value
            .as_object()
            .ok_or_else(|| fields.error(name, format!("must be an object, not {}", kind(value))))?;
        if !map.is_empty() {
            sets.push(Fields {
                path: fields.path,
                prefix: name,
                map,
            });
        }
    }
    Ok(sets)
}

fn theta(fields: &Fields<'_>, rope: Option<&Fields<'_>>, decoder: &Decoder) -> Result<f64> {
    let one = |fields: &Fields<'_>| match fields.get("rope_theta") {
        Some(_) => fields.positive("rope_theta").map(Some),
        None => Ok(None),
    };
    let outside = one(fields)?;
    let inside = rope.map(one).transpose()?.flatten();
    if let (Some(outside), Some(inside), Some(rope)) = (outside, inside, rope)
        && outside != inside
    {
        return Err(rope.error(
            "rope_theta",
            format!("is {inside}, but another rope_theta in the file is {outside}"),
        ));
    }
    let is_null = |fields: &Fields<'_>| fields.map.contains_key("rope_theta");
    match (inside.or(outside), decoder.rope_theta) {
        (Some(theta), _) => Ok(theta),
        (None, _) if is_null(fields) || rope.is_some_and(is_null) => {
            Err(fields.error("rope_theta", "is null; the model needs it"))
        }
        (None, Some(theta)) => Ok(theta),
        (None, None) => Err(fields.error(
            "rope_theta",
            "is missing, here and in `rope_parameters`; the model needs it",
        )),
    }
}

fn read_scaling(
    fields: &Fields<'_>,
    rope: &Fields<'_>,
    max_position_embeddings: usize,
) -> Result<RopeScaling> {
    // Some models have a set of parameters for each kind of layer.
    let nested = |value: &Value| value.is_object() && !is_number(value);
    if let Some((key, _)) = rope.map.iter().find(|(_, value)| nested(value)) {
        return Err(rope.unsupported(
            format!("{} with its own parameters for `{key}`", rope.prefix),
            "only one set for all layers is".to_owned(),
        ));
    }
    refuse_partial(rope)?;
    match scaling_kind(rope)? {
        None | Some("default") => Ok(RopeScaling::Default),
        Some("linear") => Ok(RopeScaling::Linear {
            factor: rope.positive("factor")?,
        }),
        Some("llama3") => read_llama3(fields, rope),
        Some("yarn") => read_yarn(fields, rope, max_position_embeddings),
        Some(other) => Err(rope.unsupported(
            format!("{} of kind `{other}`", rope.prefix),
            "the kinds `default`, `linear`, `llama3` and `yarn` are".to_owned(),
        )),
    }
}

/// The kind, under its new name or its old one. Version 4 of `transformers` prefers the old, 5 the new.
fn scaling_kind<'a>(rope: &Fields<'a>) -> Result<Option<&'a str>> {
    match (rope.text("rope_type")?, rope.text("type")?) {
        (Some(new), Some(old)) if new != old => Err(rope.error(
            "type",
            format!("is `{old}`, but `rope_type` is `{new}`; remove one of the two"),
        )),
        (Some(kind), _) | (None, Some(kind)) => Ok(Some(kind)),
        (None, None) => match ["rope_type", "type"]
            .iter()
            .find(|name| rope.map.contains_key(**name))
        {
            Some(name) => Err(rope.error(name, "is null; it must name a kind, as in `default`")),
            None => Ok(None),
        },
    }
}

/// The context before scaling. Version 4 of `transformers` takes the one inside, 5 the one outside.
fn original_context(fields: &Fields<'_>, rope: &Fields<'_>) -> Result<Option<usize>> {
    let name = "original_max_position_embeddings";
    match (fields.whole_size(name)?, rope.whole_size(name)?) {
        (Some(outside), Some(inside)) if outside != inside => Err(rope.error(
            name,
            format!("is {inside}, but another {name} in the file is {outside}"),
        )),
        (outside, inside) => Ok(outside.or(inside)),
    }
}

fn read_llama3(fields: &Fields<'_>, rope: &Fields<'_>) -> Result<RopeScaling> {
    let low_freq_factor = rope.positive("low_freq_factor")?;
    let high_freq_factor = rope.positive("high_freq_factor")?;
    if high_freq_factor <= low_freq_factor {
        return Err(rope.error(
            "high_freq_factor",
            format!("is {high_freq_factor}; it must be above low_freq_factor, {low_freq_factor}"),
        ));
    }
    Ok(RopeScaling::Llama3 {
        factor: rope.positive("factor")?,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings: original_context(fields, rope)?
            .ok_or_else(|| rope.missing("original_max_position_embeddings"))?,
    })
}

#[allow(clippy::cast_precision_loss)]
fn read_yarn(
    fields: &Fields<'_>,
    rope: &Fields<'_>,
    max_position_embeddings: usize,
) -> Result<RopeScaling> {
    let optional = |name: &str| match rope.get(name) {
        Some(_) => rope.positive(name).map(Some),
        None => Ok(None),
    };
    // Zero counts as absent, as Python has it.
    let unless_zero = |name: &str| match rope.get(name).and_then(Value::as_f64) {
        Some(0.0) => Ok(None),
        _ => optional(name),
    };
    let original_max_position_embeddings =
        original_context(fields, rope)?.unwrap_or(max_position_embeddings);
    let factor = match rope.map.get("factor") {
        // Absent is not the same as null.
        Some(Value::Null) => {
            max_position_embeddings as f64 / original_max_position_embeddings as f64
        }
        _ => rope.positive("factor")?,
    };
    let attention_factor = match optional("attention_factor")? {
        Some(given) => given,
        None => match (unless_zero("mscale")?, unless_zero("mscale_all_dim")?) {
            (Some(mscale), Some(all_dim)) => {
                yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all_dim)
            }
            _ => yarn_magnitude(factor, 1.0),
        },
    };
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor,
        beta_fast: unless_zero("beta_fast")?.unwrap_or(YARN_BETA_FAST),
        beta_slow: unless_zero("beta_slow")?.unwrap_or(YARN_BETA_SLOW),
        truncate: match rope.map.get("truncate") {
            None => true,
            Some(_) => rope.flag("truncate")?.unwrap_or(false),
        },
        original_max_position_embeddings,
    })
}

/// The YaRN paper's `0.1 ln(s) + 1`, with a weight on the logarithm as `transformers` has it.
fn yarn_magnitude(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 {
        return 1.0;
    }
    0.1 * weight * factor.ln() + 1.0
}

fn refuse_partial(fields: &Fields<'_>) -> Result<()> {
    if fields.get("partial_rotary_factor").is_some()
        && fields.positive("partial_rotary_factor")? != 1.0
    {
        let place = match fields.prefix {
            "" => String::new(),
            prefix => format!("{prefix} with "),
        };
        return Err(fields.unsupported(
            format!("{place}a partial_rotary_factor"),
            "only rotating whole heads is".to_owned(),
        ));
    }
    Ok(())
}
