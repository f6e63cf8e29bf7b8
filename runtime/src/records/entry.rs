//! A record on its way through scoring, from its conversations to what the model says of them.

use std::sync::Arc;

use super::{
    body::{Body, Group, RawConversation, Split},
    error::RecordError,
    record::Record,
    side::Side,
};
use crate::{
    engine::EngineError,
    error::{Error, ErrorKind, Result},
    json::{Json, Object},
    reward::Reward,
    text::{Conversation, ConversationError},
};

/// What was read as one record: where it stands, and what to do with the scores of its conversations.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The line where the record starts, from 1.
    pub line: usize,
    /// Its `id`, a string or a number, as given.
    pub id: Option<Json>,
    /// Its fields, where the reader was asked to keep them.
    pub fields: Option<Object>,
    /// Where the answers begin in its conversations.
    pub split: Split,
    form: Result<Form, EntryError>,
}

#[derive(Clone, Debug)]
enum Form {
    Single,
    Pair,
    Candidates(Vec<Option<Group>>),
}

/// Why there is no answer to a record.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It cannot be read. The error says the line itself.
    #[error("{0}")]
    Record(Arc<RecordError>),
    /// A conversation of it is not one that can be scored.
    #[error("{side}{source}")]
    Conversation {
        /// Which one.
        side: Side,
        /// What is wrong with it.
        source: ConversationError,
    },
    /// A conversation of it was not scored.
    #[error("{side}{source}")]
    Score {
        /// Which one.
        side: Side,
        /// Why not.
        source: Error,
    },
}

/// What the model says of a record.
#[derive(Clone, Debug)]
pub enum RecordReward {
    /// Of its conversation.
    Single(Reward),
    /// Of a pair.
    Pair {
        /// Of the preferred conversation.
        chosen: Reward,
        /// Of the other one.
        rejected: Reward,
    },
    /// Of answers to one prompt, in their order.
    Candidates(Vec<CandidateReward>),
}

/// What the model says of one of several answers.
#[derive(Clone, Debug)]
pub struct CandidateReward {
    /// Which answers it belongs to, where there are two kinds of them.
    pub group: Option<Group>,
    /// What the model says.
    pub reward: Reward,
}

impl Entry {
    /// Splits what a [`RecordReader`](super::RecordReader) gave into the conversations to score and what is kept until
    /// their scores are there. Of a record that cannot be scored there are no conversations, and [`check`](Self::check)
    /// says why.
    ///
    /// Unless `allow_no_answer`, a conversation that does not end with an assistant's message is refused: the model gives
    /// a number for it too, which says nothing.
    #[must_use]
    pub fn prepare(
        read: Result<(usize, Record), RecordError>,
        allow_no_answer: bool,
    ) -> (Self, Vec<Conversation>) {
        let (line, record) = match read {
            Ok(read) => read,
            Err(mut error) => {
                let entry = Self {
                    line: error.line,
                    id: error.id.clone(),
                    fields: error.fields.take(),
                    split: Split::default(),
                    form: Err(EntryError::Record(Arc::new(error))),
                };
                return (entry, Vec::new());
            }
        };
        let conversation = |side, raw| {
            conversation(raw, allow_no_answer)
                .map_err(|source| EntryError::Conversation { side, source })
        };
        let conversations = match record.body {
            Body::Single(one) => {
                conversation(Side::Whole, one).map(|one| (Form::Single, vec![one]))
            }
            Body::Pair { chosen, rejected } => {
                conversation(Side::Chosen, chosen).and_then(|chosen| {
                    Ok((
                        Form::Pair,
                        vec![chosen, conversation(Side::Rejected, rejected)?],
                    ))
                })
            }
            Body::Candidates(all) => {
                let groups = all.iter().map(|one| one.group).collect();
                let all = all.into_iter().enumerate();
                all.map(|(index, one)| conversation(Side::Candidate(index), one.conversation))
                    .collect::<Result<_, _>>()
                    .map(|all| (Form::Candidates(groups), all))
            }
        };
        let (form, conversations) = match conversations {
            Ok((form, conversations)) => (Ok(form), conversations),
            Err(error) => (Err(error), Vec::new()),
        };
        let entry = Self {
            line,
            id: record.id,
            fields: record.fields,
            split: record.split,
            form,
        };
        (entry, conversations)
    }

    /// Whether the record can be scored, as far as is known without its model.
    ///
    /// # Errors
    /// [`EntryError::Record`] and [`EntryError::Conversation`].
    pub fn check(&self) -> Result<(), EntryError> {
        match &self.form {
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone()),
        }
    }

    /// The same as a record of so many answers to one prompt: of its own conversation and of those of records after it, which
    /// are answers to that prompt too.
    #[must_use]
    pub fn gathered(mut self, answers: usize) -> Self {
        if self.form.is_ok() {
            self.form = Ok(Form::Candidates(vec![None; answers]));
        }
        self
    }

    /// Which conversations it has, in their order; none of a record that cannot be scored.
    #[must_use]
    pub fn sides(&self) -> Vec<Side> {
        match &self.form {
            Ok(Form::Single) => vec![Side::Whole],
            Ok(Form::Pair) => vec![Side::Chosen, Side::Rejected],
            Ok(Form::Candidates(groups)) => (0..groups.len()).map(Side::Candidate).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Which answers each of several candidates belongs to; `None` of another record.
    #[must_use]
    pub fn groups(&self) -> Option<&[Option<Group>]> {
        match &self.form {
            Ok(Form::Candidates(groups)) => Some(groups),
            _ => None,
        }
    }

    /// What the model says of the record, from what it says of the record's conversations, in their order.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`EntryError::Score`] for the first conversation that was not scored.
    pub fn reward(&self, rewards: Vec<Result<Reward>>) -> Result<RecordReward, EntryError> {
        let form = match &self.form {
            Ok(form) => form,
            Err(error) => return Err(error.clone()),
        };
        let mut rewards = rewards.into_iter();
        let mut next = |side| {
            let reward = rewards
                .next()
                .unwrap_or_else(|| Err(EngineError::Stopped("no score came".into()).into()));
            reward.map_err(|source| EntryError::Score { side, source })
        };
        Ok(match form {
            Form::Single => RecordReward::Single(next(Side::Whole)?),
            Form::Pair => RecordReward::Pair {
                chosen: next(Side::Chosen)?,
                rejected: next(Side::Rejected)?,
            },
            Form::Candidates(groups) => {
                let all = groups.iter().enumerate().map(|(index, group)| {
                    let reward = next(Side::Candidate(index))?;
                    Ok(CandidateReward {
                        group: *group,
                        reward,
                    })
                });
                RecordReward::Candidates(all.collect::<Result<_, EntryError>>()?)
            }
        })
    }
}

fn conversation(
    raw: RawConversation,
    allow_no_answer: bool,
) -> Result<Conversation, ConversationError> {
    let conversation = raw.into_conversation()?;
    if !allow_no_answer {
        conversation.check_answer()?;
    }
    Ok(conversation)
}

impl EntryError {
    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Record(error) => error.kind.kind(),
            Self::Conversation { .. } => ErrorKind::InvalidInput,
            Self::Score { source, .. } => source.kind(),
        }
    }
}
