//! Why stages are where they are, and why they are in memory or not.

use std::fmt;

use worldpm_ort_bundle::Bytes;

use super::placement::PlaceError;
use crate::host::gpu::{GpusError, NoKernels};

/// Why stages are on their devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementReason {
    /// The bundle was exported for them.
    Exported,
    /// The first GPU, since the GPUs of the machine are not known.
    FirstGpu {
        /// Why they are not.
        unknown: GpusError,
    },
    /// The model fits.
    Fits {
        /// Which stages go where, and what is left, in words.
        placement: String,
        /// GPUs that cannot be used.
        left_out: Vec<NoKernels>,
    },
    /// The model is streamed, on the GPU with the most free memory.
    Roomiest {
        /// Free bytes of that GPU.
        free: u64,
        /// Why it does not fit; `None` where streaming was asked for.
        no_fit: Option<PlaceError>,
        /// GPUs that cannot be used.
        left_out: Vec<NoKernels>,
    },
}

impl fmt::Display for PlacementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_out = match self {
            Self::Exported => return f.write_str("for which the bundle was exported"),
            Self::FirstGpu { unknown } => {
                return write!(
                    f,
                    "the first GPU, since of others nothing is known: {unknown}"
                );
            }
            Self::Fits {
                placement,
                left_out,
            } => {
                f.write_str(placement)?;
                left_out
            }
            Self::Roomiest {
                free,
                no_fit,
                left_out,
            } => {
                write!(f, "the GPU with the most free memory, {}: ", Bytes(*free))?;
                match no_fit {
                    Some(error) => write!(f, "{error}")?,
                    None => f.write_str("stages are streamed")?,
                }
                left_out
            }
        };
        left_out
            .iter()
            .try_for_each(|why| write!(f, "; left out: {why}"))
    }
}

/// Why stages are resident or streamed, and what follows from the memory that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResidencyReason {
    /// What decided.
    pub cause: ResidencyCause,
    /// Most unique tokens of a wave, where stages are streamed.
    pub wave_tokens: Option<usize>,
    /// Most tokens of a conversation, where memory allows fewer than the model.
    pub max_length: Option<usize>,
}

/// What decides about residency.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResidencyCause {
    /// It was asked for.
    Asked,
    /// The engine was given, and is not the bundle's.
    OwnEngine,
    /// The bytes that the model takes, and those that there are, where they are known.
    Memory {
        /// What all stages take.
        needed: u64,
        /// What there is.
        available: Option<u64>,
        /// Whether the model is resident although there is less than that, since it has one stage.
        one_stage: bool,
    },
}

impl fmt::Display for ResidencyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            ResidencyCause::Asked => f.write_str("as asked")?,
            ResidencyCause::OwnEngine => f.write_str("an engine of its own")?,
            ResidencyCause::Memory {
                needed,
                available,
                one_stage,
            } => {
                write!(f, "{}", Bytes(*needed))?;
                if let Some(available) = available {
                    write!(f, " of {}", Bytes(*available))?;
                }
                f.write_str(" of memory")?;
                if *one_stage {
                    f.write_str(", and a bundle of one stage cannot be streamed")?;
                }
            }
        }
        if let Some(tokens) = self.wave_tokens {
            write!(f, "; waves of up to {tokens} tokens")?;
        }
        match self.max_length {
            Some(longest) => write!(f, "; conversations of up to {longest} tokens"),
            None => Ok(()),
        }
    }
}

impl From<ResidencyCause> for ResidencyReason {
    fn from(cause: ResidencyCause) -> Self {
        Self {
            cause,
            wave_tokens: None,
            max_length: None,
        }
    }
}
