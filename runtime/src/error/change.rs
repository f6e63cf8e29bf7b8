use std::{fmt, io, sync::Arc};

/// How it is known that a weight file is not what it was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WeightsChange {
    /// It was there, and cannot be opened any more.
    CannotOpen(Arc<io::Error>),
    /// It was written to, or another file took its place.
    Written,
}

impl fmt::Display for WeightsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotOpen(error) => write!(f, "it cannot be opened any more: {error}"),
            Self::Written => f.write_str("it was written to, or replaced"),
        }
    }
}
