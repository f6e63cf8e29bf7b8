//! The columns that answers become.
//!
//! | of | columns |
//! |---|---|
//! | a conversation | `score`, or `scores.LABEL` for each label; `steps`; `tokens`, `truncated` |
//! | a pair | `score_chosen`, `score_rejected`, `margin`, `probability`, or `scores_chosen.LABEL`, `scores_rejected.LABEL`, `margins.LABEL`; `steps_chosen`, `steps_rejected`; `tokens_chosen`, `tokens_rejected`, `truncated_chosen`, `truncated_rejected` |
//! | answers to one prompt | lists with an element for each: `scores`, or `scores.LABEL`; `steps`; `tokens`; and `best`, `truncated`. Where there are two kinds of answers: `scores_chosen`, `scores_rejected` and so on |
//! | a row without an answer | `error` |
//!
//! In JSON a row has those that say something; in tables every row has all, and null where they say nothing.

use std::borrow::Cow;

use worldpm_ort_runtime::{
    answers::{Answer, ByLabel, Outcome, ScoredCandidates, ScoredConversation},
    json::Json,
    records::{Body, Group},
};

use crate::numeric::{self, Numeric};

/// The name of a column, without what the writer's options put before it.
pub(crate) type Name = Cow<'static, str>;

/// The name of the column that says why there is no answer.
pub(crate) const ERROR: &str = "error";

/// What came of a row that was scored, as the columns that it becomes.
#[derive(Debug)]
pub struct AddedColumns {
    pub(crate) values: Vec<(Name, Value)>,
    /// The line of a row without an answer.
    pub(crate) line: Option<usize>,
}

impl From<Outcome> for AddedColumns {
    fn from(outcome: Outcome) -> Self {
        let line = match &outcome {
            Outcome::Failure { line, .. } => Some(*line),
            Outcome::Answer(_) => None,
        };
        Self {
            values: values(outcome),
            line,
        }
    }
}

impl AddedColumns {
    /// Their names, without what [`WriteOptions`](crate::WriteOptions) puts before them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name.as_ref())
    }

    /// Whether the row has no answer, and the one column says why.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.line.is_some()
    }

    /// The number in the column of this name, as [`Columns::number`](crate::Columns::number) has it.
    #[must_use]
    pub fn number(&self, name: &str) -> Numeric {
        match self.get(name) {
            None => Numeric::Missing,
            Some(Value::Float(value)) => numeric::finite(*value),
            Some(Value::Bool(value)) => numeric::of_value(&(*value).into()),
            Some(value) => numeric::of_value(&value.to_json().unwrap_or_default()),
        }
    }

    /// The column of this name as JSON; `None` where there is none, or what JSON leaves out.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Json> {
        self.get(name)?.to_json()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let mut values = self.values.iter();
        values
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }
}

/// What an added column says of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Float(f64),
    Integer(usize),
    Bool(bool),
    Floats(Vec<f64>),
    Integers(Vec<usize>),
    /// A list for each of several answers.
    Lists(Vec<Vec<f64>>),
    Text(String),
}

/// The type of an added column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Integer,
    Bool,
    Floats,
    Integers,
    Lists,
    Text,
}

/// The columns of a pair's sides, in the order of [`ScoredConversation`]'s fields: for `chosen`, for `rejected`, for one.
struct Names {
    score: &'static str,
    scores: &'static str,
    steps: &'static str,
    tokens: &'static str,
    truncated: &'static str,
}

const ONE: Names = Names {
    score: "score",
    scores: "scores",
    steps: "steps",
    tokens: "tokens",
    truncated: "truncated",
};
const CHOSEN: Names = Names {
    score: "score_chosen",
    scores: "scores_chosen",
    steps: "steps_chosen",
    tokens: "tokens_chosen",
    truncated: "truncated_chosen",
};
const REJECTED: Names = Names {
    score: "score_rejected",
    scores: "scores_rejected",
    steps: "steps_rejected",
    tokens: "tokens_rejected",
    truncated: "truncated_rejected",
};

/// What a row asks to have scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    /// A conversation.
    Conversation,
    /// A pair.
    Pair,
    /// Answers to one prompt.
    Candidates,
}

impl RowForm {
    /// As far as the names of columns show it.
    pub(crate) fn of_columns(has: impl Fn(&str) -> bool) -> Self {
        match has("chosen") && has("rejected") {
            true => Self::Pair,
            false => Self::Conversation,
        }
    }
}

impl From<&Body> for RowForm {
    fn from(body: &Body) -> Self {
        match body {
            Body::Single(_) => Self::Conversation,
            Body::Pair { .. } => Self::Pair,
            Body::Candidates(_) => Self::Candidates,
        }
    }
}

/// The columns that the answer of a model with one label has.
pub(crate) fn usual(form: RowForm) -> Vec<(Name, Kind)> {
    let names: &[_] = match form {
        RowForm::Candidates => &[
            (ONE.scores, Kind::Floats),
            (ONE.tokens, Kind::Integers),
            (ONE.truncated, Kind::Bool),
            ("best", Kind::Integer),
        ],
        RowForm::Pair => &[
            (CHOSEN.score, Kind::Float),
            (REJECTED.score, Kind::Float),
            ("margin", Kind::Float),
            ("probability", Kind::Float),
            (CHOSEN.tokens, Kind::Integer),
            (REJECTED.tokens, Kind::Integer),
            (CHOSEN.truncated, Kind::Bool),
            (REJECTED.truncated, Kind::Bool),
        ],
        RowForm::Conversation => &[
            (ONE.score, Kind::Float),
            (ONE.tokens, Kind::Integer),
            (ONE.truncated, Kind::Bool),
        ],
    };
    names
        .iter()
        .map(|&(name, kind)| (name.into(), kind))
        .collect()
}

/// What an outcome says, in the order of the columns.
pub(crate) fn values(outcome: Outcome) -> Vec<(Name, Value)> {
    let mut values = Vec::with_capacity(8);
    match outcome {
        Outcome::Failure { error, .. } => values.push((ERROR.into(), Value::Text(error))),
        Outcome::Answer(Answer::Single(one)) => {
            of_model(&mut values, &ONE, &one);
            values.push((ONE.tokens.into(), Value::Integer(one.tokens)));
            values.push((ONE.truncated.into(), Value::Bool(one.truncated)));
        }
        Outcome::Answer(Answer::Pair(pair)) => {
            let sides = [(&CHOSEN, &pair.chosen), (&REJECTED, &pair.rejected)];
            for (names, side) in sides {
                of_model(&mut values, names, side);
            }
            if let Some(margin) = pair.margin {
                values.push(("margin".into(), Value::Float(margin)));
            }
            if let Some(margins) = &pair.margins {
                by_label(&mut values, "margins", margins);
            }
            if let Some(probability) = pair.probability {
                values.push(("probability".into(), Value::Float(probability)));
            }
            for (names, side) in sides {
                values.push((names.tokens.into(), Value::Integer(side.tokens)));
            }
            for (names, side) in sides {
                values.push((names.truncated.into(), Value::Bool(side.truncated)));
            }
        }
        Outcome::Answer(Answer::Candidates(all)) => candidates(&mut values, &all),
    }
    values
}

fn candidates(values: &mut Vec<(Name, Value)>, all: &ScoredCandidates) {
    for (names, group) in [
        (&ONE, None),
        (&CHOSEN, Some(Group::Chosen)),
        (&REJECTED, Some(Group::Rejected)),
    ] {
        let members = all.candidates.iter().filter(|one| one.group == group);
        let members: Vec<_> = members.map(|one| &one.scored).collect();
        let Some(first) = members.first() else {
            continue;
        };
        if first.score.is_some() {
            let scores = members.iter().filter_map(|one| one.score).collect();
            values.push((names.scores.into(), Value::Floats(scores)));
        }
        for (index, (label, _)) in first.scores.iter().flat_map(|all| &all.0).enumerate() {
            let of_label = |one: &&ScoredConversation| Some(one.scores.as_ref()?.0.get(index)?.1);
            let scores = members.iter().filter_map(of_label).collect();
            let name = format!("{}.{label}", names.scores);
            values.push((name.into(), Value::Floats(scores)));
        }
        if first.steps.is_some() {
            let steps = members.iter().filter_map(|one| one.steps.clone()).collect();
            values.push((names.steps.into(), Value::Lists(steps)));
        }
        let tokens = members.iter().map(|one| one.tokens).collect();
        values.push((names.tokens.into(), Value::Integers(tokens)));
        let truncated = members.iter().any(|one| one.truncated);
        values.push((names.truncated.into(), Value::Bool(truncated)));
    }
    if let Some(best) = all.best {
        values.push(("best".into(), Value::Integer(best)));
    }
}

fn of_model(values: &mut Vec<(Name, Value)>, names: &Names, scored: &ScoredConversation) {
    if let Some(score) = scored.score {
        values.push((names.score.into(), Value::Float(score)));
    }
    if let Some(scores) = &scored.scores {
        by_label(values, names.scores, scores);
    }
    if let Some(steps) = &scored.steps {
        values.push((names.steps.into(), Value::Floats(steps.clone())));
    }
}

fn by_label(values: &mut Vec<(Name, Value)>, name: &str, labels: &ByLabel) {
    for (label, value) in &labels.0 {
        values.push((format!("{name}.{label}").into(), Value::Float(*value)));
    }
}

impl Value {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Float(_) => Kind::Float,
            Self::Integer(_) => Kind::Integer,
            Self::Bool(_) => Kind::Bool,
            Self::Floats(_) => Kind::Floats,
            Self::Integers(_) => Kind::Integers,
            Self::Lists(_) => Kind::Lists,
            Self::Text(_) => Kind::Text,
        }
    }

    /// As JSON has it; `None` for one that it leaves out.
    pub(crate) fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Float(value) => number(*value),
            Self::Integer(value) => (*value).into(),
            Self::Bool(false) => return None,
            Self::Bool(true) => true.into(),
            Self::Floats(values) => floats(values),
            Self::Integers(values) => Json::Array(values.iter().map(|&n| n.into()).collect()),
            Self::Lists(lists) => Json::Array(lists.iter().map(|list| floats(list)).collect()),
            Self::Text(text) => text.as_str().into(),
        })
    }
}

fn floats(values: &[f64]) -> Json {
    Json::Array(values.iter().copied().map(number).collect())
}

fn number(value: f64) -> Json {
    serde_json::Number::from_f64(value).map_or(Json::Null, |number| Json::Number(number.into()))
}
