//! Rows of splits, as `datasets` names them: `train[10:20]`, `train[-100:]`, `train[:10%]`.

use std::ops::Range;

use crate::hub::HubError;

/// Rows of a split: from one up to another, which is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitSlice {
    from: Option<i64>,
    to: Option<i64>,
    unit: Unit,
    /// As it was given, with the name of the split.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Rows,
    /// Percent of all rows, each bound rounded to the closest row.
    Percent,
    /// Percent of all rows, each of which is the same whole number of rows.
    WholePercent,
}

/// The unit that each bound of a slice of `WholePercent` takes at least one row of.
const PERCENT: u64 = 100;

impl SplitSlice {
    /// Whether it depends on the number of all rows which these are.
    #[must_use]
    pub fn needs_count(&self) -> bool {
        let from_end = |bound: Option<i64>| bound.is_some_and(|bound| bound < 0);
        self.unit != Unit::Rows || from_end(self.from) || from_end(self.to)
    }

    /// The rows, of a split of so many; as many as `u64` holds where it [does not matter](Self::needs_count).
    ///
    /// # Errors
    /// [`HubError::Slice`] for whole percents of fewer than 100 rows, which are none.
    pub fn rows(&self, count: u64) -> Result<Range<u64>, HubError> {
        if self.unit == Unit::WholePercent && count < PERCENT {
            return Err(self.wrong("whole percents of fewer than 100 rows are no rows"));
        }
        let row = |bound: i64| {
            let row = match self.unit {
                Unit::Rows => i128::from(bound),
                // As Python computes it: in 64-bit floats, and of two that are as close the even one.
                Unit::Percent => (bound as f64 * count as f64 / 100.0).round_ties_even() as i128,
                Unit::WholePercent => i128::from(bound) * i128::from(count / PERCENT),
            };
            let from_start = match row < 0 {
                true => (i128::from(count) + row).max(0),
                false => row,
            };
            u64::try_from(from_start).map_or(count, |row| row.min(count))
        };
        let from = self.from.map_or(0, row);
        let to = self.to.map_or(count, row);
        Ok(from..to.max(from))
    }

    fn wrong(&self, problem: &'static str) -> HubError {
        wrong(&self.text, problem)
    }
}

fn wrong(text: &str, problem: &'static str) -> HubError {
    HubError::Slice {
        text: text.to_owned(),
        problem,
    }
}

/// A split by its name, and which of its rows, if not all.
pub(super) fn parse(text: &str) -> Result<(&str, Option<SplitSlice>), HubError> {
    let text = text.trim();
    let Some((split, slice)) = text.split_once('[') else {
        return Ok((text, None));
    };
    let form = || {
        wrong(
            text,
            "rows of a split are given as in train[10:20], train[-100:] or train[:10%]",
        )
    };
    let (bounds, rounding) = slice.split_once(']').ok_or_else(form)?;
    let (from, to) = bounds.split_once(':').ok_or_else(form)?;
    let ((from, from_percent), (to, to_percent)) = bound(from).zip(bound(to)).ok_or_else(form)?;
    let is_percent = from_percent || to_percent;
    let unit = match (is_percent, rounding) {
        (false, "") => Unit::Rows,
        (true, "" | "(closest)") => Unit::Percent,
        (true, "(pct1_dropremainder)") => Unit::WholePercent,
        (false, _) => return Err(wrong(text, "only percent are rounded")),
        _ => {
            return Err(wrong(
                text,
                "it is rounded to closest or pct1_dropremainder",
            ));
        }
    };
    let is_beyond = |bound: Option<i64>| bound.is_some_and(|bound| bound.unsigned_abs() > PERCENT);
    if is_percent && (is_beyond(from) || is_beyond(to)) {
        return Err(wrong(text, "percent are from -100 to 100"));
    }
    let text = text.to_owned();
    Ok((
        split,
        Some(SplitSlice {
            from,
            to,
            unit,
            text,
        }),
    ))
}

/// A bound, if there is one, and whether it is in percent.
fn bound(text: &str) -> Option<(Option<i64>, bool)> {
    if text.is_empty() {
        return Some((None, false));
    }
    let digits = text.strip_suffix('%');
    let number = digits.unwrap_or(text).replace('_', "");
    let is_number = number
        .bytes()
        .enumerate()
        .all(|(at, byte)| byte.is_ascii_digit() || at == 0 && byte == b'-');
    let number = is_number.then(|| number.parse().ok()).flatten()?;
    Some((Some(number), digits.is_some()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(text: &str, count: u64) -> Range<u64> {
        let (split, slice) = parse(text).unwrap();
        assert_eq!(split, "train");
        slice.unwrap().rows(count).unwrap()
    }

    #[test]
    fn rows_are_those_of_datasets() {
        // What ReadInstruction.from_spec(TEXT).to_absolute({"train": COUNT}) of datasets gives.
        for (text, count, expected) in [
            ("train[:]", 7, 0..7),
            ("train[:100]", 1000, 0..100),
            ("train[10:20]", 15, 10..15),
            ("train[1_0:]", 12, 10..12),
            ("train[-100:]", 1000, 900..1000),
            ("train[-100:]", 30, 0..30),
            ("train[:-3]", 10, 0..7),
            ("train[-5:-2]", 10, 5..8),
            ("train[:10%]", 1000, 0..100),
            ("train[:50%]", 5, 0..2),
            ("train[50%:]", 5, 2..5),
            ("train[:50%]", 7, 0..4),
            ("train[:10%]", 25, 0..2),
            ("train[:30%]", 5, 0..2),
            ("train[33%:66%]", 100, 33..66),
            ("train[-10%:]", 25, 23..25),
            ("train[5:10%]", 200, 10..20),
            ("train[:1%](pct1_dropremainder)", 199, 0..1),
            ("train[:100%](pct1_dropremainder)", 199, 0..100),
            ("train[:50%](closest)", 3, 0..2),
            ("train[2000:]", 10, 10..10),
        ] {
            assert_eq!(rows(text, count), expected, "{text} of {count}");
        }
        assert_eq!(rows("train[8:3]", 10), 8..8);
        assert_eq!(parse(" train ").unwrap(), ("train", None));
        for (text, needs) in [
            ("train[:5]", false),
            ("train[5:]", false),
            ("train[-5:]", true),
            ("train[:5%]", true),
        ] {
            assert_eq!(
                parse(text).unwrap().1.unwrap().needs_count(),
                needs,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_slice() {
        for (text, part) in [
            ("train[5]", "as in train[10:20]"),
            ("train[:5", "as in"),
            ("train[a:]", "as in"),
            ("train[:-]", "as in"),
            ("train[:1.5%]", "as in"),
            ("train[:101%]", "from -100 to 100"),
            ("train[:5](closest)", "only percent"),
            ("train[:5%](up)", "pct1_dropremainder"),
            ("train[:5]x", "only percent"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
        let few = parse("train[:5%](pct1_dropremainder)").unwrap().1.unwrap();
        assert!(few.rows(99).is_err());
    }
}
