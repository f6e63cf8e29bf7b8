//! Scoring the records of a job by servers.

use anyhow::Result;

use super::model::{Items, Model, Take, Unanswered};
use crate::{
    answers::Answer,
    records::{Entry, EntryError},
    remote::{Answered, RemoteScorer},
};

/// Servers.
pub(super) struct Remote(pub(super) RemoteScorer);

impl Model for Remote {
    type Outcome = Answered;
    const WHOLE_RECORDS: bool = true;

    fn score(&self, items: Items<'_, Answered>, take: Take<'_, Answered>) -> Result<()> {
        for answered in self.0.stream_entries(items) {
            let (item, answer) = answered?;
            take(item, answer.into_iter().collect())?;
        }
        Ok(())
    }

    fn answer(&self, entry: &Entry, answers: Vec<Answered>) -> Result<Answer, Unanswered> {
        // A server says what is wrong in words alone.
        let refused = |problem| Unanswered {
            problem,
            kind: "refused",
            ends_all: false,
        };
        match (answers.into_iter().next(), entry.check()) {
            (Some(answer), _) => answer.map_err(refused),
            (None, Err(error)) => Err(unscored(&error)),
            (None, Ok(())) => Err(refused("there is nothing to score".to_owned())),
        }
    }

    fn outcome(answer: &Answer, part: usize) -> Option<Answered> {
        (part == 0).then(|| Ok(answer.clone()))
    }
}

/// Why a record has no answer before it is scored.
fn unscored(error: &EntryError) -> Unanswered {
    Unanswered {
        problem: error.to_string(),
        kind: error.kind().as_str(),
        ends_all: false,
    }
}
