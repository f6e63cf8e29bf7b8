//! `worldpm-ort filter`: the rows of a data set that was scored before, chosen by their scores.

mod args;
mod choice;
mod groups;
mod numbers;
mod scored;
mod seen;

use std::path::Path;

use anyhow::{Context, Result, bail};
use worldpm_ort_data::{DataSet, Writer};

use super::{
    common::{
        interrupt::Interrupt, outcome::Status, output::Results, progress::InputProgress,
        rows_out::RowsOut,
    },
    score::input::{check_apart, report_left_out},
};
use choice::Choice;
use groups::Groups;
use scored::{Added, Score, Scored, Source};
use seen::{Again, NO_FILE, Seen};

pub(crate) use args::FilterArgs;

pub(crate) fn run(args: &FilterArgs) -> Result<Status> {
    let source = Source::of(args)?;
    let files = source.files();
    if let Some(option) = args.needs_all().filter(|_| !files.are_complete()) {
        let stdin = files.paths().iter().any(|path| path == Path::new("-"));
        bail!(
            "{option} needs two looks at the input, and {} can be read once: save it to a file, and name that with --input",
            if stdin { "standard input" } else { "a pipe" }
        );
    }
    let output = match args.dry_run {
        true => None,
        false => {
            check_apart(files.paths(), &args.files.output)?;
            Some(Results::prepare(&args.files.output, false)?)
        }
    };
    report_left_out(files);
    let progress = InputProgress::new(files.bytes());
    let out = output.map(|output| RowsOut::new(output, &progress));
    let mut keeping = Keeping {
        args,
        choice: Choice::of(args),
        groups: args.group_by.as_deref().map(|column| {
            let top = args.top.map_or(usize::MAX, usize::from);
            Groups::new(args, column, top)
        }),
        out,
        progress,
        kept: 0,
        kept_errors: 0,
    };
    let interrupt = match &mut keeping.out {
        Some(out) => Some(out.begin()?),
        None => None,
    };
    let mut seen = Seen::new()?;
    if args.needs_all().is_some() {
        let set = source.open(args)?;
        let looking = InputProgress::new(files.bytes());
        looking.begin();
        let wanted = || !is_asked(interrupt.as_ref());
        let Some(rows) = source.rows(args, set, &looking, wanted)? else {
            return keeping.leave();
        };
        for row in rows {
            looking.add_record();
            seen.add(args, &row?)?;
            if is_asked(interrupt.as_ref()) {
                return keeping.leave();
            }
        }
        looking.finish_and_clear();
        seen.check()?;
        keeping.choice = Choice::among(args, &mut seen.scores).context(NO_FILE)?;
        let rows = seen.rows();
        let mut again = Again::new(seen.scores.iter().context(NO_FILE)?, rows);
        if !keeping.all(&source, interrupt.as_ref(), |row| again.check(row))? {
            return keeping.leave();
        }
        if let Err(problem) = again.end() {
            keeping.fail(&problem)?;
        }
    } else {
        if !keeping.all(&source, interrupt.as_ref(), |row| seen.add(args, row))? {
            return keeping.leave();
        }
        if let Err(problem) = seen.check() {
            keeping.fail(&problem)?;
        }
    }
    keeping.progress.finish_and_clear();
    seen.report(&args.column)?;
    keeping.finish(&seen)
}

fn is_asked(interrupt: Option<&Interrupt>) -> bool {
    interrupt.is_some_and(Interrupt::asked)
}

/// Rows on their way through the filter.
struct Keeping<'a> {
    args: &'a FilterArgs,
    choice: Choice,
    groups: Option<Groups<'a>>,
    /// Nothing where rows are counted only.
    out: Option<RowsOut>,
    progress: InputProgress,
    kept: u64,
    kept_errors: u64,
}

impl Keeping<'_> {
    /// Keeps the rows that are to be kept; `look` sees all of them. False when a signal came first.
    fn all(
        &mut self,
        source: &Source,
        interrupt: Option<&Interrupt>,
        mut look: impl FnMut(&Scored) -> Result<()>,
    ) -> Result<bool> {
        let set = source.open(self.args)?;
        self.open(source, &set)?;
        self.progress.begin();
        let (args, progress) = (self.args, self.progress.clone());
        let Some(rows) = source.rows(args, set, &progress, || !is_asked(interrupt))? else {
            return Ok(false);
        };
        for row in rows {
            self.progress.add_record();
            if is_asked(interrupt) {
                return Ok(false);
            }
            let taken = row.and_then(|row| {
                look(&row)?;
                self.take(row)
            });
            if let Err(problem) = taken {
                self.fail(&problem)?;
            }
        }
        let ended = self.groups.as_mut().map(Groups::end).unwrap_or_default();
        ended.into_iter().try_for_each(|row| self.write(row))?;
        Ok(true)
    }

    fn open(&mut self, source: &Source, set: &DataSet) -> Result<()> {
        if let Some(out) = &mut self.out {
            let options = source.write_options(self.args, set)?;
            out.open(Writer::new(&options, set)?);
        }
        Ok(())
    }

    fn take(&mut self, row: Scored) -> Result<()> {
        if let (Some(out), Some(added)) = (&mut self.out, &row.added) {
            out.expect(&row.columns, &added.came);
        }
        let score = match row.score {
            Score::Is(score) => Some(score),
            _ if self.args.keep_errors => None,
            _ => return Ok(()),
        };
        let ended = match &mut self.groups {
            Some(groups) => groups.enter(&row)?,
            None => Vec::new(),
        };
        ended.into_iter().try_for_each(|row| self.write(row))?;
        if score.is_some_and(|score| !self.choice.keeps(score)) {
            return Ok(());
        }
        match &mut self.groups {
            Some(groups) => groups.add(row, score),
            None => self.write(row),
        }
    }

    fn write(&mut self, row: Scored) -> Result<()> {
        let is_written = match (&mut self.out, row.added) {
            (None, _) => true,
            (Some(out), None) => {
                out.write(row.columns, &row.place)?;
                true
            }
            (Some(out), Some(Added { came, id })) => {
                out.write_scored(row.columns, id.as_ref(), came, &row.place)?
            }
        };
        match row.score {
            Score::Is(_) => self.kept += 1,
            // What could not be read of a table is no row of one.
            _ => self.kept_errors += u64::from(is_written),
        }
        Ok(())
    }

    /// Ends with an error, and says where the rows are that there are.
    fn fail(&mut self, problem: &anyhow::Error) -> Result<()> {
        self.progress.abandon();
        let problem = super::common::outcome::describe(problem);
        match &mut self.out {
            Some(out) => out.fail(&problem),
            None => bail!("{problem}"),
        }
    }

    fn leave(self) -> Result<Status> {
        let rows = self.kept + self.kept_errors;
        match self.out {
            Some(out) => out.leave(&format!("the first {rows} of the rows that are kept")),
            None => Ok(Status::Interrupted),
        }
    }

    /// Says how many rows of those with a score were kept, and by what.
    fn finish(self, seen: &Seen) -> Result<Status> {
        let Self {
            args,
            choice,
            kept,
            kept_errors,
            out,
            ..
        } = self;
        if let Some(out) = out {
            out.finish()?;
        }
        let verb = if args.dry_run { "would keep" } else { "kept" };
        let (rows, scored) = (seen.rows(), seen.scores.count());
        let share = match scored {
            0 => String::new(),
            all => format!(
                " ({:.2} % of those with a number)",
                kept as f64 / all as f64 * 100.0
            ),
        };
        let errors = match kept_errors {
            0 => String::new(),
            errors => format!(", and {errors} without a number"),
        };
        report!(
            "{verb} {kept} of {rows} rows{share}{errors}{}",
            choice.words(&args.column)
        );
        Ok(Status::Done)
    }
}
