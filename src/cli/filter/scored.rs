//! Rows, each with its score.

use std::{fmt, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use worldpm_ort_data::{
    AddedColumns, Columns, DataError, DataSet, Files, Numeric, PlainRow, ReadOptions, WriteOptions,
};

use super::FilterArgs;
use crate::{
    cli::{
        common::{added_args::AddedArgs, progress::InputProgress},
        score::job::finished::{FinishedJob, ScoredRow},
    },
    json::Json,
};

/// A row with its score. Whatever scores come from, this is what rows are chosen by.
pub(super) struct Scored {
    pub(super) place: Place,
    pub(super) columns: Columns,
    /// Columns that are not among those yet.
    pub(super) added: Option<Added>,
    pub(super) score: Score,
}

/// What came of a row of a job, to be added to it.
pub(super) struct Added {
    pub(super) came: AddedColumns,
    /// The `id` of a row that may have no columns.
    pub(super) id: Option<Json>,
}

impl Scored {
    /// A column as JSON, where there is something in it.
    pub(super) fn value(&self, args: &FilterArgs, name: &str) -> Option<Json> {
        let added = self.added.as_ref().and_then(|added| {
            let name = name.strip_prefix(&args.added.added_prefix)?;
            added.came.value(name)
        });
        added.or_else(|| self.columns.value(name))
    }

    /// That it has no column of this name.
    pub(super) fn lacks(&self, args: &FilterArgs, column: &str) -> anyhow::Error {
        let mut names = self.columns.names();
        let added = self.added.iter().flat_map(|added| added.came.names());
        for name in added.map(|name| format!("{}{name}", args.added.added_prefix)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        missing(column, &self.place, &names)
    }
}

/// The score of a row, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Score {
    Is(f64),
    /// The row says that it could not be scored.
    Error,
    /// The column has nothing in this row.
    Null,
    /// The row has no such column.
    Missing,
}

/// Where a row stands.
pub(super) struct Place {
    file: Arc<str>,
    unit: &'static str,
    number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.file, self.unit, self.number)
    }
}

/// Where rows come from.
pub(super) enum Source {
    /// Files that hold their scores.
    Files(Files),
    /// A job that has them.
    Job(Box<FinishedJob>),
}

/// Rows one after another.
pub(super) type Rows<'a> = Box<dyn Iterator<Item = Result<Scored>> + 'a>;

impl Source {
    pub(super) fn of(args: &FilterArgs) -> Result<Self> {
        match &args.job {
            Some(dir) => Ok(Self::Job(Box::new(FinishedJob::open(dir)?))),
            None if args.added != AddedArgs::default() => bail!(
                "--added-prefix and --overwrite-columns say how scores of a job are added to its rows: give --job, or leave them out"
            ),
            None => Ok(Self::Files(args.files.find()?)),
        }
    }

    pub(super) fn files(&self) -> &Files {
        match self {
            Self::Files(files) => files,
            Self::Job(job) => job.files(),
        }
    }

    /// The input, which is opened for each look at it.
    pub(super) fn open(&self, args: &FilterArgs) -> Result<DataSet> {
        let files = match self {
            Self::Files(files) => files,
            Self::Job(job) => return job.data_set(),
        };
        let mut options = ReadOptions::default();
        options.format = args.files.formats.input_format;
        options.max_record_bytes = usize::try_from(args.max_record_bytes.0).unwrap_or(usize::MAX);
        options.keep_fields = true;
        Ok(DataSet::open(files.clone(), &options)?)
    }

    /// How its rows are written.
    pub(super) fn write_options(&self, args: &FilterArgs, set: &DataSet) -> Result<WriteOptions> {
        let (format, compression) = args
            .files
            .formats
            .output(&args.files.output, set.format())?;
        let mut options = WriteOptions::new(format);
        options.compression = compression;
        match self {
            Self::Files(_) => options.plain = true,
            Self::Job(job) => {
                options.sparse = true;
                options.added_prefix.clone_from(&args.added.added_prefix);
                options.overwrite = args.added.overwrite_columns;
                options.with_errors = args.keep_errors || job.has_failures()?;
            }
        }
        Ok(options)
    }

    /// The rows of the open input; `None` when `is_wanted` says so before the first.
    pub(super) fn rows<'a>(
        &'a self,
        args: &'a FilterArgs,
        set: DataSet,
        progress: &InputProgress,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<Rows<'a>>> {
        Ok(match self {
            Self::Files(_) => Some(Box::new(by_column(args, set, progress))),
            Self::Job(job) => {
                let bar = progress.clone();
                let rows = job.rows(set, move |bytes| bar.advance(bytes), is_wanted)?;
                rows.map(|rows| Box::new(rows.map(|row| of_job(args, row?))) as Rows<'a>)
            }
        })
    }
}

/// A row of a job, with a score that is among what came of it or in a column of the input.
fn of_job(args: &FilterArgs, row: ScoredRow) -> Result<Scored> {
    let ScoredRow {
        place,
        columns,
        outcome,
    } = row;
    let id = place.entry.id.clone().filter(|_| columns.is_empty());
    let place = Place {
        number: place.entry.line,
        file: place.file,
        unit: place.unit,
    };
    let came = AddedColumns::from(outcome);
    let AddedArgs {
        added_prefix: prefix,
        overwrite_columns,
    } = &args.added;
    if !overwrite_columns {
        let mut names = came.names().map(|name| format!("{prefix}{name}"));
        if let Some(taken) = names.find(|name| columns.has(name)) {
            return Err(DataError::ColumnTaken(taken)).context(place.to_string());
        }
    }
    let added = args.column.strip_prefix(prefix.as_str());
    let number = match added.map_or(Numeric::Missing, |name| came.number(name)) {
        Numeric::Missing => columns.number(&args.column),
        number => number,
    };
    let score = match number {
        _ if came.is_error() || columns.value(&args.error_column).is_some() => Score::Error,
        number => score(number, &args.column, &place)?,
    };
    Ok(Scored {
        place,
        columns,
        added: Some(Added { came, id }),
        score,
    })
}

fn score(number: Numeric, column: &str, place: &Place) -> Result<Score> {
    match number {
        Numeric::Number(score) => Ok(Score::Is(score)),
        Numeric::Null => Ok(Score::Null),
        Numeric::Missing => Ok(Score::Missing),
        Numeric::Other(found) => {
            bail!(
                "{place}: `{column}` is {found}, and rows are kept by a number: name its column with --column"
            )
        }
    }
}

/// The rows of such files, with the scores that are in a column of them.
fn by_column<'a>(
    args: &'a FilterArgs,
    set: DataSet,
    progress: &InputProgress,
) -> impl Iterator<Item = Result<Scored>> + use<'a> {
    let format = set.format();
    let bar = progress.clone();
    let column = args.column.as_str();
    let rows = set.plain_rows(move |bytes| bar.advance(bytes));
    rows.map(move |row| {
        let PlainRow {
            file,
            read,
            columns,
            ..
        } = row;
        let number = read.map_err(|error| anyhow!("{file}: {error}"))?;
        let unit = if format.is_table() { "row" } else { "line" };
        let place = Place { file, unit, number };
        let score = match columns.number(column) {
            _ if columns.value(&args.error_column).is_some() => Score::Error,
            // Of tables and cells, no other row has it either.
            Numeric::Missing if format.is_table() || format.is_cells() => {
                return Err(missing(column, &place, &columns.names()));
            }
            number => score(number, column, &place)?,
        };
        Ok(Scored {
            place,
            columns,
            added: None,
            score,
        })
    })
}

/// That a row has no column of this name, and which it has.
fn missing(column: &str, place: &Place, names: &[String]) -> anyhow::Error {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    anyhow!(
        "{place}: there is no column `{column}`; there are {}: name one with --column, one within another as in chosen.score",
        names.join(", ")
    )
}
