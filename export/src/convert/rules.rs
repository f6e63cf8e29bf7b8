//! What a caller decides of a conversion, and hears of it.

use std::{num::NonZeroUsize, sync::Arc, thread};

use worldpm_ort_bundle::Overflow;

use super::job::Job;
use crate::calibration::{Calibration, LayerInputs};

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the checkpoint's weights that have been converted.
    pub done: u64,
    /// Bytes of the checkpoint's weights that have to be converted.
    pub total: u64,
}

/// How a conversion is done.
pub(crate) struct Rules<'a> {
    pub(crate) overflow: Overflow,
    /// Whether every value has to be finite.
    pub(crate) finite: bool,
    pub(crate) threads: Option<NonZeroUsize>,
    /// What integers are rounded with.
    pub(crate) calibration: Option<&'a Calibration>,
    /// Called from every thread, after each chunk.
    pub(crate) progress: &'a (dyn Fn(Progress) + Sync),
}

impl Rules<'_> {
    pub(super) fn threads(&self) -> NonZeroUsize {
        let all = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.threads.unwrap_or_else(all)
    }

    /// What the weight that a job rounds is multiplied with, where that is known.
    pub(super) fn inputs(&self, job: &Job) -> Option<&Arc<LayerInputs>> {
        let calibration = self.calibration.filter(|_| job.encoding.is_rounded())?;
        calibration.inputs(&job.source.tensor)
    }
}
