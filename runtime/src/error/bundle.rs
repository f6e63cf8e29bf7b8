use std::{fmt, io, path::PathBuf, sync::Arc};

use worldpm_ort_bundle::Interface;

/// What is wrong with a file of a bundle, and what to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BundleProblem {
    /// The bundle is for another server.
    Interface(Interface),
    /// The folder of the weights cannot be opened.
    WeightsFolder(Arc<io::Error>),
    /// A file cannot be opened.
    CannotOpen(Arc<io::Error>),
    /// A file cannot be read.
    CannotRead(Arc<io::Error>),
    /// A file has another size than the manifest says.
    Size {
        /// Its bytes.
        found: u64,
        /// Those of the manifest.
        expected: u64,
    },
    /// A graph or a text file is not the one that was exported.
    Changed,
    /// A weight file has another header than at export.
    OtherTensors,
    /// A weight file has other contents than at export.
    OtherWeights,
    /// A weight file is a link that leads out of the folder of the weights.
    LinkOutside {
        /// Where it leads.
        to: PathBuf,
    },
    /// A text file is missing, or cannot be what it should be.
    Text(String),
    /// A text file was written to while the bundle was made.
    ChangedDuringExport,
    /// The tokenizer lacks the token at which the model is scored.
    NoScoredToken {
        /// Its id.
        id: u32,
    },
}

impl fmt::Display for BundleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(interface) => write!(
                f,
                "has the {interface} interface, which is for other servers; \
                 export the checkpoint with --interface packed to score with it here"
            ),
            Self::WeightsFolder(error) => write!(
                f,
                "the folder of the bundle's weights cannot be opened: {error}; \
                 if the checkpoint has moved, name its folder with --weights-dir"
            ),
            Self::CannotOpen(error) => {
                write!(f, "a file of the bundle cannot be opened: {error}")
            }
            Self::CannotRead(error) => write!(f, "a file of the bundle cannot be read: {error}"),
            Self::Size { found, expected } => write!(
                f,
                "has {found} bytes and the manifest says {expected}; \
                 copy the bundle again, or export it again"
            ),
            Self::Changed => f.write_str(
                "has changed since the bundle was exported (its SHA-256 differs from the \
                 manifest's); export the checkpoint again",
            ),
            Self::OtherTensors => f.write_str(
                "holds other tensors than when the bundle was exported; export the checkpoint again",
            ),
            Self::OtherWeights => f.write_str(
                "holds other weights than when the bundle was exported; put those back, or export the checkpoint again",
            ),
            Self::LinkOutside { to } => write!(
                f,
                "is a link to {}, outside of the folder of the bundle's weights, where ONNX Runtime does not follow; put \
                 the file itself there, name the folder that has all of the files with --weights-dir, or export the \
                 checkpoint again",
                to.display()
            ),
            Self::Text(problem) => f.write_str(problem),
            Self::ChangedDuringExport => {
                f.write_str("a file of the tokenizer changed during the export; export again")
            }
            Self::NoScoredToken { id } => write!(
                f,
                "has no token {id}, at which the model is scored; export the checkpoint again"
            ),
        }
    }
}

/// The system's own error, where there is one, is behind [`Error::Bundle`](super::Error::Bundle).
impl std::error::Error for BundleProblem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::WeightsFolder(error) | Self::CannotOpen(error) | Self::CannotRead(error) => {
                Some(&**error)
            }
            _ => None,
        }
    }
}
