//! Sizes of memory, as people write them.

use std::{fmt, str::FromStr};

/// A number of bytes.
///
/// It is written as a number and a unit: `80GiB` (2^30), `80GB` (10^9); also KiB, MiB, TiB, kB, MB, TB and B. A unit that
/// could be either, as in `80G`, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Text that is no size.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{given}` is no size: {problem}")]
pub struct BytesError {
    given: String,
    problem: String,
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(given: &str) -> Result<Self, BytesError> {
        let fail = |problem: String| BytesError {
            given: given.to_owned(),
            problem,
        };
        let text = given.trim();
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = (&text[..split], text[split..].trim());
        let amount: f64 = number
            .parse()
            .map_err(|_| fail("it has to begin with a number, as in 80GiB".into()))?;
        let (_, factor) = UNITS
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .ok_or_else(|| fail(unknown_unit(number, unit)))?;
        let bytes = amount * factor as f64;
        if bytes < 1.0 {
            return Err(fail("it has to be at least one byte".into()));
        }
        if bytes >= u64::MAX as f64 {
            return Err(fail("it is too large".into()));
        }
        Ok(Self(bytes as u64))
    }
}

fn unknown_unit(number: &str, unit: &str) -> String {
    let letter = unit
        .get(..1)
        .map(str::to_ascii_uppercase)
        .filter(|letter| "KMGT".contains(letter.as_str()));
    match letter {
        None if unit.is_empty() => format!("the unit is missing; say {number}GiB or {number}GB"),
        Some(letter) if unit.len() == 1 => {
            let thousand = if letter == "K" { "k" } else { &letter };
            format!(
                "the unit could mean two; say {number}{letter}iB (powers of 1024) or \
                 {number}{thousand}B (powers of 1000)"
            )
        }
        _ => format!(
            "`{unit}` is none of the units {}",
            UNITS.map(|(name, _)| name).join(", ")
        ),
    }
}

impl fmt::Display for Bytes {
    /// In the largest binary unit that leaves a number of 1 or more, with two digits after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let unit = UNITS[5..].iter().rev().find(|(_, factor)| bytes >= *factor);
        match unit {
            Some((name, factor)) => write!(f, "{:.2} {name}", bytes as f64 / *factor as f64),
            None => write!(f, "{bytes} B"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_standards() {
        for (text, bytes) in [
            ("80GiB", 85_899_345_920),
            ("80GB", 80_000_000_000),
            ("79.6 GiB", 85_469_849_190),
            ("512mib", 536_870_912),
            ("1kB", 1_000),
            ("1KiB", 1_024),
            ("2TiB", 2_199_023_255_552),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_what_to_write() {
        for (text, problem) in [
            ("", "begin with a number"),
            ("GiB", "begin with a number"),
            ("-1GiB", "begin with a number"),
            ("1.2.3GiB", "begin with a number"),
            ("80", "the unit is missing; say 80GiB or 80GB"),
            ("80G", "say 80GiB (powers of 1024) or 80GB (powers of 1000)"),
            ("80k", "say 80KiB (powers of 1024) or 80kB (powers of 1000)"),
            ("80Gb/s", "`Gb/s` is none of the units B, kB"),
            ("80 ÄB", "is none of the units"),
            ("0GiB", "at least one byte"),
            ("99999999999TiB", "too large"),
        ] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(error.starts_with(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn sizes_are_shown_in_binary_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.50 KiB"),
            (85_899_345_920, "80.00 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
