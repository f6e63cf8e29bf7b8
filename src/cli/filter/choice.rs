//! Which rows are kept, by their scores.

use std::io;

use super::{FilterArgs, numbers::Numbers};

/// What a score must be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) least: Option<f64>,
    pub(super) most: Option<f64>,
}

/// What a row is kept by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice {
    pub(super) bounds: Bounds,
    /// Of the rows within them, only the highest.
    highest: Option<Highest>,
}

/// The highest scores, so many that there is a lowest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Highest {
    lowest: f64,
    /// How many more rows with just that score are kept.
    equal: u64,
}

impl Bounds {
    pub(super) fn hold(self, score: f64) -> bool {
        self.least.is_none_or(|least| score >= least) && self.most.is_none_or(|most| score <= most)
    }

    /// What both allow.
    fn and(self, other: Self) -> Self {
        let both =
            |one: Option<f64>, other: Option<f64>, pick: fn(f64, f64) -> f64| match (one, other) {
                (Some(one), Some(other)) => Some(pick(one, other)),
                (one, other) => one.or(other),
            };
        Self {
            least: both(self.least, other.least, f64::max),
            most: both(self.most, other.most, f64::min),
        }
    }
}

impl Choice {
    /// What the options say by themselves.
    pub(super) fn of(args: &FilterArgs) -> Self {
        Self {
            bounds: Bounds {
                least: args.min,
                most: args.max,
            },
            highest: None,
        }
    }

    /// What they say where these are all scores there are.
    pub(super) fn among(args: &FilterArgs, all: &mut Numbers) -> io::Result<Self> {
        let mut choice = Self::of(args);
        let wanted = args.percentiles();
        let mut percentile = |percent: Option<f64>| match percent {
            Some(percent) => Ok(all.percentiles(&[percent])?.first().copied()),
            None => io::Result::Ok(None),
        };
        choice.bounds = choice.bounds.and(Bounds {
            least: percentile(wanted.from)?,
            most: percentile(wanted.to)?,
        });
        if let (Some(top), None) = (args.top, &args.group_by) {
            choice.highest = highest(all, choice.bounds, top.get() as u64)?;
        }
        Ok(choice)
    }

    /// The bounds, in words that follow others; of the highest the lowest is one.
    pub(super) fn words(&self, column: &str) -> String {
        let least = self
            .highest
            .map(|highest| highest.lowest)
            .or(self.bounds.least);
        match (least, self.bounds.most) {
            (None, None) => String::new(),
            (Some(least), None) => format!(": `{column}` from {least} on"),
            (None, Some(most)) => format!(": `{column}` up to {most}"),
            (Some(least), Some(most)) => format!(": `{column}` from {least} to {most}"),
        }
    }

    /// Whether a row with this score is kept. Of equal ones at the end the first are.
    pub(super) fn keeps(&mut self, score: f64) -> bool {
        if !self.bounds.hold(score) {
            return false;
        }
        match &mut self.highest {
            Some(highest) if score == highest.lowest => {
                let is_kept = highest.equal > 0;
                highest.equal -= u64::from(is_kept);
                is_kept
            }
            Some(highest) => score > highest.lowest,
            None => true,
        }
    }
}

/// Those within the bounds; `None` where there are no more than are wanted.
fn highest(all: &mut Numbers, bounds: Bounds, top: u64) -> io::Result<Option<Highest>> {
    let within = all.count_of(|score| bounds.hold(score))?;
    if within <= top {
        return Ok(None);
    }
    let above = all.count_of(|score| bounds.most.is_some_and(|most| score > most))?;
    let rank = all.count() - above - top;
    let lowest = all.of_ranks(&[rank])?[0];
    let higher = all.count_of(|score| bounds.hold(score) && score > lowest)?;
    Ok(Some(Highest {
        lowest,
        equal: top - higher,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_within_bounds() {
        let scores = [5.0, 1.0, 3.0, 3.0, 9.0, 3.0, -1.0];
        let mut all = Numbers::new().unwrap();
        scores.iter().for_each(|&score| all.add(score).unwrap());
        for (least, most, top, expected) in [
            (None, None, 2, &[0, 4][..]),
            (None, None, 3, &[0, 2, 4]),
            (None, None, 4, &[0, 2, 3, 4]),
            (None, Some(5.0), 2, &[0, 2]),
            (None, Some(4.0), 2, &[2, 3]),
            (Some(4.0), None, 5, &[0, 4]),
            (None, None, 7, &[0, 1, 2, 3, 4, 5, 6]),
            (Some(4.0), Some(2.0), 1, &[]),
        ] {
            let bounds = Bounds { least, most };
            let highest = highest(&mut all, bounds, top).unwrap();
            let mut choice = Choice { bounds, highest };
            let kept = (0..scores.len()).filter(|&at| choice.keeps(scores[at]));
            assert_eq!(kept.collect::<Vec<_>>(), expected, "{bounds:?} {top}");
        }
    }
}
