//! Records on their way through the queue.

use worldpm_ort_runtime::{
    Conversation, Error,
    json::Json,
    records::{Entry, Record, RecordReward},
};

use crate::{
    http::Problem,
    scoring::{Asked, Item, Scored},
};

/// A record that was read, or what is wrong with it, and its conversations.
pub(super) struct Prepared {
    pub(super) entry: Result<Entry, Problem>,
    pub(super) conversations: Vec<Conversation>,
}

/// What came of a record: its scored conversations.
pub(super) type Outcome = Result<Vec<Scored>, Problem>;

impl Prepared {
    /// A record of a list in a request.
    pub(super) fn of_value(value: Json) -> Self {
        match Record::from_value(value) {
            Ok(record) => {
                // Whether there has to be an answer is the scorer's to say.
                let (entry, conversations) = Entry::prepare(Ok((1, record)), true);
                Self::of_entry(entry, conversations)
            }
            Err(error) => Self {
                entry: Err(Problem::invalid(error.to_string())),
                conversations: Vec::new(),
            },
        }
    }

    pub(super) fn of_entry(entry: Entry, conversations: Vec<Conversation>) -> Self {
        Self {
            entry: Ok(entry),
            conversations,
        }
    }
}

/// What the model says of a record, from its scored conversations.
///
/// # Errors
/// A record without any.
pub(super) fn reward(entry: Option<&Entry>, scored: &[Scored]) -> Result<RecordReward, Problem> {
    let entry = entry.ok_or_else(|| Problem::invalid("there is nothing to score"))?;
    let rewards = scored.iter().map(|one| Ok(one.reward.clone()));
    let reward = entry.reward(rewards.collect());
    reward.map_err(|error| Problem::invalid(error.to_string()))
}

/// Scores records, each with its own outcome.
///
/// # Errors
/// When one was refused for the moment, all are, so that the client can send the request again.
pub(super) async fn score(
    asked: &Asked,
    records: Vec<Prepared>,
) -> Result<Vec<(Option<Entry>, Outcome)>, Problem> {
    let mut entries = Vec::with_capacity(records.len());
    let mut items = Vec::new();
    for record in records {
        entries.push((record.entry, record.conversations.len()));
        items.extend(record.conversations.into_iter().map(Item::Conversation));
    }
    let mut scored = asked.each(items).await?.into_iter();
    let outcomes = entries.into_iter().map(|(entry, conversations)| {
        let own = scored.by_ref().take(conversations).collect();
        let (entry, outcome) = match entry {
            Ok(entry) => {
                let outcome = outcome(&entry, own);
                (Some(entry), outcome)
            }
            Err(problem) => (None, Err(problem)),
        };
        match outcome {
            Err(problem) if problem.kind.is_worth_a_retry() => Err(problem),
            outcome => Ok((entry, outcome)),
        }
    });
    outcomes.collect()
}

fn outcome(entry: &Entry, scored: Vec<Result<Scored, Error>>) -> Outcome {
    entry
        .check()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let sides = scored.into_iter().zip(entry.sides());
    let all = sides.map(|(outcome, side)| {
        outcome.map_err(|error| {
            let mut problem = Problem::from(&error);
            problem.message.insert_str(0, &side.to_string());
            problem
        })
    });
    all.collect()
}
