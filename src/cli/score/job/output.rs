//! The results of a job that is complete: put together in the order of the records, and summed up.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, absolute},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use worldpm_ort_jobs::{Distribution, Job, Lengths};

use crate::{
    answers::{Answer, Outcome, ScoredConversation},
    cli::common::{interrupt::Interrupt, output::Results},
};

/// The note about the output that was written last.
const NOTE: &str = "output.json";
/// How long it is waited for whoever writes an output.
const WAIT: Duration = Duration::from_millis(200);

/// An output that was written from a job.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    path: String,
    bytes: u64,
    modified: (i64, i64),
    failures: u64,
}

/// What became of the output.
#[derive(Debug)]
pub(super) enum Written {
    Here(Summary),
    /// By another process of the job, with so many errors.
    Before(u64),
    Interrupted,
}

/// What a job came to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) records: u64,
    pub(super) failures: BTreeMap<String, u64>,
    lengths: Lengths,
    tokens: u64,
    scores: BTreeMap<String, Distribution>,
    margins: Distribution,
    preferred: u64,
}

/// Writes the output. Of several processes with the same file, one does.
pub(super) fn write(
    job: &Job,
    shards: usize,
    path: &Path,
    interrupt: &Interrupt,
) -> Result<Written> {
    // To a pipe or a device every process writes its own.
    let is_file = || fs::metadata(path).map_or(true, |found| found.is_file());
    let is_shared = path != Path::new("-") && is_file();
    if !is_shared {
        return put(job, shards, path, interrupt);
    }
    while !job.begin_output()? {
        if interrupt.asked() {
            return Ok(Written::Interrupted);
        }
        thread::sleep(WAIT);
    }
    let written = match written_before(job, path)? {
        Some(note) => Ok(Written::Before(note.failures)),
        None => put_and_note(job, shards, path, interrupt),
    };
    job.end_output();
    written
}

fn put_and_note(job: &Job, shards: usize, path: &Path, interrupt: &Interrupt) -> Result<Written> {
    let written = put(job, shards, path, interrupt)?;
    if let Written::Here(summary) = &written
        && let Some(note) = note_of(path, summary.failures.values().sum())?
    {
        job.leave_note(NOTE, &serde_json::to_vec(&note)?)?;
    }
    Ok(written)
}

/// The note about an output that is still as it was written.
fn written_before(job: &Job, path: &Path) -> Result<Option<Note>> {
    let Some(text) = job.note(NOTE)? else {
        return Ok(None);
    };
    let Ok(note) = serde_json::from_slice::<Note>(&text) else {
        return Ok(None);
    };
    let now = note_of(path, note.failures)?;
    Ok(now.filter(|now| *now == note))
}

fn note_of(path: &Path, failures: u64) -> Result<Option<Note>> {
    let Ok(found) = fs::metadata(path) else {
        return Ok(None);
    };
    let path = absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
    Ok(found.is_file().then(|| Note {
        path: path.display().to_string(),
        bytes: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        failures,
    }))
}

fn put(job: &Job, shards: usize, path: &Path, interrupt: &Interrupt) -> Result<Written> {
    let mut output = Results::prepare(path, false)?;
    output.open()?;
    let mut summary = Summary::default();
    for shard in 0..shards {
        if interrupt.asked() {
            return Ok(Written::Interrupted);
        }
        let results = job.results(shard)?;
        for (kind, count) in &results.failures {
            *summary.failures.entry(kind.clone()).or_default() += count;
        }
        for line in results.lines() {
            output.write_line(line)?;
            summary.add(line);
        }
    }
    output.finish()?;
    job.tidy()?;
    Ok(Written::Here(summary))
}

impl Summary {
    fn add(&mut self, line: &[u8]) {
        self.records += 1;
        match serde_json::from_slice(line) {
            Ok(Outcome::Answer(Answer::Single(one))) => self.conversation(&one),
            Ok(Outcome::Answer(Answer::Pair(pair))) => {
                self.conversation(&pair.chosen);
                self.conversation(&pair.rejected);
                if let Some(margin) = pair.margin {
                    self.margins.add(margin);
                    self.preferred += u64::from(margin > 0.0);
                }
            }
            Ok(Outcome::Answer(Answer::Candidates(all))) => {
                for one in &all.candidates {
                    self.conversation(&one.scored);
                }
            }
            Ok(Outcome::Failure { .. }) | Err(_) => {}
        }
    }

    fn conversation(&mut self, scored: &ScoredConversation) {
        self.lengths.add(scored.tokens as u64);
        self.tokens += scored.tokens as u64;
        let mut add = |name: &str, score| {
            if !self.scores.contains_key(name) {
                self.scores.insert(name.to_owned(), Distribution::default());
            }
            if let Some(scores) = self.scores.get_mut(name) {
                scores.add(score);
            }
        };
        if let Some(score) = scored.score {
            add("scores", score);
        }
        for (label, score) in scored.scores.iter().flat_map(|all| &all.0) {
            add(label, *score);
        }
        for step in scored.steps.iter().flatten() {
            add("steps", *step);
        }
    }

    /// As lines of text.
    pub(super) fn lines(&self) -> Vec<String> {
        let failed: u64 = self.failures.values().sum();
        let kinds: Vec<String> = self
            .failures
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let kinds = match kinds.is_empty() {
            true => String::new(),
            false => format!(" ({})", kinds.join(", ")),
        };
        let mut lines = vec![format!(
            "{} records: {} scored, {failed} with errors{kinds}",
            self.records,
            self.records - failed
        )];
        let length = |share| self.lengths.quantile(share).unwrap_or_default();
        if self.lengths.number() > 0 {
            lines.push(format!(
                "{} conversations of {} tokens: shortest {}, median {}, 95th percentile {}, longest {}",
                self.lengths.number(),
                self.tokens,
                length(0.0),
                length(0.5),
                length(0.95),
                length(1.0)
            ));
        }
        let named = self
            .scores
            .iter()
            .map(|(name, scores)| (name.as_str(), scores));
        let margins = (self.margins.number() > 0).then_some(("margins", &self.margins));
        for (name, scores) in named.chain(margins) {
            let Some((least, most)) = scores.range() else {
                continue;
            };
            let quantile = |share| scores.quantile(share).unwrap_or_default();
            lines.push(format!(
                "{name}: mean {:.4}, standard deviation {:.4}, least {least:.4}, 5th percentile {:.4}, median {:.4}, 95th \
                 percentile {:.4}, greatest {most:.4}",
                scores.mean(),
                scores.deviation(),
                quantile(0.05),
                quantile(0.5),
                quantile(0.95)
            ));
        }
        if self.margins.number() > 0 {
            lines.push(format!(
                "chosen is above rejected in {} of {} pairs",
                self.preferred,
                self.margins.number()
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_summed_up() {
        let mut summary = Summary::default();
        for line in [
            r#"{"id":1,"score":1.5,"tokens":3}"#,
            r#"{"score":-0.5,"tokens":5}"#,
            r#"{"chosen":{"score":1.0,"tokens":10},"rejected":{"score":0.0,"tokens":4},"margin":1.0,"probability":0.75}"#,
            r#"{"line":4,"error":"no"}"#,
        ] {
            summary.add(line.as_bytes());
        }
        summary.failures.insert("invalid_input".to_owned(), 1);
        // Quantiles are right to 0.05%.
        assert_eq!(
            summary.lines(),
            [
                "4 records: 3 scored, 1 with errors (invalid_input 1)",
                "4 conversations of 22 tokens: shortest 3, median 4, 95th percentile 10, longest 10",
                "scores: mean 0.5000, standard deviation 0.7906, least -0.5000, 5th percentile -0.4999, median 0.0000, 95th \
                 percentile 1.5000, greatest 1.5000",
                "margins: mean 1.0000, standard deviation 0.0000, least 1.0000, 5th percentile 1.0000, median 1.0000, 95th \
                 percentile 1.0000, greatest 1.0000",
                "chosen is above rejected in 1 of 1 pairs",
            ]
        );
        assert_eq!(Summary::default().lines().len(), 1);
    }
}
