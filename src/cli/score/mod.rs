//! `worldpm-ort score`.

mod args;

use std::{
    cell::Cell,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::common::{
    interrupt::Interrupt,
    model,
    outcome::Status,
    output::Results,
    placement::loaded,
    records::{Entries, input_metadata, open_input, place},
};
use crate::{Error, Scorer, ScorerOptions, answers::AnswerLine, records::EntryError};

pub(crate) use args::ScoreArgs;

/// Records of a file that are looked at before the model is loaded.
const LOOKED_AT: usize = 256;

pub(crate) fn run(args: &ScoreArgs) -> Result<Status> {
    model::check(&args.model)?;
    let (input, progress) = open_input(&args.input)?;
    check_apart(&args.input, &args.output)?;
    let mut output = Results::prepare(&args.output, args.append)?;
    let mut entries = Entries::new(progress.wrap_read(input), &args.records, &progress);
    if is_file(&args.input) {
        entries.look_at_first(LOOKED_AT, &args.input, args.keep_going)?;
    }

    let loading = Instant::now();
    let scorer = Scorer::open(&args.model, &options(args))?;
    report!("{}", loaded(&scorer, loading.elapsed()));
    args.scorer.report_unused(&scorer);

    output.open()?;
    let scoring = Instant::now();
    let mut failures = 0_usize;
    let mut conversations = 0_usize;
    let mut lines = 0_usize;
    let interrupt = Interrupt::watch({
        let progress = progress.clone();
        move || progress.report(FINISHING)
    })?;
    let (mut refused, stopped) = (false, Cell::new(false));
    let wanted = std::iter::from_fn(|| {
        stopped.set(!refused && interrupt.asked());
        if refused || stopped.get() {
            return None;
        }
        let (entry, conversations) = entries.next()?;
        // What comes after it would be scored for nothing.
        refused = !args.keep_going && entry.check().is_err();
        Some((entry, conversations))
    });
    let mut stream = scorer.stream(wanted);
    while let Some((entry, rewards)) = stream.next() {
        conversations += rewards.len();
        let outcome = entry.reward(rewards);
        if let Err(problem) = &outcome {
            failures += 1;
            if !args.keep_going || ends_all(problem) {
                progress.abandon();
                let left = match output.leave()? {
                    Some(left) => format!("; the results before it are in {}", left.display()),
                    None => String::new(),
                };
                bail!("{}: {problem}{left}", place(&entry, &args.input));
            }
        }
        output.write_line(&serde_json::to_vec(&AnswerLine::new(&entry, &outcome))?)?;
        lines += 1;
        if !stream.is_ready() {
            // What comes next may take long.
            output.flush()?;
        }
    }
    output.flush()?;
    progress.finish_and_clear();

    let seconds = scoring.elapsed().as_secs_f64();
    let stats = *stream.stats();
    drop(stream);
    report!(
        "{conversations} conversations in {seconds:.1} s: {} tokens, {} of them computed",
        stats.tokens,
        stats.unique_tokens
    );
    if scorer.is_streamed() {
        let stages = scorer.counters().stages;
        let loads: u64 = stages.iter().map(|stage| stage.loads).sum();
        let loading: Duration = stages.iter().map(|stage| stage.loading).sum();
        let busy: Duration = stages.iter().map(|stage| stage.busy).sum();
        report!(
            "{loads} loads of stages took {:.1} s, computing {:.1} s",
            loading.as_secs_f64(),
            busy.as_secs_f64()
        );
    }
    // The end of the input may not have been seen although nothing is left.
    let mut complete = || is_file(&args.input) && entries.next().is_none();
    if stopped.get() && !complete() {
        match output.leave()? {
            Some(left) => report!(
                "interrupted: {} has the first {lines} records, and {} is as it was",
                left.display(),
                args.output.display()
            ),
            None => report!("interrupted: the output has the first {lines} records"),
        }
        return Ok(Status::Interrupted);
    }
    output.finish()?;
    if failures > 0 {
        report!("{failures} records could not be scored; their lines in the output say why");
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}

/// Printed at the first signal.
const FINISHING: &str =
    "interrupted: what is under way is finished and written; a second signal stops at once";

fn options(args: &ScoreArgs) -> ScorerOptions {
    let mut options = args
        .scorer
        .options()
        .with_truncation(args.truncation.into())
        .with_special_tokens(args.special_tokens.into());
    options.reduce = args.reduce.map(Into::into);
    options.max_length = args.max_length;
    options.allow_no_answer = args.records.allow_no_answer;
    options
}

/// Whether no record after this one can be scored either.
fn ends_all(problem: &EntryError) -> bool {
    matches!(
        problem,
        EntryError::Score {
            source: Error::WeightsChanged { .. },
            ..
        }
    )
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
