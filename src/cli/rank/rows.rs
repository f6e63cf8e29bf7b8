//! The rows of ranked candidates.

use serde_json::Value;

use super::{
    args::RankArgs,
    group::{Candidates, Label},
    order,
    scores::Scores,
};
use crate::{
    answers::ScoredConversation,
    json::{Json, Object},
    records::Group,
};

/// The rows of candidates with their scores, in order; as many as the options ask for. Those of a table have all fields.
pub(super) fn rows(
    args: &RankArgs,
    candidates: &Candidates,
    scores: &Scores,
    is_table: bool,
) -> serde_json::Result<Vec<Object>> {
    let Scores { scored, scores } = scores;
    let score = |index: usize| Json::from(Value::from(scores[index]));
    let named = || named(args, candidates);
    if let Some(way) = args.pairs {
        let pairs = order::pairs(scores, way, args.margin, args.threshold);
        let row = |(chosen, rejected)| {
            let mut fields = candidates.with_prompt(named());
            fields.insert("chosen", candidates.answer(chosen));
            fields.insert("rejected", candidates.answer(rejected));
            fields.insert("score_chosen", score(chosen));
            fields.insert("score_rejected", score(rejected));
            fields
        };
        return Ok(pairs.into_iter().map(row).collect());
    }
    let mut order = order::ranked(scores);
    order.retain(|&index| {
        args.threshold
            .is_none_or(|threshold| scores[index] >= threshold)
    });
    if args.best {
        let row = |&best: &usize| {
            let mut fields = candidates.with_prompt(named());
            fields.insert("completion", candidates.answer(best));
            fields.insert("score", score(best));
            fields
        };
        return Ok(order.first().map(row).into_iter().collect());
    }
    if let Some(top) = args.top {
        order.truncate(top.get());
    }
    let ranked = order
        .into_iter()
        .map(|index| candidate(index, &candidates.labels[index], &scored[index], is_table));
    let mut fields = named();
    fields.insert("ranked", ranked.collect::<serde_json::Result<Vec<_>>>()?);
    Ok(vec![fields])
}

/// The row of candidates that are not ranked.
pub(super) fn failure(candidates: &Candidates, problem: &str) -> Object {
    let entry = &candidates.first.entry;
    let mut fields = Object::new();
    if let Some(id) = &entry.id {
        fields.insert("id", id.clone());
    }
    fields.insert("line", entry.line);
    fields.insert("error", problem);
    fields
}

/// Columns that a table of such rows has whatever its first rows have, with values of their types.
pub(super) fn columns(args: &RankArgs) -> Object {
    let number = || Json::from(Value::from(0.5));
    let mut fields = Object::new();
    if args.pairs.is_some() {
        fields.insert("score_chosen", number());
        fields.insert("score_rejected", number());
    } else if args.best {
        fields.insert("score", number());
    } else {
        let mut candidate = Object::new();
        candidate.insert("index", 0);
        candidate.insert("group", "chosen");
        candidate.insert("score", number());
        candidate.insert("tokens", 0);
        candidate.insert("truncated", false);
        fields.insert("ranked", vec![Json::from(candidate)]);
    }
    if args.keep_going {
        fields.insert("line", 0);
        fields.insert("error", "");
    }
    fields
}

/// A candidate of a ranking: its place in the record, or in the group of records, from 0, and how it is named.
fn candidate(
    index: usize,
    label: &Label,
    scored: &ScoredConversation,
    is_table: bool,
) -> serde_json::Result<Json> {
    let mut fields = Object::new();
    fields.insert("index", index);
    if let Some(id) = &label.id {
        fields.insert("id", id.clone());
    }
    if let Some(group) = label.group {
        fields.insert(
            "group",
            match group {
                Group::Chosen => "chosen",
                Group::Rejected => "rejected",
            },
        );
    }
    if let Value::Object(scored) = serde_json::to_value(scored)? {
        for (name, value) in scored {
            fields.insert(name, value);
        }
    }
    if is_table {
        fields.insert("truncated", scored.truncated);
    }
    Ok(fields.into())
}

/// What a row begins with: the record's `id`, or the value of the column that groups were made by.
fn named(args: &RankArgs, candidates: &Candidates) -> Object {
    let mut fields = Object::new();
    match (&args.group_by, &candidates.key) {
        (Some(column), Some(key)) => {
            fields.insert(column.clone(), key.clone());
        }
        _ => {
            if let Some(id) = &candidates.first.entry.id {
                fields.insert("id", id.clone());
            }
        }
    }
    fields
}
