//! What a job is about: the options and the model that its results depend on.
//!
//! Where a model runs is left out, so that machines with other devices can take part: scores differ in their last digits
//! then, as they do between runs.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde_json::Value;
use worldpm_ort_bundle::{Bytes, Manifest, hash::sha256_hex};
use worldpm_ort_data::Part;
use worldpm_ort_jobs::{Identity, InputFile};

use super::input::JobInput;

use crate::cli::{
    common::{column_args::ColumnArgs, format_args::FormatArgs, records::RecordArgs},
    score::args::ScoreArgs,
};

/// Records of a shard, where nobody says how many: as many as the scorer takes at a time.
const SHARD_RECORDS: u64 = 512;

/// The option that says which time chat templates see: the same through all of a job.
const TEMPLATE_TIME: &str = "time for chat templates";

/// The option that says whether records are brought together by their prompts.
const GROUPED: &str = "grouping by prompts (--group-prompts)";

/// Left out where it is not given.
const INPUT_FORMAT: &str = "--input-format";

/// Which rows of the files are read, where not all are.
const PARTS: &str = "the rows of the split (--split)";

/// What stands between parts.
const PART_END: &str = " + ";

/// The value of an option that is not given.
const NOT_GIVEN: &str = "not given";

/// What the arguments ask for.
pub(super) struct Wanted {
    identity: Identity,
    is_divided_by_default: bool,
}

impl Wanted {
    pub(super) fn new(args: &ScoreArgs, input: &JobInput, inputs: Vec<InputFile>) -> Result<Self> {
        let shard_records = args.job.shard_records.map(u64::from);
        let mut options = options(args);
        // Left out where they are as they always were, so that older jobs are gone on with.
        if input.is_grouped {
            options.insert(GROUPED.to_owned(), "yes".to_owned());
        }
        let parts = input.files().parts();
        if !parts.is_empty() {
            let parts: Vec<_> = parts.iter().map(Part::to_string).collect();
            options.insert(PARTS.to_owned(), parts.join(PART_END));
        }
        if let Some(format) = args.data.formats.input_format {
            options.insert(INPUT_FORMAT.to_owned(), format.to_string());
        }
        let mut model = BTreeMap::new();
        match &args.model {
            Some(dir) => {
                model = of_bundle(dir)?;
                options.insert(TEMPLATE_TIME.to_owned(), now());
            }
            None => {
                model.insert("name".to_owned(), served(args));
            }
        }
        Ok(Self {
            identity: Identity {
                inputs,
                model,
                options,
                shard_records: shard_records.unwrap_or(SHARD_RECORDS),
            },
            is_divided_by_default: shard_records.is_none(),
        })
    }

    /// What the arguments leave open is as the job was begun.
    pub(super) fn of(&self, begun: Option<&Identity>) -> Identity {
        let mut identity = self.identity.clone();
        let Some(begun) = begun else { return identity };
        if self.is_divided_by_default {
            identity.shard_records = begun.shard_records;
        }
        let time = begun.options.get(TEMPLATE_TIME);
        if let Some((wanted, time)) = identity.options.get_mut(TEMPLATE_TIME).zip(time) {
            wanted.clone_from(time);
        }
        identity
    }
}

/// The time that chat templates see, in seconds since 1970.
pub(super) fn template_time(identity: &Identity) -> Option<i64> {
    identity.options.get(TEMPLATE_TIME)?.parse().ok()
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs()).to_string()
}

#[cfg(feature = "remote")]
fn served(args: &ScoreArgs) -> String {
    let named = args.remote.served_model.clone();
    named.unwrap_or_else(|| "the first of the servers".to_owned())
}

#[cfg(not(feature = "remote"))]
fn served(_: &ScoreArgs) -> String {
    String::new()
}

fn options(args: &ScoreArgs) -> BTreeMap<String, String> {
    fn given<T: Display>(value: Option<T>) -> String {
        value.map_or_else(|| NOT_GIVEN.to_owned(), |value| value.to_string())
    }
    fn way<T: ValueEnum>(value: &T) -> String {
        let way = value.to_possible_value();
        way.map_or_else(String::new, |way| way.get_name().to_owned())
    }
    let columns = &args.records.columns;
    let column = |name: &Option<String>| given(name.as_deref().map(shown_name));
    let all = [
        ("--prompt-column", column(&columns.prompt_column)),
        ("--response-column", column(&columns.response_column)),
        ("--messages-column", column(&columns.messages_column)),
        ("--chosen-column", column(&columns.chosen_column)),
        ("--rejected-column", column(&columns.rejected_column)),
        ("--system-column", column(&columns.system_column)),
        ("--ignore-column", shown_names(&columns.ignore_column)),
        ("--max-length", given(args.scoring.max_length)),
        ("--truncation", way(&args.scoring.truncation)),
        ("--reduce", given(args.scoring.reduce.as_ref().map(way))),
        ("--special-tokens", way(&args.scoring.special_tokens)),
        (
            "--allow-no-answer",
            args.records.allow_no_answer.to_string(),
        ),
        (
            "--max-record-bytes",
            args.records.max_record_bytes.0.to_string(),
        ),
        (
            "--float32-matmul-precision",
            args.scorer.float32_matmul_precision.to_string(),
        ),
        ("--cpu-kernels", way(&args.scorer.cpu_kernels)),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

/// How the records of a job are read, which was begun so.
pub(super) fn reading(identity: &Identity) -> Result<(FormatArgs, RecordArgs)> {
    let option = |name: &str| {
        let value = identity.options.get(name).map(String::as_str);
        value.with_context(|| format!("job.json does not say what {name} was"))
    };
    let column = |name: &str| match option(name)? {
        NOT_GIVEN => Ok(None),
        shown => Ok::<_, anyhow::Error>(names_of(shown).next()),
    };
    let columns = ColumnArgs {
        prompt_column: column("--prompt-column")?,
        response_column: column("--response-column")?,
        messages_column: column("--messages-column")?,
        chosen_column: column("--chosen-column")?,
        rejected_column: column("--rejected-column")?,
        system_column: column("--system-column")?,
        ignore_column: names_of(option("--ignore-column")?).collect(),
    };
    let format = identity.options.get(INPUT_FORMAT);
    let wrong = |name: &str| format!("job.json has another {name} than is known here");
    let formats = FormatArgs {
        input_format: match format {
            Some(format) => Some(format.parse().map_err(|_| anyhow!(wrong(INPUT_FORMAT)))?),
            None => None,
        },
        output_format: None,
    };
    let allow = "--allow-no-answer";
    let most = "--max-record-bytes";
    let records = RecordArgs {
        allow_no_answer: option(allow)?.parse().with_context(|| wrong(allow))?,
        max_record_bytes: Bytes(option(most)?.parse().with_context(|| wrong(most))?),
        columns,
    };
    Ok((formats, records))
}

/// Which rows of its files a job is of; of none given, all.
pub(super) fn parts(identity: &Identity) -> Result<Vec<Part>> {
    let shown = identity.options.get(PARTS);
    let parts = shown.iter().flat_map(|shown| shown.split(PART_END));
    let read = |part: &str| part.parse().map_err(|problem: String| anyhow!(problem));
    parts
        .map(read)
        .collect::<Result<_>>()
        .with_context(|| format!("job.json has another {PARTS} than is known here"))
}

/// A name of a column, as JSON where it could be taken for something else.
fn shown_name(name: &str) -> String {
    let is_clear = !name.is_empty() && name != NOT_GIVEN && !name.starts_with('"');
    match is_clear && !name.contains(", ") {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

fn shown_names(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().map(|name| shown_name(name)).collect();
    shown.join(", ")
}

/// The names that were shown so.
fn names_of(shown: &str) -> impl Iterator<Item = String> {
    let mut rest = shown;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let (name, length) = match values.next() {
            Some(Ok(name)) => (name, values.byte_offset()),
            _ => {
                let length = rest.find(", ").unwrap_or(rest.len());
                (rest[..length].to_owned(), length)
            }
        };
        rest = rest[length..].strip_prefix(", ").unwrap_or_default();
        Some(name)
    })
}

/// What a bundle computes with: its manifest, but for where its weights are and what it can be checked by.
fn of_bundle(dir: &Path) -> Result<BTreeMap<String, String>> {
    let manifest = Manifest::read(dir)?;
    let mut value = serde_json::to_value(&manifest).context("cannot read the manifest")?;
    for field in [
        "/producer",
        "/probes",
        "/weights/mode",
        "/weights/directory",
    ] {
        if let Some(field) = value.pointer_mut(field) {
            *field = Value::Null;
        }
    }
    let source = match (&manifest.source.repository, &manifest.source.revision) {
        (Some(repository), Some(revision)) => format!("{repository}@{revision}"),
        (Some(repository), None) => repository.clone(),
        (None, _) => manifest.model.architecture.clone(),
    };
    Ok(BTreeMap::from([
        ("source".to_owned(), source),
        ("precision".to_owned(), manifest.precision.to_string()),
        (
            "manifest".to_owned(),
            sha256_hex(value.to_string().as_bytes())[..16].to_owned(),
        ),
    ]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were() {
        for names in [
            &[][..],
            &["a"],
            &["a", "b c", "d,e"],
            &["", "not given", "\"x\"", "a, b", "é, \"f"],
            &[", "],
        ] {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let shown = shown_names(&names);
            assert_eq!(names_of(&shown).collect::<Vec<_>>(), names, "{shown}");
        }
        assert_eq!(shown_names(&["a".into(), "b c".into()]), "a, b c");
    }
}
