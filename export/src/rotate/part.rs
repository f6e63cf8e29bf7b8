//! What a tensor of a decoder has to do with the residual stream.

/// What becomes of a tensor in a rotated model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Rows of the stream: `E R`.
    Embedding,
    /// The weight of a norm, which goes into the layers that read what is normalised: all ones.
    Norm,
    /// Reads the stream behind a norm with this weight: `W diag(norm) R`.
    Reader { norm: String },
    /// As a reader, and gives the values of heads, which are rotated too.
    ValueReader { norm: String },
    /// The bias of that layer.
    ValueBias,
    /// Reads values of heads and adds to the stream.
    HeadsWriter,
    /// Adds to the stream.
    Writer,
    /// The bias of a layer that adds to the stream.
    WriterBias,
    /// Stays as it is.
    Same,
}

/// The norm before the reward head.
const LAST_NORM: &str = "model.norm.weight";

impl Part {
    /// What the tensor of this name is, as the graph asks for it.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "model.embed_tokens.weight" => return Self::Embedding,
            LAST_NORM => return Self::Norm,
            "score.weight" | "score.0.weight" => {
                return Self::Reader {
                    norm: LAST_NORM.to_owned(),
                };
            }
            _ => {}
        }
        let Some((layer, part)) = layer_and_part(name) else {
            return Self::Same;
        };
        let norm = |norm: &str| format!("{layer}.{norm}.weight");
        match part {
            "input_layernorm.weight" | "post_attention_layernorm.weight" => Self::Norm,
            "self_attn.q_proj.weight" | "self_attn.k_proj.weight" => Self::Reader {
                norm: norm("input_layernorm"),
            },
            "self_attn.v_proj.weight" => Self::ValueReader {
                norm: norm("input_layernorm"),
            },
            "self_attn.v_proj.bias" => Self::ValueBias,
            "self_attn.o_proj.weight" => Self::HeadsWriter,
            "mlp.gate_proj.weight" | "mlp.up_proj.weight" => Self::Reader {
                norm: norm("post_attention_layernorm"),
            },
            "mlp.down_proj.weight" => Self::Writer,
            "self_attn.o_proj.bias" | "mlp.down_proj.bias" => Self::WriterBias,
            _ => Self::Same,
        }
    }
}

/// `model.layers.3` and `mlp.up_proj.weight`.
fn layer_and_part(name: &str) -> Option<(&str, &str)> {
    const LAYERS: &str = "model.layers.";
    let number = name.strip_prefix(LAYERS)?;
    let end = LAYERS.len() + number.find('.')?;
    Some((name.get(..end)?, name.get(end + 1..)?))
}
