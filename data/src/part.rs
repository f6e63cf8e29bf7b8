//! Rows of files that are read, where not all are.

use std::{fmt, ops::Range, str::FromStr};

/// Of so many files, one behind the other, all rows or some that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many files.
    pub files: usize,
    /// Which of their rows, counted through all of them from 0; more than there are is no error. `None` for all.
    pub rows: Option<Range<u64>>,
}

/// As `2 files, rows 0..10`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rows {
            Some(rows) => write!(f, "{} files, rows {}..{}", self.files, rows.start, rows.end),
            None => write!(f, "{} files, all rows", self.files),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (files, rows) = text.split_once(" files, ")?;
            let rows = match rows.strip_prefix("rows ") {
                None if rows == "all rows" => None,
                None => return None,
                Some(rows) => {
                    let (from, to) = rows.split_once("..")?;
                    Some(from.parse().ok()?..to.parse().ok()?)
                }
            };
            let files = files.parse().ok()?;
            Some(Self { files, rows })
        };
        parse().ok_or_else(|| format!("{text:?} is not rows of files"))
    }
}

/// The part that a file is of.
#[derive(Clone, Debug)]
pub(crate) struct InPart {
    pub(crate) number: usize,
    pub(crate) rows: Range<u64>,
}

/// For each of so many files the part that it is of; `None` for those that are read whole.
pub(crate) fn of_files(parts: &[Part], files: usize) -> Vec<Option<InPart>> {
    let of_part = |(number, part): (usize, &Part)| {
        let rows = part.rows.clone();
        let of_file = rows.map(|rows| InPart { number, rows });
        std::iter::repeat_n(of_file, part.files)
    };
    let mut all: Vec<_> = parts.iter().enumerate().flat_map(of_part).collect();
    all.resize(files, None);
    all
}

/// How far the rows of a part are read.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    part: Option<InPart>,
    rows: u64,
}

/// What is done with the next row of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Taken,
    PassedOver,
    /// It comes after the last that is wanted.
    Late,
}

impl Passed {
    /// The next file is of this part, and has so many rows, where that is known. Says whether one of them is wanted.
    pub(crate) fn enter(&mut self, part: Option<&InPart>, known: Option<u64>) -> bool {
        let number = |part: &InPart| part.number;
        if self.part.as_ref().map(number) != part.map(number) {
            self.rows = 0;
        }
        self.part = part.cloned();
        let Some(part) = part else {
            return true;
        };
        match known {
            Some(known) if self.rows + known <= part.rows.start => {
                self.rows += known;
                false
            }
            _ => self.rows < part.rows.end,
        }
    }

    pub(crate) fn next(&self) -> Row {
        match &self.part {
            Some(part) if self.rows >= part.rows.end => Row::Late,
            Some(part) if self.rows < part.rows.start => Row::PassedOver,
            _ => Row::Taken,
        }
    }

    pub(crate) fn pass(&mut self) {
        self.rows += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_as_text() {
        for part in [
            Part {
                files: 2,
                rows: Some(0..10),
            },
            Part {
                files: 1,
                rows: Some(5..u64::MAX),
            },
            Part {
                files: 3,
                rows: None,
            },
        ] {
            assert_eq!(part.to_string().parse(), Ok(part));
        }
        for wrong in ["", "1 files", "1 files, rows 1", "x files, all rows"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
