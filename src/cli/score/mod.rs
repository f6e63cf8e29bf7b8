//! `worldpm-ort score`.

mod args;
pub(super) mod input;
mod local;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
mod remote_args;
mod writing;

use anyhow::Result;

use super::common::{
    outcome::Status,
    output::Results,
    records::{Entries, open_input},
};
use input::{check_apart, is_file};
use writing::Writing;

pub(crate) use args::ScoreArgs;

/// Records of a file that are looked at before anything is scored.
const LOOKED_AT: usize = 256;

pub(crate) fn run(args: &ScoreArgs) -> Result<Status> {
    if let Some(model) = &args.model {
        super::common::model::check(model)?;
    }
    let (input, progress) = open_input(&args.input)?;
    check_apart(&args.input, &args.output)?;
    let output = Results::prepare(&args.output, args.append)?;
    let mut entries = Entries::new(progress.wrap_read(input), &args.records, &progress)?;
    if is_file(&args.input) {
        entries.look_at_first(LOOKED_AT, &args.input, args.keep_going)?;
    }
    let writing = Writing::new(args, output, progress);
    match &args.model {
        Some(model) => local::run(args, model, entries, writing),
        #[cfg(feature = "remote")]
        None => remote::run(args, entries, writing),
        #[cfg(not(feature = "remote"))]
        None => anyhow::bail!("name the directory of a bundle with --model"),
    }
}
