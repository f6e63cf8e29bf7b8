//! `worldpm-ort score`.

mod args;
mod local;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
mod remote_args;
mod writing;

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Result, bail};

use super::common::{
    outcome::Status,
    output::Results,
    records::{Entries, input_metadata, open_input},
};
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
    let mut entries = Entries::new(progress.wrap_read(input), &args.records, &progress);
    if is_file(&args.input) {
        entries.look_at_first(LOOKED_AT, &args.input, args.keep_going)?;
    }
    let writing = Writing::new(args, output, progress);
    match &args.model {
        Some(model) => local::run(args, model, entries, writing),
        #[cfg(feature = "remote")]
        None => remote::run(args, entries, writing),
        #[cfg(not(feature = "remote"))]
        None => bail!("name the directory of a bundle with --model"),
    }
}

/// The output takes the place of what was there, which must not be what is read.
fn check_apart(input: &Path, output: &Path) -> Result<()> {
    if output == Path::new("-") {
        return Ok(());
    }
    let (Ok(from), Ok(to)) = (input_metadata(input), fs::metadata(output)) else {
        return Ok(());
    };
    if from.is_file() && (from.dev(), from.ino()) == (to.dev(), to.ino()) {
        bail!(
            "cannot write {}: it is the input, which would be lost; name another file",
            output.display()
        );
    }
    Ok(())
}

/// Whether reading the input never waits for someone to write it.
fn is_file(input: &Path) -> bool {
    input_metadata(input).is_ok_and(|input| input.is_file())
}
