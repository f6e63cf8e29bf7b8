//! What an export makes of each weight.

use std::{collections::BTreeMap, fmt};

use worldpm_ort_bundle::float_type::FloatType;

use crate::{
    convert::{Encoding, StageFile},
    stage::ModelGraph,
};

/// How a weight is stored in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightForm {
    /// The checkpoint's own bytes, in its own file or in a link to it or a copy of it.
    InPlace,
    /// The checkpoint's own bytes, in a new file.
    Copied,
    /// Floats of another type, or those of the checkpoint with an adapter merged into them.
    Float(FloatType),
    /// Integers with a scale for each block of a row.
    Blocks {
        /// Bits of a value: 4 or 8.
        bits: u64,
        /// Values of a block.
        size: u64,
    },
    /// 8-bit integers with a scale for each row.
    Channels,
}

impl fmt::Display for WeightForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPlace => f.write_str("in place"),
            Self::Copied => f.write_str("copied"),
            Self::Float(float) => write!(f, "to {}", float.dtype()),
            Self::Blocks { bits, size } => write!(f, "to int{bits} in blocks of {size}"),
            Self::Channels => f.write_str("to int8 by rows"),
        }
    }
}

impl From<Encoding> for WeightForm {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Copy => Self::Copied,
            Encoding::Float(float) => Self::Float(float),
            Encoding::Blocks(blocks) => Self::Blocks {
                bits: blocks.bits.count(),
                size: blocks.size,
            },
            Encoding::Channels => Self::Channels,
        }
    }
}

/// What becomes of a weight of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedWeight {
    /// Its name.
    pub tensor: String,
    /// How it is stored in the bundle.
    pub form: WeightForm,
    /// Bytes that it takes there, with its scales and zero points.
    pub bytes: u64,
    /// Whether an adapter changes or replaces it.
    pub adapted: bool,
}

impl PlannedWeight {
    /// All of `model`, by name. `files` is the number of the checkpoint's files: an adapter's is counted after them.
    pub(super) fn all(model: &ModelGraph, files: usize) -> Vec<Self> {
        let jobs = model.file().map(StageFile::jobs).unwrap_or_default();
        let jobs: BTreeMap<&str, _> = jobs
            .iter()
            .map(|job| (job.source.tensor.as_str(), job))
            .collect();
        let weight = |(tensor, &bytes): (&String, &u64)| {
            let job = jobs.get(tensor.as_str());
            Self {
                tensor: tensor.clone(),
                form: job.map_or(WeightForm::InPlace, |job| job.encoding.into()),
                bytes,
                adapted: job
                    .is_some_and(|job| job.source.update.is_some() || job.source.file == files),
            }
        };
        model.used().tensors.iter().map(weight).collect()
    }
}
