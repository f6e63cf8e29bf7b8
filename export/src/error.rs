//! What can go wrong in an export.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use worldpm_ort_bundle::{Bytes, manifest::OverflowedTensor};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or is malformed, in the way that the files of bundles are checked too: weight files and their
    /// list, text files, graphs, manifests.
    #[error(transparent)]
    Bundle(#[from] worldpm_ort_bundle::Error),

    /// `config.json` lacks a field, or holds a value that makes no sense.
    #[error("{path}: field `{field}`: {problem}")]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The field, with dots for nested ones.
        field: String,
        /// What is wrong with it.
        problem: String,
    },

    /// `config.json` names a model class that is not supported.
    #[error("{path}: architecture `{name}` is not supported: {hint}")]
    UnsupportedArchitecture {
        /// The configuration file.
        path: PathBuf,
        /// The class.
        name: String,
        /// What is supported, or what to do instead.
        hint: String,
    },

    /// `config.json` is sound, but asks for something that is not supported.
    #[error("{path}: {what} is not supported: {hint}")]
    UnsupportedConfig {
        /// The configuration file.
        path: PathBuf,
        /// The field and its value.
        what: String,
        /// What is supported, or what to do instead.
        hint: String,
    },

    /// The checkpoint or an option asks for something else that is not supported.
    #[error("{what} is not supported: {hint}")]
    Unsupported {
        /// What was found, and where.
        what: String,
        /// What is supported, or what to do instead.
        hint: String,
    },

    /// A tensor that the model needs is missing.
    #[error("{place}: tensor `{tensor}`: {problem}")]
    MissingTensor {
        /// The tensor's name.
        tensor: String,
        /// The directory or file that should have it.
        place: String,
        /// Why it is needed, and what to do.
        problem: String,
    },

    /// A tensor has another type, shape or place than the model needs, or values that make no sense.
    #[error("{file}: tensor `{tensor}`: {problem}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// The weight file that it is in.
        file: String,
        /// What is wrong with it.
        problem: String,
    },

    /// Weights are too large for the type that they should be converted to.
    #[error(
        "weights are too large for the precision asked for, in {}; \
         export as bf16, or give --overflow clamp to make them the largest value there is",
        overflowed_tensors(.tensors)
    )]
    Overflow {
        /// The tensors, in the order of the bundle.
        tensors: Vec<OverflowedTensor>,
    },

    /// The inputs that weights are rounded for cannot be used.
    #[error("calibration: {problem}")]
    Calibration {
        /// What is wrong, and where.
        problem: String,
    },

    /// An option's value cannot be used.
    #[error("option `{option}`: {problem}")]
    Option {
        /// The option, by its name in the options struct.
        option: String,
        /// What is wrong with its value.
        problem: String,
    },

    /// A recipe cannot be read, or is for another model than the checkpoint.
    #[error("recipe `{recipe}`{}: {problem}", .field.as_deref().map(|f| format!(": field `{f}`")).unwrap_or_default())]
    Recipe {
        /// Its name, or its file.
        recipe: String,
        /// The field, with dots for nested ones, when one is to blame.
        field: Option<String>,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// What stands at the output is not ours, or holds something that is not, and would be lost.
    #[error("{path}: {problem}")]
    OutputTaken {
        /// The output.
        path: PathBuf,
        /// What stands there, and what to do.
        problem: String,
    },

    /// The disk has no room for the weights that are converted.
    #[error(
        "{path}: the converted weights need {needed} bytes, and {free} are free; free some space, or choose a directory \
         on another disk"
    )]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Bytes that the weights take.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },

    /// The system refuses to write an output.
    #[error("{path}: cannot {action}: {source}{}", write_hint(.source))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What was being done, as in "cannot *write it*".
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },

    /// The output cannot be made there for another reason.
    #[error("{path}: {problem}")]
    Output {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// More stages than layers were asked for, or none.
    #[error("{layers} layers cannot be divided into {stages} stages; give 1 to {layers}")]
    Stages {
        /// Stages asked for.
        stages: usize,
        /// Layers there are.
        layers: usize,
    },

    /// A directory is neither a bundle nor a checkpoint.
    #[error(
        "{path}: is neither a bundle (it has no manifest.json) nor a checkpoint (it has no config.json)"
    )]
    Neither {
        /// The directory.
        path: PathBuf,
    },

    /// The model does not fit the devices that it should be placed on.
    #[error(
        "the model does not fit {devices}: its weights take {weights}, the largest layer {largest} of them, and every \
         stage needs {activations} for activations (at {tokens} tokens and {cells} attention cells) and {workspace} of \
         workspace besides; give more or larger devices, a narrower precision, or a smaller token budget"
    )]
    NoFit {
        /// The devices.
        devices: String,
        /// Memory of all weights.
        weights: Bytes,
        /// Memory of the weights of the largest layer, with the embedding or the head if it has them.
        largest: Bytes,
        /// Memory of the activations of each stage.
        activations: Bytes,
        /// Memory of each stage's kernels and libraries.
        workspace: Bytes,
        /// Token budget.
        tokens: u64,
        /// Budget of attention cells.
        cells: u64,
    },

    /// A stage of a bundle does not fit its device.
    #[error(
        "stage {stage} needs {needs}, {weights} of it for weights, and {device}; export the model in other stages"
    )]
    StageTooLarge {
        /// Position of the stage.
        stage: usize,
        /// Memory that it needs.
        needs: Bytes,
        /// Memory of its weights.
        weights: Bytes,
        /// What there is.
        device: String,
    },
}

impl Error {
    /// As [`worldpm_ort_bundle::Error::io`].
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        worldpm_ort_bundle::Error::io(action, path, source).into()
    }
}

/// What to do about an output that cannot be written.
fn write_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space, or choose a directory on another disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that you may write"
        }
        _ => "",
    }
}

/// The first few by name, and how many more there are.
fn overflowed_tensors(tensors: &[OverflowedTensor]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = tensors
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if tensors.len() > SHOWN {
        text.push(format!("{} more tensors", tensors.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn refused() -> io::Error {
        ErrorKind::PermissionDenied.into()
    }

    /// The system's reason is the source, below nothing that says the same.
    #[test]
    fn sources_are_kept() {
        let path = Path::new("config.json");
        let read = Error::io("read", path, refused());
        assert_eq!(read.to_string(), "cannot read `config.json`");
        let write = Error::Write {
            path: path.to_owned(),
            action: "write it",
            source: refused(),
        };
        assert_eq!(
            write.to_string(),
            "config.json: cannot write it: permission denied; choose a directory that you may write"
        );
        for error in [read, write] {
            let source = error.source().and_then(|source| source.downcast_ref());
            assert_eq!(
                source.map(io::Error::kind),
                Some(ErrorKind::PermissionDenied)
            );
        }
    }

    #[test]
    fn a_few_tensors_are_named() {
        let tensors = (0..7).map(|number| OverflowedTensor {
            tensor: format!("tensor{number}"),
            count: 1,
            largest: 1e6,
        });
        let error = Error::Overflow {
            tensors: tensors.collect(),
        };
        let text = error.to_string();
        assert!(text.contains("tensor4"), "{text}");
        assert!(text.contains(", 2 more tensors; export as bf16"), "{text}");
    }
}
