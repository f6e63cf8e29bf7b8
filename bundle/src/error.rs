//! What can go wrong with the files of a bundle, and with those that a checkpoint has too.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::violation::Violation;

/// The result of everything in this crate.
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

    /// A tokenizer or chat template file is missing or unusable.
    #[error("{path}: {problem}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
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
