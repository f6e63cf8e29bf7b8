//! Where a reader stands, to go on from there later.

use std::{fmt, str::FromStr};

use super::source::Position;

/// Where a [`RecordReader`](super::RecordReader) stands between two records: the layout of the input, as far as it is known,
/// and the line. Its text, as of `Display` and `FromStr`, is one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) layout: PlaceLayout,
    pub(super) position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceLayout {
    Unknown,
    Lines,
    Values,
    /// After so many elements.
    List(usize),
    Done,
}

/// A text that is no [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no place of an input")]
pub struct NoPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layout {
            PlaceLayout::Unknown => f.write_str("start")?,
            PlaceLayout::Lines => f.write_str("lines")?,
            PlaceLayout::Values => f.write_str("values")?,
            PlaceLayout::List(taken) => write!(f, "list-{taken}")?,
            PlaceLayout::Done => f.write_str("end")?,
        }
        write!(f, ":{}:{}", self.position.line, self.position.column)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(NoPlace);
        let layout = match next()? {
            "start" => PlaceLayout::Unknown,
            "lines" => PlaceLayout::Lines,
            "values" => PlaceLayout::Values,
            "end" => PlaceLayout::Done,
            list => {
                let taken = list.strip_prefix("list-").ok_or(NoPlace)?;
                PlaceLayout::List(taken.parse().map_err(|_| NoPlace)?)
            }
        };
        let mut number = || next()?.parse().map_err(|_| NoPlace);
        let position = Position {
            line: number()?,
            column: number()?,
        };
        match next() {
            Ok(_) => Err(NoPlace),
            Err(NoPlace) => Ok(Self { layout, position }),
        }
    }
}
