//! `score --job`: what is scored is kept in a directory, and the same command goes on from there.

mod about;
mod content;
mod input;
mod item;
mod model;
mod output;
mod progress;
#[cfg(feature = "remote")]
mod servers;
mod work;

use std::{
    cell::Cell,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use worldpm_ort_data::{Compression, Format};
use worldpm_ort_jobs::{Directory, Heartbeat, Index, InputFile, Job, JobOptions, Owner};

use super::{args::ScoreArgs, form::shown, input::check_apart};
#[cfg(feature = "remote")]
use crate::remote::RemoteScorer;
use crate::{
    Scorer,
    cli::common::{
        interrupt::Interrupt,
        outcome::{Status, describe},
        output::check_output,
        placement::loaded,
        records::{Entries, open_input},
    },
};
use input::JobInput;
use model::{Local, Model};
use output::Written;
use progress::Progress;
use work::{Ended, Tally, Work};

/// Records that are looked at before a job is begun.
const LOOKED_AT: usize = 256;

/// Between two looks at whether another process has made the index.
const WAIT: Duration = Duration::from_millis(200);

/// Printed at the first signal.
const FINISHING: &str =
    "interrupted: what is under way is finished and kept; a second signal stops at once";

pub(super) fn run(args: &ScoreArgs, dir: &Path) -> Result<Status> {
    check_formats(args)?;
    let [path] = args.input.as_slice() else {
        bail!("a job reads one file of JSON Lines or JSON: name one with --input");
    };
    let (input, file) = JobInput::open(path, &args.records)?;
    check_apart(&args.input, &args.output)?;
    check_output(&args.output)?;
    let (job, file) = begin(args, dir, &input, file)?;
    let job = Arc::new(job);
    let _heartbeat = Heartbeat::start(Arc::clone(&job)).context("cannot start a thread")?;
    let index = index(&job, &input, &file)?;

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
        (Ended::Done, interrupt) => finish(args, dir, &job, index, &interrupt),
        (Ended::Interrupted, _) => interrupted(dir, &job, index),
    }
}

/// A job keeps lines of JSON, which is what it writes.
fn check_formats(args: &ScoreArgs) -> Result<()> {
    let (format, compression) = shown(args);
    let json = |format: Option<Format>| {
        format.is_none_or(|format| matches!(format, Format::JsonLines | Format::Json))
    };
    if compression != Compression::None
        || !matches!(format, None | Some(Format::JsonLines))
        || !json(args.data.formats.input_format)
        || args.data.keep_columns
    {
        bail!(
            "a job reads JSON Lines or JSON and writes short lines of JSON: leave out --job, or write FILE.jsonl without \
             --keep-columns"
        );
    }
    Ok(())
}

/// Opens the job, and gives what its input is now.
fn begin(
    args: &ScoreArgs,
    dir: &Path,
    input: &JobInput,
    file: InputFile,
) -> Result<(Job, InputFile)> {
    let files = Directory::open(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let files = Arc::new(files);
    let begun = Job::identity_of(&*files)?;
    let wanted = about::identity(args, file.clone(), begun.as_ref())?;
    if begun.is_none() && !args.keep_going {
        let (file, progress) = open_input(input.path())?;
        Entries::new(progress.wrap_read(file), &args.records, &progress)?.look_at_first(
            LOOKED_AT,
            input.path(),
            false,
        )?;
        progress.finish_and_clear();
    } else if let Some(layout) = input.layout() {
        report!("read as {layout}");
    }
    let options = JobOptions {
        expiry: args.job.lease_seconds,
        ..JobOptions::default()
    };
    let job = Job::open(files, Owner::this_process(), wanted, options)?;
    Ok((job, file))
}

/// The index of the job: made, waited for, or compared with an input that may be a copy.
fn index<'j>(job: &'j Job, input: &JobInput, file: &InputFile) -> Result<&'j Index> {
    let told = Cell::new(false);
    let has_made = Cell::new(false);
    let index = job.index(
        |index| {
            has_made.set(true);
            input.divide(file, job.identity().shard_records, index)
        },
        || -> Result<()> {
            if !told.replace(true) {
                report!("another process divides the input; waiting for it");
            }
            thread::sleep(WAIT);
            Ok(())
        },
    )?;
    let begun = job.identity().inputs.first();
    if !has_made.get() && begun.is_some_and(|begun| !file.is_untouched(begun)) {
        report!(
            "the input was written to, or copied, since the job was begun: all of it is compared"
        );
        index.verify(&file.name, input.whole()?)?;
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
                return self.work_with(&servers::Remote(scorer));
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
        let model = Local {
            scorer,
            stats: Cell::default(),
        };
        let ended = self.work_with(&model)?;
        let stats = model.stats.get();
        report!(
            "{} conversations were scored: {} tokens, {} of them computed",
            stats.conversations,
            stats.tokens,
            stats.unique_tokens
        );
        Ok(ended)
    }

    fn work_with<M: Model>(&self, model: &M) -> Result<(Ended, Interrupt)> {
        let (records, dir) = (self.index.records(), self.dir.display());
        let progress = Progress::new(records, self.job.progress()?.1);
        let bar = progress.bar();
        let interrupt = Interrupt::watch(move || bar.suspend(|| report!("{FINISHING}")))?;
        let work = Work {
            args: self.args,
            model,
            job: self.job,
            input: self.input,
            interrupt: &interrupt,
            progress: &progress,
        };
        let worked = work.run();
        progress.clear();
        match worked {
            Ok((ended, tally)) => {
                tell(&tally);
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

fn tell(tally: &Tally) {
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
    report!(
        "interrupted: {records} of {} records are kept in {}; the same command goes on from there",
        index.records(),
        dir.display()
    );
    Ok(Status::Interrupted)
}

fn finish(
    args: &ScoreArgs,
    dir: &Path,
    job: &Job,
    index: &Index,
    interrupt: &Interrupt,
) -> Result<Status> {
    let failures = match output::write(job, index.shards(), &args.output, interrupt)? {
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
        report!("{failures} records could not be scored; their lines in the output say why");
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}
