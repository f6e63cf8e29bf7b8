//! What `worldpm-ort filter` accepts.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use worldpm_ort_bundle::Bytes;

use crate::{
    cli::common::{
        added_args::AddedArgs, choices::number, files_args::FilesArgs, heading,
        scorer_args::at_least_one,
    },
    records::DEFAULT_MAX_RECORD_BYTES,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct FilterArgs {
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    /// The directory of a job that `score --job` has finished, in place of --input: its rows with their scores, as it writes
    /// them, without scoring. Its input is read again, by the names that it was begun with, in the same working directory
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR",
          conflicts_with_all = ["input", "dataset", "input_format", "max_record_bytes"])]
    pub(crate) job: Option<PathBuf>,
    /// The longest row of text that is read, as in 64MiB
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "SIZE",
          default_value_t = Bytes(DEFAULT_MAX_RECORD_BYTES as u64))]
    pub(crate) max_record_bytes: Bytes,
    #[command(flatten)]
    pub(crate) added: AddedArgs,
    /// The column that rows are kept by, a number: also margin, model_score, or one within another, such as chosen.score or
    /// scores.helpfulness
    #[arg(long, help_heading = heading::FILTERING, value_name = "NAME", default_value = "score")]
    pub(crate) column: String,
    /// Keep rows with this number or a higher one
    #[arg(long, help_heading = heading::FILTERING, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    pub(crate) min: Option<f64>,
    /// Keep rows with this number or a lower one
    #[arg(long, help_heading = heading::FILTERING, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    pub(crate) max: Option<f64>,
    /// Keep rows from one percentile of the input's numbers to another, as in 25..75, 90.. or ..10: those of
    /// numpy.percentile (method linear). Rows at a percentile itself are kept
    #[arg(long, help_heading = heading::FILTERING, value_name = "P..Q")]
    pub(crate) percentile: Option<Percentiles>,
    /// Keep the P percent of the input with the highest numbers, as --percentile (100-P)..
    #[arg(long, help_heading = heading::FILTERING, value_name = "P", value_parser = percent, conflicts_with = "percentile")]
    pub(crate) top_percent: Option<f64>,
    /// Of the rows that all else keeps, only the N with the highest numbers; of equal ones the first
    #[arg(long, help_heading = heading::FILTERING, value_name = "N", value_parser = at_least_one)]
    pub(crate) top: Option<NonZeroUsize>,
    /// Keep --top N rows of each group: of those that follow one another with the same value in this column
    #[arg(long, help_heading = heading::FILTERING, value_name = "NAME", requires = "top")]
    pub(crate) group_by: Option<String>,
    /// Also keep rows with an error or without a number, which are left out otherwise
    #[arg(long, help_heading = heading::FILTERING)]
    pub(crate) keep_errors: bool,
    /// The column that says why a row has no score, such as model_error
    #[arg(long, help_heading = heading::FILTERING, value_name = "NAME", default_value = "error")]
    pub(crate) error_column: String,
    /// Write nothing, and only say how the numbers are distributed and how many rows would be kept
    #[arg(long, help_heading = heading::FILTERING)]
    pub(crate) dry_run: bool,
}

impl FilterArgs {
    /// The percentiles between which rows are kept.
    pub(super) fn percentiles(&self) -> Percentiles {
        let top = self.top_percent.map(|percent| Percentiles {
            from: Some(100.0 - percent),
            to: None,
        });
        top.or(self.percentile).unwrap_or_default()
    }

    /// The option, if any, for which all numbers must be known before a row is kept.
    pub(super) fn needs_all(&self) -> Option<&'static str> {
        if self.percentile.is_some() {
            Some("--percentile")
        } else if self.top_percent.is_some() {
            Some("--top-percent")
        } else {
            let of_all = self.top.filter(|_| self.group_by.is_none());
            of_all.map(|_| "--top")
        }
    }
}

/// Two percentiles, from 0 to 100, of which either may be open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Percentiles {
    pub(super) from: Option<f64>,
    pub(super) to: Option<f64>,
}

impl FromStr for Percentiles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give two percentiles from 0 to 100, as in 25..75, 90.. or ..10".to_owned();
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let end = |text: &str| match text {
            "" => Ok(None),
            text => percent(text).map(Some).map_err(|_| wrong()),
        };
        let (from, to) = (end(from)?, end(to)?);
        match (from, to) {
            (None, None) => Err(wrong()),
            (Some(from), Some(to)) if from > to => {
                Err(format!("{from} is above {to}: give the lower one first"))
            }
            (from, to) => Ok(Self { from, to }),
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match number(text) {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("give a number from 0 to 100".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_text() {
        let both = |from, to| Ok(Percentiles { from, to });
        for (text, expected) in [
            ("25..75", both(Some(25.0), Some(75.0))),
            ("90..", both(Some(90.0), None)),
            ("..0.5", both(None, Some(0.5))),
            ("50..50", both(Some(50.0), Some(50.0))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for wrong in [
            "", "..", "90", "75..25", "-1..5", "5..101", "a..b", "nan..5",
        ] {
            assert!(wrong.parse::<Percentiles>().is_err(), "{wrong}");
        }
    }
}
