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
    /// What they do on this processor; `None` where it has no unit for bfloat16 numbers.
    pub(crate) fn new(precision: Precision) -> Option<Self> {
        let kernels = Kernels::detect()?;
        Some(Self {
            precision,
            wanted: Wanted {
                products: kernels.gains(precision),
                rows: kernels.gains_on_integers(),
                attention: true,
            },
        })
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
