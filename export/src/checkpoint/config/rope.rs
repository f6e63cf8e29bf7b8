//! Rotary position embeddings.

use super::architecture::Backbone;
use crate::checkpoint::fields::Fields;
use crate::error::Result;
use crate::json::kind;

/// What `transformers` takes for Llama when the file does not say: those of Llama 1 and 2 do not.
const LLAMA_THETA: f64 = 10_000.0;
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
pub(super) fn read(
    fields: &Fields<'_>,
    backbone: Backbone,
    max_position_embeddings: usize,
) -> Result<Rope> {
    let mut theta = match fields.get("rope_theta") {
        Some(_) => Some(fields.positive("rope_theta")?),
        None => None,
    };
    let mut scaling: Option<RopeScaling> = None;
    refuse_partial(fields)?;
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
        let found = read_scaling(fields, &rope, max_position_embeddings)?;
        if scaling.is_some_and(|other| other != found) {
            return Err(fields.error(
                name,
                "describes another scaling than `rope_parameters`; remove one of the two",
            ));
        }
        scaling = Some(found);
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
    let theta = match (theta, backbone) {
        (Some(theta), _) => theta,
        (None, Backbone::Llama) => LLAMA_THETA,
        (None, _) => {
            return Err(fields.error(
                "rope_theta",
                "is missing, here and in `rope_parameters`; the model needs it",
            ));
        }
    };
    if matches!(scaling, Some(RopeScaling::Yarn { .. })) && theta <= 1.0 {
        return Err(fields.error("rope_theta", format!("is {theta}; YaRN needs more than 1")));
    }
    Ok(Rope {
        theta,
        scaling: scaling.unwrap_or(RopeScaling::Default),
    })
}

fn read_scaling(
    fields: &Fields<'_>,
    rope: &Fields<'_>,
    max_position_embeddings: usize,
) -> Result<RopeScaling> {
    // Some models have a set of parameters for each kind of layer.
    if let Some((key, _)) = rope.map.iter().find(|(_, value)| value.is_object()) {
        return Err(rope.unsupported(
            format!("{} with its own parameters for `{key}`", rope.prefix),
            "only one set for all layers is".to_owned(),
        ));
    }
    refuse_partial(rope)?;
    let kind = match rope.text("rope_type")? {
        Some(kind) => Some(kind),
        None => rope.text("type")?,
    };
    match kind {
        None | Some("default") => Ok(RopeScaling::Default),
        Some("linear") => Ok(RopeScaling::Linear {
            factor: rope.positive("factor")?,
        }),
        Some("llama3") => read_llama3(rope),
        Some("yarn") => read_yarn(fields, rope, max_position_embeddings),
        Some(other) => Err(rope.unsupported(
            format!("{} of kind `{other}`", rope.prefix),
            "the kinds `default`, `linear`, `llama3` and `yarn` are".to_owned(),
        )),
    }
}

fn read_llama3(rope: &Fields<'_>) -> Result<RopeScaling> {
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
        original_max_position_embeddings: rope.size("original_max_position_embeddings")?,
    })
}

fn read_yarn(
    fields: &Fields<'_>,
    rope: &Fields<'_>,
    max_position_embeddings: usize,
) -> Result<RopeScaling> {
    let optional = |name: &str| match rope.get(name) {
        Some(_) => rope.positive(name).map(Some),
        None => Ok(None),
    };
    // One outside counts more, as in `transformers`.
    let original_max_position_embeddings = match (
        fields.optional_size("original_max_position_embeddings")?,
        rope.optional_size("original_max_position_embeddings")?,
    ) {
        (Some(original), _) | (None, Some(original)) => original,
        (None, None) => max_position_embeddings,
    };
    let factor = rope.positive("factor")?;
    let attention_factor = match optional("attention_factor")? {
        Some(given) => given,
        None => match (optional("mscale")?, optional("mscale_all_dim")?) {
            (Some(mscale), Some(all_dim)) => {
                yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all_dim)
            }
            _ => yarn_magnitude(factor, 1.0),
        },
    };
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor,
        beta_fast: optional("beta_fast")?.unwrap_or(YARN_BETA_FAST),
        beta_slow: optional("beta_slow")?.unwrap_or(YARN_BETA_SLOW),
        truncate: rope.flag("truncate")?.unwrap_or(true),
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
