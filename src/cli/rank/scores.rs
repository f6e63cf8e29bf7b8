//! The scores of candidates, however they came.

use super::group::Candidates;
use crate::{Error, Reward, answers::ScoredConversation, records::EntryError};

/// What the model says of candidates, in their order.
pub(super) struct Scores {
    pub(super) scored: Vec<ScoredConversation>,
    /// The one score of each.
    pub(super) scores: Vec<f64>,
}

/// Why candidates are not ranked.
pub(super) enum Problem {
    /// It is theirs.
    Theirs(String),
    /// No others would be either.
    Everyones(String),
}

/// Said of models that say more than one number of an answer.
const NO_SCORE: &str = "the model does not give one score to an answer, by which it could be ranked: of one that scores \
                        steps, --reduce makes one";

/// From a model in this process.
pub(super) fn of_rewards(
    candidates: &Candidates,
    rewards: Vec<Result<Reward, Error>>,
) -> Result<Scores, Problem> {
    if let Some(problem) = &candidates.problem {
        return Err(Problem::Theirs(problem.clone()));
    }
    let sides = candidates.first.entry.sides();
    let rewards = rewards.into_iter().zip(sides);
    let scored = rewards.map(|(reward, side)| match reward {
        Ok(reward) => Ok(ScoredConversation::from(&reward)),
        Err(source @ Error::WeightsChanged { .. }) => Err(Problem::Everyones(source.to_string())),
        Err(source) => Err(Problem::Theirs(
            EntryError::Score { side, source }.to_string(),
        )),
    });
    with_scores(scored.collect::<Result<_, _>>()?)
}

/// From a server.
#[cfg(feature = "remote")]
pub(super) fn of_answer(
    candidates: &Candidates,
    answer: Option<crate::remote::Answered>,
) -> Result<Scores, Problem> {
    use crate::answers::Answer;

    if let Some(problem) = &candidates.problem {
        return Err(Problem::Theirs(problem.clone()));
    }
    let scored = match answer {
        Some(Ok(Answer::Single(one))) => vec![one],
        Some(Ok(Answer::Pair(pair))) => vec![pair.chosen, pair.rejected],
        Some(Ok(Answer::Candidates(all))) => {
            all.candidates.into_iter().map(|one| one.scored).collect()
        }
        Some(Err(problem)) => return Err(Problem::Theirs(problem)),
        None => Vec::new(),
    };
    let (found, asked) = (scored.len(), candidates.conversations.len());
    if found != asked {
        return Err(Problem::Everyones(format!(
            "the server gave {found} scores to {asked} candidates"
        )));
    }
    with_scores(scored)
}

fn with_scores(scored: Vec<ScoredConversation>) -> Result<Scores, Problem> {
    let scores: Option<Vec<f64>> = scored.iter().map(|one| one.score).collect();
    match scores {
        Some(scores) => Ok(Scores { scored, scores }),
        None => Err(Problem::Everyones(NO_SCORE.to_owned())),
    }
}
