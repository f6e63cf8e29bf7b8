//! What scores the records of a job: a model in this process, or servers.

use anyhow::Result;

use super::item::Item;
use crate::{
    Conversation, ErrorKind, Reward, Scorer,
    answers::Answer,
    batch::PlanStats,
    cli::{common::progress::InputProgress, score::local},
    records::{Entry, EntryError, RecordErrorKind},
};

/// Why there is no answer to a record.
pub(super) struct Unanswered {
    pub(super) problem: String,
    /// One word.
    pub(super) kind: &'static str,
    /// Whether no record after it can be scored either.
    pub(super) ends_all: bool,
}

/// Items with the conversations of each that are to be scored.
pub(super) type Items<'a, O> = &'a mut dyn Iterator<Item = (Item<O>, Vec<Conversation>)>;
/// Takes each item with what came of its conversations.
pub(super) type Take<'a, O> = &'a mut dyn FnMut(Item<O>, Vec<O>) -> Result<()>;

pub(super) trait Model {
    /// What comes of what is scored as one: a conversation, or a record.
    type Outcome: Clone;
    /// Whether the conversations of a record are scored as one.
    const WHOLE_RECORDS: bool;

    /// Scores items, several at once, and hands them over in order.
    fn score(&self, items: Items<'_, Self::Outcome>, take: Take<'_, Self::Outcome>) -> Result<()>;

    /// The answer to a record.
    fn answer(&self, entry: &Entry, outcomes: Vec<Self::Outcome>) -> Result<Answer, Unanswered>;

    /// What came of a part of a record, from the answer to it. `None` where the answer does not have that.
    fn outcome(answer: &Answer, part: usize) -> Option<Self::Outcome>;
}

/// A model in this process, and how much was scored with it.
pub(super) struct Local {
    pub(super) scorer: Scorer,
    pub(super) stats: std::cell::Cell<PlanStats>,
    pub(super) progress: InputProgress,
}

impl Model for Local {
    type Outcome = crate::Result<Reward>;
    const WHOLE_RECORDS: bool = false;

    fn score(&self, items: Items<'_, Self::Outcome>, take: Take<'_, Self::Outcome>) -> Result<()> {
        let mut stream = self.scorer.stream(items);
        let mut taken = Ok(());
        let before = self.stats.get();
        while let Some((item, rewards)) = stream.next() {
            let (tokens, computed) = (stream.stats().tokens, stream.stats().unique_tokens);
            self.progress
                .set_tokens(before.tokens + tokens, before.unique_tokens + computed);
            taken = take(item, rewards);
            if taken.is_err() {
                break;
            }
        }
        let mut stats = before;
        stats += *stream.stats();
        self.stats.set(stats);
        taken
    }

    fn answer(&self, entry: &Entry, rewards: Vec<Self::Outcome>) -> Result<Answer, Unanswered> {
        match &entry.reward(rewards) {
            Ok(reward) => Ok(reward.into()),
            Err(problem) => Err(Unanswered {
                problem: problem.to_string(),
                kind: problem.kind().as_str(),
                ends_all: local::ends_all(problem, self.scorer.health()) || !is_of_record(problem),
            }),
        }
    }

    fn outcome(answer: &Answer, part: usize) -> Option<Self::Outcome> {
        answer.conversation(part)?.reward().map(Ok)
    }
}

/// Whether an error says something of the record, so that it may be its result. With others, such as a device that is lost,
/// records can be scored when the job is gone on with.
fn is_of_record(problem: &EntryError) -> bool {
    match problem {
        // It was kept with the records, since it says something of the input.
        EntryError::Record(error) if matches!(*error.kind, RecordErrorKind::Told { .. }) => true,
        problem => matches!(
            problem.kind(),
            ErrorKind::InvalidInput
                | ErrorKind::TooLong
                | ErrorKind::OutOfMemory
                | ErrorKind::Internal
        ),
    }
}
