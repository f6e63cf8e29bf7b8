//! What has to be done to one tensor.

use std::sync::Arc;

use super::{
    FloatType, LowRank,
    float::{self, Overflowed},
};
use crate::{checkpoint::Dtype, options::Overflow};

/// Where a tensor's values come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its name in the checkpoint, for messages.
    pub(crate) tensor: String,
    /// Index into [`Checkpoint::files`](crate::Checkpoint::files).
    pub(crate) file: usize,
    /// First byte in that file.
    pub(crate) offset: u64,
    /// Stored type.
    pub(crate) float: FloatType,
    /// Dimensions.
    pub(crate) shape: Vec<u64>,
    /// What is added to the values before they are encoded. Not with [`Encoding::Copy`].
    pub(crate) update: Option<Arc<LowRank>>,
}

impl Source {
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.elements() * self.float.bytes() as u64
    }
}

/// How values become what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// The bytes as they are.
    Copy,
    /// One value after the other, in another type.
    Float(FloatType),
}

/// A tensor that an [`Encoding`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// What its name adds to the source's.
    pub(crate) suffix: &'static str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// Bytes that one unit of the source becomes in it.
    pub(crate) unit_bytes: u64,
}

impl Encoding {
    /// Values that are encoded together: the units of a tensor are independent of each other.
    pub(crate) fn unit(self, _shape: &[u64]) -> u64 {
        match self {
            Self::Copy | Self::Float(_) => 1,
        }
    }

    /// What a tensor of this type and shape becomes.
    pub(crate) fn outputs(self, source: &Source) -> Vec<Made> {
        let float = match self {
            Self::Copy => source.float,
            Self::Float(float) => float,
        };
        vec![Made {
            suffix: "",
            dtype: float.dtype(),
            shape: source.shape.clone(),
            unit_bytes: float.bytes() as u64,
        }]
    }

    /// Encodes whole units: `values` into one slice of bytes for each output.
    pub(crate) fn encode(
        self,
        values: &mut [f32],
        outputs: &mut [&mut [u8]],
        overflow: Overflow,
    ) -> Overflowed {
        match (self, outputs) {
            (Self::Float(to), [bytes]) => float::encode(to, values, bytes, overflow),
            _ => Overflowed::default(),
        }
    }
}

/// A tensor to convert, and where its outputs go.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) source: Source,
    pub(crate) encoding: Encoding,
    pub(crate) outputs: Vec<Output>,
}

/// The place of an output of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// First byte, counted from where the tensors of the file begin.
    pub(crate) offset: u64,
    /// Bytes of one unit.
    pub(crate) unit_bytes: u64,
}
