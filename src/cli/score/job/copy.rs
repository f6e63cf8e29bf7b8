//! A copy of what is scored of the records of an input, in whatever form that is.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use worldpm_ort_data::{DataSet, Files, Row};
use worldpm_ort_jobs::{IndexWriter, InputFile, SORT_BYTES, SpoolOptions, SpoolWriter, prompt_key};

use super::{
    dividing::Look,
    files::check_unchanged,
    found::{Found, Read},
    plain::{SHARD_BYTES, is_of_system},
};
use crate::{
    cli::{
        common::progress::InputProgress,
        score::{args::ScoreArgs, input::options},
    },
    json::Json,
    records::{Body, RawConversation, restore, store},
};

/// The texts of records: the number of their file, what is counted in it, and what is scored.
pub(super) struct Texts {
    names: Arc<[Arc<str>]>,
    /// The file that the last record was in.
    file: usize,
}

impl Texts {
    pub(super) fn new(names: Arc<[Arc<str>]>) -> Self {
        Self { names, file: 0 }
    }

    /// That of the next record.
    pub(super) fn of(&mut self, file: &str, unit: &str, read: &Read) -> Vec<u8> {
        let later = self.names[self.file..]
            .iter()
            .position(|name| **name == *file);
        self.file += later.unwrap_or(0);
        let mut text = format!("{} {unit} ", self.file).into_bytes();
        text.extend(store(read));
        text
    }
}

/// The record of a text.
pub(super) fn read(text: &[u8], names: &[Arc<str>]) -> Result<Found> {
    let parsed = || {
        let mut parts = text.splitn(3, |&byte| byte == b' ');
        let file: usize = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let unit = match parts.next()? {
            b"row" => "row",
            _ => "line",
        };
        let read = restore(parts.next()?).ok()?;
        Some(Found {
            read,
            file: Arc::clone(names.get(file)?),
            unit,
        })
    };
    parsed().context(
        "the copy of the records is of another version of this program: begin a new job in another directory",
    )
}

/// How records are copied.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// Most records of a shard.
    pub(super) shard_records: u64,
    /// Whether they are brought together by their prompts.
    pub(super) is_grouped: bool,
}

/// Copies the records of files, which are still `begun`, and makes the index of the copy.
pub(super) fn write(
    args: &ScoreArgs,
    files: &Files,
    mut texts: Texts,
    way: Way,
    begun: &[InputFile],
    index: &mut IndexWriter<'_>,
) -> Result<()> {
    let set = DataSet::open(files.clone(), &options(args))?;
    report!(
        "the records are copied to the job{}",
        match way.is_grouped {
            true => ", and brought together by their prompts",
            false => "",
        }
    );
    let unit = unit(&set);
    let spool = SpoolOptions {
        shard_records: way.shard_records,
        shard_bytes: SHARD_BYTES as usize,
        sort_bytes: way.is_grouped.then_some(SORT_BYTES),
    };
    let mut writer = SpoolWriter::new(index, spool)?;
    let look = Look::new(args);
    let progress = InputProgress::new(files.bytes());
    let bar = progress.clone();
    for row in set.rows(move |bytes| bar.advance(bytes)) {
        let Row { file, read, .. } = row;
        if let Err(error) = &read {
            // Of an input that changes it may be what is wrong.
            if error.is_fatal {
                check_unchanged(files.paths(), begun)?;
            }
            if is_of_system(error) {
                bail!("{file}: {error}");
            }
        }
        let text = texts.of(&file, unit, &read);
        let key = match &read {
            Ok((_, record)) => key(&record.body),
            Err(_) => [0; 16],
        };
        let looked = look.at(Found { read, file, unit });
        let contents = looked.inspect_err(|_| progress.abandon())?;
        writer.add(key, &text, &contents)?;
    }
    progress.finish_and_clear();
    check_unchanged(files.paths(), begun)?;
    Ok(writer.finish()?)
}

/// What is counted in the files of a data set.
pub(super) fn unit(set: &DataSet) -> &'static str {
    match set.format().is_table() {
        true => "row",
        false => "line",
    }
}

/// By which records come together: those whose conversations begin with the same turn, and of these, those whose prompts are
/// the same.
fn key(body: &Body) -> [u8; 16] {
    let all: Vec<&RawConversation> = match body {
        Body::Single(one) => vec![one],
        Body::Pair { chosen, rejected } => vec![chosen, rejected],
        Body::Candidates(all) => all.iter().map(|one| &one.conversation).collect(),
    };
    let Some(first) = all.first() else {
        return [0; 16];
    };
    let has_role =
        |message: &Json, role: &str| message.get("role").and_then(Json::as_str) == Some(role);
    let is_answer = |message: &&Json| has_role(message, "assistant");
    let mut shared = first.messages.len();
    for other in &all {
        let pairs = first.messages.iter().zip(&other.messages);
        shared = shared.min(pairs.take_while(|(one, other)| one == other).count());
    }
    let answers = first.messages[..shared]
        .iter()
        .rev()
        .take_while(is_answer)
        .count();
    let prompt = &first.messages[..shared - answers];
    let turn = prompt.iter().position(|message| has_role(message, "user"));
    let beginning = &prompt[..turn.map_or(prompt.len(), |turn| turn + 1)];
    prompt_key(&text(&(&first.tools, beginning)), &text(&prompt))
}

fn text(value: &impl Serialize) -> Vec<u8> {
    // Values of JSON are written without fail.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::records::Record;

    fn key_of(record: Value) -> ([u8; 8], [u8; 8]) {
        let key = key(&Record::from_value(record).unwrap().body);
        (key[..8].try_into().unwrap(), key[8..].try_into().unwrap())
    }

    #[test]
    fn what_has_the_same_prompt_has_the_same_key() {
        let user = |text: &str| json!({"role": "user", "content": text});
        let answer = |text: &str| json!({"role": "assistant", "content": text});
        let one = key_of(json!({"prompt": "Why?", "response": "So."}));
        for same in [
            json!({"id": 3, "prompt": "Why?", "response": "No."}),
            json!([user("Why?"), answer("a")]),
            json!({"prompt": "Why?", "chosen": "a", "rejected": "b"}),
            json!({"prompt": "Why?", "chosen": "a", "rejected": "a"}),
            json!({"prompt": "Why?", "responses": ["a", "b", "c"]}),
        ] {
            assert_eq!(key_of(same.clone()), one, "{same}");
        }
        let longer = key_of(json!([
            user("Why?"),
            answer("a"),
            user("And?"),
            answer("b")
        ]));
        assert!(longer.0 == one.0 && longer.1 != one.1);
        for other in [
            json!({"prompt": "Why", "response": "So."}),
            json!({"system": "Be brief.", "prompt": "Why?", "response": "So."}),
            json!({"prompt": "Why?", "response": "So.", "tools": [{"name": "t"}]}),
        ] {
            assert_ne!(key_of(other).0, one.0);
        }
    }

    #[test]
    fn a_copy_says_where_a_record_stands() {
        let names: Arc<[Arc<str>]> = ["a", "b", "c"].map(Arc::from).into();
        let mut texts = Texts::new(Arc::clone(&names));
        let record = Record::from_value(json!({"prompt": "Why?", "response": "So."})).unwrap();
        for (file, unit) in [("a", "row"), ("c", "line"), ("c", "row")] {
            let text = texts.of(file, unit, &Ok((4, record.clone())));
            let found = read(&text, &names).unwrap();
            assert_eq!((&*found.file, found.unit), (file, unit));
            assert_eq!(found.read.unwrap().1.body, record.body);
        }
        assert!(read(b"9 row {}", &names).is_err());
    }
}
