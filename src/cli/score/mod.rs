//! `worldpm-ort score`.

mod args;
mod data_args;
mod form;
pub(super) mod input;
pub(super) mod job;
mod job_args;
mod local;
#[cfg(feature = "remote")]
mod remote;
mod writing;

use anyhow::Result;

use super::common::{outcome::Status, output::Results, progress::InputProgress};
use input::{Source, check_apart};
use writing::Writing;

pub(crate) use args::ScoreArgs;

pub(crate) fn run(args: &ScoreArgs) -> Result<Status> {
    if let Some(model) = &args.model {
        super::common::model::check(model)?;
    }
    let files = args.hub.find(&args.input)?;
    if let Some(dir) = &args.job.job {
        return job::run(args, files, dir);
    }
    check_apart(files.paths(), &args.output)?;
    let output = Results::prepare(&args.output, args.append)?;
    let progress = InputProgress::new(files.bytes());
    let is_complete = files.are_complete();
    let source = Source::new(args, files, &progress)?;
    let writing = Writing::new(args, output, progress, is_complete);
    match &args.model {
        Some(model) => local::run(args, model, source, writing),
        #[cfg(feature = "remote")]
        None => remote::run(args, source, writing),
        #[cfg(not(feature = "remote"))]
        None => anyhow::bail!("name the directory of a bundle with --model"),
    }
}
