//! The words that options and manifests share: what a bundle is for, and what is in it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Which operators the graph is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// ONNX Runtime's CPU and CUDA providers: attention is `com.microsoft.GroupQueryAttention`.
    #[default]
    Ort,
    /// Any ONNX runtime, and TensorRT: standard operators only, attention is `Attention` of operator
    /// set 23.
    Onnx,
}

/// Which kind of device the graph is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The CPU: weights are cast to 32-bit floats when they are loaded, and all work is done in those.
    #[default]
    Cpu,
    /// An NVIDIA GPU: the layers work in the 16-bit type that the weights have.
    Cuda,
}

/// How a bundle is laid out on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Graphs, weights and tokenizer in one folder, as this project's runtime needs them.
    #[default]
    Plain,
    /// A model repository for a Triton server: a model for each stage, and an ensemble of them.
    Triton,
    /// The same, with the Kubernetes objects that make KServe run it.
    Kserve,
}

/// What a graph is fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// Packed tokens and their indices, which the batch planner of `worldpm-ort` makes: no padding, and
    /// beginnings that conversations share are computed once.
    #[default]
    Packed,
    /// `input_ids` and `attention_mask` `[batch, sequence]`, as most servers and clients know them. The
    /// graph drops the padding itself; shared beginnings are computed as often as they occur.
    Padded,
}

/// Where the weights of a bundle are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsMode {
    /// In the checkpoint, which must stay where it is. Takes no disk space.
    #[default]
    Reference,
    /// Beside the graphs, as hard links to the checkpoint's files. Takes no disk space, and any ONNX
    /// Runtime opens the graphs by path; the checkpoint must be on the same file system.
    Hardlink,
    /// Beside the graphs, as copies.
    Copy,
}

/// What the weights of a bundle are stored as.
///
/// The reward head is in 32-bit floats whenever the weights are converted: it is small, and it is computed
/// in those. Of the integer types only the linear layers of the decoder are made; the embedding stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    Fp16,
    /// IEEE single precision; CPU only.
    Fp32,
    /// 8-bit integers with a scale for each block of a row.
    Int8,
    /// 4-bit integers with a scale for each block of a row.
    Int4,
    /// 8-bit integers with a scale for each row, multiplied with activations of 8 bits, which have a scale for
    /// each token; CPU only. The fastest where the processor has instructions for it.
    W8a8,
}

/// What happens to a finite value that is infinite in the type it is converted to. Those of half precision
/// end at 65504.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The export fails and names the tensors.
    #[default]
    Refuse,
    /// The value becomes the largest finite one of its sign. The manifest lists the tensors.
    Clamp,
}

/// Which token's hidden state is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Pooling {
    /// The last token.
    Last,
    /// The token before the first `pad_token_id`, which must be the conversation's last token.
    BeforeFirstPad {
        /// The padding token.
        pad_token_id: u32,
    },
    /// The rightmost token that is not `pad_token_id`.
    LastNonPad {
        /// The padding token.
        pad_token_id: u32,
    },
    /// Every `token_id`, of which there may be any number: a model that judges each step of an answer has
    /// one behind every step.
    EachToken {
        /// The step token.
        token_id: u32,
    },
}

/// What makes rewards of the numbers that the graph gives for a scored token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "function", rename_all = "snake_case")]
pub enum Activation {
    /// Nothing: the raw numbers are the scores.
    None,
    /// The softmax over the labels: the reward is the probability of one of them.
    Softmax {
        /// The label, as an index into the model's labels.
        label: usize,
    },
}

/// Where the tokenizer and the chat template of a bundle come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextFrom {
    /// The checkpoint.
    #[default]
    Base,
    /// The adapter that is merged into it.
    Adapter,
}

/// A name that is none of the choices of an option.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{given}' is none of: {}", .choices.join(", "))]
pub struct UnknownChoice {
    given: String,
    choices: &'static [&'static str],
}

macro_rules! names {
    ($type:ident: $($name:literal => $variant:ident),+) => {
        impl $type {
            /// The names of all choices.
            pub const NAMES: &'static [&'static str] = &[$($name),+];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = UnknownChoice;

            fn from_str(name: &str) -> Result<Self, UnknownChoice> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(UnknownChoice { given: name.to_owned(), choices: Self::NAMES }),
                }
            }
        }
    };
}

names!(Target: "ort" => Ort, "onnx" => Onnx);
names!(Device: "cpu" => Cpu, "cuda" => Cuda);
names!(
    Precision: "bf16" => Bf16, "fp16" => Fp16, "fp32" => Fp32, "int8" => Int8, "int4" => Int4, "w8a8" => W8a8
);
names!(TextFrom: "base" => Base, "adapter" => Adapter);
names!(Overflow: "refuse" => Refuse, "clamp" => Clamp);
names!(Layout: "plain" => Plain, "triton" => Triton, "kserve" => Kserve);
names!(Interface: "packed" => Packed, "padded" => Padded);
names!(WeightsMode: "reference" => Reference, "hardlink" => Hardlink, "copy" => Copy);
