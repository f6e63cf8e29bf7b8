//! The best rows of each group of rows that follow one another.

use std::{cmp::Reverse, collections::BTreeMap};

use anyhow::{Result, bail};

use super::{FilterArgs, numbers::key, scored::Scored};
use crate::json::Json;

/// Most rows of a group that are held until its last row is seen.
const MOST_HELD: usize = 4096;

/// The group at hand, and its best rows.
pub(super) struct Groups<'a> {
    args: &'a FilterArgs,
    column: &'a str,
    top: usize,
    key: Option<Json>,
    /// The best ones by their score and place, of equal ones the first.
    best: BTreeMap<(u64, Reverse<usize>), Scored>,
    /// Those that are kept whatever their score.
    others: Vec<(usize, Scored)>,
    seen: usize,
}

impl<'a> Groups<'a> {
    pub(super) fn new(args: &'a FilterArgs, column: &'a str, top: usize) -> Self {
        Self {
            args,
            column,
            top,
            key: None,
            best: BTreeMap::new(),
            others: Vec::new(),
            seen: 0,
        }
    }

    /// The rows of the group before, where this row begins another.
    pub(super) fn enter(&mut self, row: &Scored) -> Result<Vec<Scored>> {
        let Some(key) = row.value(self.args, self.column) else {
            bail!(
                "{}: it has no `{}`, the column of --group-by",
                row.place,
                self.column
            );
        };
        if self.key.as_ref() == Some(&key) {
            return Ok(Vec::new());
        }
        let ended = self.end();
        self.key = Some(key);
        Ok(ended)
    }

    /// Adds a row of the group at hand, with its score if it has to be one of the best.
    pub(super) fn add(&mut self, mut row: Scored, score: Option<f64>) -> Result<()> {
        row.columns = row.columns.alone();
        self.seen += 1;
        let place = self.seen;
        match score {
            Some(score) => {
                self.best.insert((key(score), Reverse(place)), row);
                if self.best.len() > self.top {
                    self.best.pop_first();
                }
            }
            None => self.others.push((place, row)),
        }
        if self.best.len() + self.others.len() > MOST_HELD {
            bail!(
                "more than {MOST_HELD} rows with one `{}` would be kept, the most that are held: give a lower --top",
                self.column
            );
        }
        Ok(())
    }

    /// The rows that are kept of the group at hand, in their order.
    pub(super) fn end(&mut self) -> Vec<Scored> {
        let best = std::mem::take(&mut self.best).into_iter();
        let best = best.map(|((_, Reverse(place)), row)| (place, row));
        let mut rows: Vec<_> = best.chain(std::mem::take(&mut self.others)).collect();
        rows.sort_by_key(|(place, _)| *place);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}
