//! Which of the CPU's work our own kernels do.

use std::{num::NonZeroUsize, path::Path};

use ort::operator::OperatorDomain;
use worldpm_ort_bundle::fused::{FusedGraph, Wanted, fuse};
use worldpm_ort_kernels::{Kernels, Precision};

use super::operators::operators;

/// What our kernels do in the sessions of a scorer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelChoice {
    precision: Precision,
    wanted: Wanted,
}

impl KernelChoice {
    /// What they do on this processor where that precision was asked for; `None` where it has no unit for bfloat16 numbers.
    pub(crate) fn new(asked: Precision) -> Option<Self> {
        Kernels::detect().map(|kernels| Self::on(&kernels, asked))
    }

    /// Where products of that precision are no faster than those of floats, the latter are left to ONNX Runtime; and those
    /// of integers are of medium precision, which is higher than that of ONNX Runtime's.
    fn on(kernels: &Kernels, asked: Precision) -> Self {
        let gains = kernels.gains(asked);
        Self {
            precision: if gains { asked } else { Precision::Medium },
            wanted: Wanted {
                floats: gains,
                attention: true,
            },
        }
    }

    /// How exactly products are computed.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The graph of the file `path` with their operators.
    pub(crate) fn fuse(
        &self,
        graph: &[u8],
        path: &Path,
        head_dim: usize,
    ) -> worldpm_ort_bundle::Result<FusedGraph> {
        fuse(graph, path, head_dim, self.wanted)
    }

    /// The operators, for a session that computes on `threads` threads.
    pub(crate) fn operators(&self, threads: NonZeroUsize) -> ort::Result<OperatorDomain> {
        let kernels = Kernels::detect()
            .ok_or_else(|| ort::Error::new("the processor has no unit for bfloat16 numbers"))?;
        operators(kernels, self.precision, threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_left_where_nothing_is_gained() {
        for kernels in Kernels::all() {
            for asked in Precision::ALL {
                let choice = KernelChoice::on(&kernels, asked);
                let (precision, floats) = match kernels.unit() {
                    "amx_bf16" => (asked, true),
                    _ => (Precision::Medium, asked == Precision::Medium),
                };
                assert_eq!(choice.precision(), precision, "{} {asked}", kernels.unit());
                assert_eq!(choice.wanted.floats, floats, "{} {asked}", kernels.unit());
            }
        }
    }
}
