//! What was seen of the input: how many rows, and their scores.

use anyhow::{Context, Result, bail};

use super::{
    FilterArgs,
    numbers::Numbers,
    scored::{Score, Scored},
};

/// The percentiles that are printed.
const PERCENTILES: [(f64, &str); 9] = [
    (0.0, "least"),
    (1.0, "1 %"),
    (5.0, "5 %"),
    (25.0, "25 %"),
    (50.0, "50 %"),
    (75.0, "75 %"),
    (95.0, "95 %"),
    (99.0, "99 %"),
    (100.0, "greatest"),
];

/// Rows that were read, and their scores.
pub(super) struct Seen {
    pub(super) scores: Numbers,
    rows: u64,
    errors: u64,
    without: u64,
    /// That a row has no such column, of the first such row, while no other row has it.
    lacking: Option<anyhow::Error>,
}

impl Seen {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            scores: Numbers::new().context(NO_FILE)?,
            rows: 0,
            errors: 0,
            without: 0,
            lacking: None,
        })
    }

    /// Takes a row into account.
    pub(super) fn add(&mut self, args: &FilterArgs, row: &Scored) -> Result<()> {
        self.rows += 1;
        match row.score {
            Score::Is(score) => self.scores.add(score).context(NO_FILE)?,
            Score::Error => self.errors += 1,
            Score::Null => self.without += 1,
            Score::Missing => {
                if self.without == 0 && self.scores.count() == 0 {
                    self.lacking = Some(row.lacks(args, &args.column));
                }
                self.without += 1;
                return Ok(());
            }
        }
        if row.score != Score::Error {
            self.lacking = None;
        }
        Ok(())
    }

    /// Refuses an input of which no row has the column.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.lacking.take() {
            Some(lacking) => Err(lacking),
            None => Ok(()),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Says how many rows there were, and how their scores are distributed.
    pub(super) fn report(&mut self, column: &str) -> Result<()> {
        let (scored, errors, without) = (self.scores.count(), self.errors, self.without);
        report!(
            "{} rows: {scored} with a number in `{column}`, {errors} with an error, {without} without a number",
            self.rows
        );
        let percents = PERCENTILES.map(|(percent, _)| percent);
        let numbers = self.scores.percentiles(&percents).context(NO_FILE)?;
        let named = PERCENTILES.iter().zip(&numbers);
        let named: Vec<_> = named
            .map(|((_, name), number)| format!("{name} {number:.4}"))
            .collect();
        if !named.is_empty() {
            report!("`{column}`: {}", named.join(", "));
        }
        Ok(())
    }
}

/// What scores are kept in.
pub(super) const NO_FILE: &str = "cannot keep the numbers in a file in TMPDIR";

/// The rows of an input that was seen before, when they are read again.
pub(super) struct Again<I> {
    scores: I,
    rows: u64,
    read: u64,
}

impl<I: Iterator<Item = std::io::Result<f64>>> Again<I> {
    pub(super) fn new(scores: I, rows: u64) -> Self {
        Self {
            scores,
            rows,
            read: 0,
        }
    }

    /// Refuses a row that was not there, or had another score.
    pub(super) fn check(&mut self, row: &Scored) -> Result<()> {
        self.read += 1;
        let is_same = match row.score {
            Score::Is(score) => {
                let before = self.scores.next().transpose().context(NO_FILE)?;
                before == Some(score)
            }
            _ => true,
        };
        if !is_same || self.read > self.rows {
            bail!("{}: {CHANGED}", row.place);
        }
        Ok(())
    }

    /// Refuses an end before all rows were read again.
    pub(super) fn end(self) -> Result<()> {
        if self.read < self.rows {
            let (rows, read) = (self.rows, self.read);
            bail!("the input had {rows} rows, and {read} when it was read again: {CHANGED}");
        }
        Ok(())
    }
}

const CHANGED: &str = "it was changed while it was filtered; filter a copy that nobody writes to";
