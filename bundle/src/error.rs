//! What can go wrong with a checkpoint or a bundle: one type for both sides, since both read the same files.

use std::io;
use std::path::{Path, PathBuf};

use crate::{bytes::Bytes, overflow::OverflowedTensor, violation::Violation};

/// The result of everything in this crate and in the exporter.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that says what is wrong and where.
///
/// [`Error::Io`] keeps the operating system's reason as its
/// [`source`](std::error::Error::source): print the whole chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done, as in "cannot *open* ...".
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },

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

    /// The list of weight files is unusable, or disagrees with the files.
    #[error("{path}: {problem}")]
    Index {
        /// The index file, or the checkpoint directory when it has none.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// A weight file is not well-formed safetensors.
    #[error("{path}: {problem}")]
    Safetensors {
        /// The weight file, by its name in the checkpoint directory.
        path: PathBuf,
        /// What is wrong, with the tensor's name where there is one.
        problem: String,
    },

    /// A tensor is missing, or has another type or shape than the model needs.
    #[error("{file}: tensor `{tensor}`: {problem}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// The weight file it is in, or the checkpoint directory when it is in none.
        file: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A tokenizer or chat template file is missing or unusable.
    #[error("{path}: {problem}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The checkpoint is sound, but asks for something this project does not do.
    #[error("{what} is not supported: {hint}")]
    Unsupported {
        /// What was found, and where.
        what: String,
        /// What is supported, or what to do instead.
        hint: String,
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

    /// The output directory cannot be written.
    #[error("{path}: {problem}")]
    Output {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// A bundle's manifest cannot be read, or does not match the bundle.
    #[error("{path}{}: {problem}", .field.as_deref().map(|f| format!(": field `{f}`")).unwrap_or_default())]
    Manifest {
        /// The manifest file.
        path: PathBuf,
        /// The field, with dots for nested ones, when one is to blame.
        field: Option<String>,
        /// What is wrong.
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

    /// A file is not an ONNX model.
    #[error("{path}: {problem}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A graph has nodes that its device or its target does not run.
    #[error("{graph}: {}{}", .violations.first().map(ToString::to_string).unwrap_or_default(), and_more(.violations.len().saturating_sub(1)))]
    NotReady {
        /// The graph.
        graph: String,
        /// What is wrong, node by node.
        violations: Vec<Violation>,
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

    /// A graph is not well formed: a fault of this crate, not of its input.
    #[error("graph value `{node}`: {problem}")]
    Graph {
        /// The node or value.
        node: String,
        /// What is wrong with it.
        problem: String,
    },
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (and 1 more problem)".to_owned(),
        count => format!(" (and {count} more problems)"),
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

impl Error {
    /// An [`Error::Io`] of the file or directory at `path`, with what was being done, as in "cannot *open* ...".
    #[must_use]
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}
