//! `score --job`: what is scored is kept in a directory, and the same command goes on from there.

mod about;
mod content;
mod copy;
mod dividing;
mod files;
pub(crate) mod finished;
mod found;
mod input;
mod item;
mod joined;
mod known;
mod model;
mod output;
mod places;
mod plain;
mod progress;
#[cfg(feature = "remote")]
mod servers;
mod summary;
mod under_way;
mod waiting;
mod work;

use std::{
    cell::Cell,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use worldpm_ort_data::Files;
use worldpm_ort_jobs::{Directory, Heartbeat, Index, InputFile, Job, JobOptions, Owner};

use super::{
    args::ScoreArgs,
    input::{check_apart, look, report_left_out},
};
#[cfg(feature = "remote")]
use crate::remote::RemoteScorer;
use crate::{
    Scorer,
    cli::common::{
        interrupt::Interrupt,
        outcome::{Status, describe},
        output::check_replaceable,
        placement::loaded,
        progress::InputProgress,
    },
};
use about::Wanted;
use input::JobInput;
use model::{Local, Model};
use output::{Output, Written};
use progress::Progress;
use work::{Ended, Tally, Work};

/// Between two looks at whether another process has made the index.
const WAIT: Duration = Duration::from_millis(200);

/// Printed at the first signal.
const FINISHING: &str =
    "interrupted: what is under way is finished and kept; a second signal stops at once";

pub(super) fn run(args: &ScoreArgs, files: Files, dir: &Path) -> Result<Status> {
    let (input, files) = JobInput::open(args, files)?;
    report_left_out(input.files());
    check_apart(input.files().paths(), &args.output)?;
    check_replaceable(&args.output)?;
    let job = begin(args, dir, &input, &files)?;
    let job = Arc::new(job);
    let _heartbeat = Heartbeat::start(Arc::clone(&job)).context("cannot start a thread")?;
    let index = index(args, &job, &input, &files)?;

    let (shards, records) = job.progress()?;
    if shards > 0 {
        report!(
            "{} has {records} of {} records",
            dir.display(),
            index.records()
        );
    }
    let open = Open {
        args,
        dir,
        job: &job,
        index,
        input: &input,
    };
    let ended = match shards < index.shards() {
        true => open.work()?,
        false => (Ended::Done, Interrupt::watch(|| report!("{FINISHING}"))?),
    };
    match ended {
        (Ended::Done, interrupt) => finish(&open, &files, &interrupt),
        (Ended::Interrupted, _) => interrupted(dir, &job, index),
    }
}

/// Opens the job.
fn begin(args: &ScoreArgs, dir: &Path, input: &JobInput, found: &[InputFile]) -> Result<Job> {
    let files = Directory::open(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let files = Arc::new(files);
    let is_begun = Job::identity_of(&*files)?.is_some();
    let wanted = Wanted::new(args, input, found.to_vec())?;
    // Records that cannot be scored are refused before a job is begun, or where they are met.
    let keep_going = args.keep_going || is_begun && Job::is_divided(&*files)?;
    let progress = InputProgress::new(None);
    let looked = look(args, input.files().clone(), &progress, keep_going);
    progress.finish_and_clear();
    looked?;
    let options = JobOptions {
        expiry: args.job.lease_seconds,
        ..JobOptions::default()
    };
    let owner = Owner::this_process();
    Ok(Job::open(files, owner, |begun| wanted.of(begun), options)?)
}

/// The index of the job: made, waited for, or compared with an input that may be a copy.
fn index<'j>(
    args: &ScoreArgs,
    job: &'j Job,
    input: &JobInput,
    files: &[InputFile],
) -> Result<&'j Index> {
    let is_reported = Cell::new(false);
    let has_made = Cell::new(false);
    let index = job.index(
        |index| {
            has_made.set(true);
            input.divide(args, files, job.identity().shard_records, index)
        },
        || -> Result<()> {
            if !is_reported.replace(true) {
                report!("another process divides the input; waiting for it");
            }
            thread::sleep(WAIT);
            Ok(())
        },
    )?;
    let begun = job.identity().inputs.first().zip(files.first());
    if !has_made.get()
        && !index.is_of_copy()
        && begun.is_some_and(|(begun, now)| !now.is_untouched(begun))
    {
        report!(
            "the input was written to, or copied, since the job was begun: all of it is compared"
        );
        input.verify(index)?;
    }
    Ok(index)
}

/// A job that is open, and what it is gone on with.
struct Open<'a> {
    args: &'a ScoreArgs,
    dir: &'a Path,
    job: &'a Job,
    index: &'a Index,
    input: &'a JobInput,
}

impl Open<'_> {
    /// Scores what is left.
    fn work(&self) -> Result<(Ended, Interrupt)> {
        let Some(model) = &self.args.model else {
            #[cfg(feature = "remote")]
            {
                let scorer = RemoteScorer::new(self.args.remote.options())?;
                return self.work_with(&servers::Remote(scorer), &self.progress()?);
            }
            #[cfg(not(feature = "remote"))]
            bail!("name the directory of a bundle with --model");
        };
        let mut options = self
            .args
            .scoring
            .options(&self.args.scorer, &self.args.records);
        options.now = about::template_time(self.job.identity());
        let loading = Instant::now();
        let scorer = Scorer::open(model, &options)?;
        report!("{}", loaded(&scorer, loading.elapsed()));
        self.args.scorer.report_unused(&scorer);
        let progress = self.progress()?;
        let model = Local {
            scorer,
            stats: Cell::default(),
            progress: progress.handle(),
        };
        let ended = self.work_with(&model, &progress)?;
        let stats = model.stats.get();
        report!(
            "{} conversations were scored: {} tokens, {} of them computed",
            stats.conversations,
            stats.tokens,
            stats.unique_tokens
        );
        Ok(ended)
    }

    fn progress(&self) -> Result<Progress> {
        Ok(Progress::new(self.index.records(), self.job.progress()?.1))
    }

    fn work_with<M: Model>(&self, model: &M, progress: &Progress) -> Result<(Ended, Interrupt)> {
        let (records, dir) = (self.index.records(), self.dir.display());
        let shown = progress.handle();
        let interrupt = Interrupt::watch(move || shown.report(FINISHING))?;
        progress.begin();
        let work = Work {
            args: self.args,
            model,
            job: self.job,
            input: self.input,
            interrupt: &interrupt,
            progress,
        };
        let worked = work.run();
        progress.clear();
        match worked {
            Ok((ended, tally)) => {
                report(&tally);
                Ok((ended, interrupt))
            }
            Err(error) => {
                let problem = describe(&error);
                let (_, kept) = self.job.progress()?;
                bail!(
                    "{problem}; {kept} of {records} records are kept in {dir}, and the same command goes on from there"
                )
            }
        }
    }
}

fn report(tally: &Tally) {
    let rate = tally.records as f64 / tally.seconds.max(1e-3);
    report!(
        "this process: {} records in {:.1} s, {rate:.1} a second; {} were the same as one before",
        tally.records,
        tally.seconds,
        tally.same
    );
}

fn interrupted(dir: &Path, job: &Job, index: &Index) -> Result<Status> {
    let (_, records) = job.progress()?;
    alert!(
        "interrupted: {records} of {} records are kept in {}; the same command goes on from there",
        index.records(),
        dir.display()
    );
    Ok(Status::Interrupted)
}

fn finish(open: &Open<'_>, files: &[InputFile], interrupt: &Interrupt) -> Result<Status> {
    let Open {
        args,
        dir,
        job,
        index,
        input,
    } = *open;
    let output = Output {
        args,
        dir,
        job,
        input,
        files,
    };
    let failures = match output.write(interrupt)? {
        Written::Here(summary) => {
            for line in summary.lines() {
                report!("{line}");
            }
            summary.failures.values().sum()
        }
        Written::Before(failures) => {
            report!(
                "{} was written before, from all results",
                args.output.display()
            );
            failures
        }
        Written::Interrupted => return interrupted(dir, job, index),
    };
    if failures > 0 {
        alert!("{failures} records could not be scored; their lines in the output say why");
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}
