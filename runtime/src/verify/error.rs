//! What can go wrong in verifying a bundle, other than that it gives other scores.

use std::path::PathBuf;

/// A bundle cannot be verified. What is wrong with its scores is in the reports instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The manifest lists no probes.
    #[error(
        "{}: the bundle has no probes to run, since it was made by an older exporter; export the checkpoint again",
        bundle.display()
    )]
    NoProbes {
        /// The bundle.
        bundle: PathBuf,
    },
    /// There is nothing to compare scores with.
    #[error(
        "{}: there are no reference scores; make them with `worldpm-ort verify --record --model {}`, \
         on a machine whose memory holds the model's weights in fp32",
        path.display(), bundle.display()
    )]
    NoReference {
        /// The file that would hold them.
        path: PathBuf,
        /// The bundle.
        bundle: PathBuf,
    },
    /// The file of reference scores cannot be used.
    #[error("{}: {problem}", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The reference path needs more memory than there is.
    #[error(
        "the reference path needs {:.1} GB of memory for the weights in fp32, and {:.1} GB is {what}",
        *needed as f64 / 1e9, *limit as f64 / 1e9
    )]
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes that there are.
        limit: u64,
        /// What the limit is.
        what: &'static str,
    },
    /// The reference path gives no score for a probe.
    #[error("the reference path (fp32 on the CPU) gives no score for the probe {name}: {problem}")]
    Probe {
        /// The probe.
        name: String,
        /// Why.
        problem: crate::Error,
    },
    /// Scores of the probes are not all finite, or there are none.
    #[error("{0} gives no finite score for every probe")]
    Drift(String),
    /// Checksums were asked for, and the bundle has none.
    #[error(
        "{}: records no SHA-256 of the weight files; export the checkpoint with --checksum",
        manifest.display()
    )]
    NoChecksums {
        /// The manifest.
        manifest: PathBuf,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bundle, the library or the device cannot be used.
    #[error(transparent)]
    Score(#[from] crate::Error),
    /// A file of the bundle cannot be read.
    #[error(transparent)]
    Bundle(#[from] worldpm_ort_bundle::Error),
}
