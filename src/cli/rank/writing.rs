//! The lines of ranked candidates.

use serde_json::Value;

use super::{
    args::RankArgs,
    group::{Candidates, Label},
    order,
};
use crate::{
    answers::ScoredConversation,
    json::{Json, Object},
    records::Group,
};

/// The lines of candidates with their scores, in order; as many as the options ask for.
pub(super) fn lines(
    args: &RankArgs,
    candidates: &Candidates,
    scored: &[ScoredConversation],
    scores: &[f64],
) -> serde_json::Result<Vec<Vec<u8>>> {
    let score = |index: usize| Json::from(Value::from(scores[index]));
    let named = || named(args, candidates);
    if let Some(way) = args.pairs {
        let pairs = order::pairs(scores, way, args.margin, args.threshold);
        let line = |(chosen, rejected)| {
            let mut fields = candidates.with_prompt(named());
            fields.insert("chosen", candidates.answer(chosen));
            fields.insert("rejected", candidates.answer(rejected));
            fields.insert("score_chosen", score(chosen));
            fields.insert("score_rejected", score(rejected));
            serde_json::to_vec(&fields)
        };
        return pairs.into_iter().map(line).collect();
    }
    let mut order = order::ranked(scores);
    order.retain(|&index| {
        args.threshold
            .is_none_or(|threshold| scores[index] >= threshold)
    });
    if args.best {
        let line = |&best: &usize| {
            let mut fields = candidates.with_prompt(named());
            fields.insert("completion", candidates.answer(best));
            fields.insert("score", score(best));
            serde_json::to_vec(&fields)
        };
        return order.first().map(line).into_iter().collect();
    }
    if let Some(top) = args.top {
        order.truncate(top.get());
    }
    let ranked = order
        .into_iter()
        .map(|index| candidate(index, &candidates.labels[index], &scored[index]));
    let mut fields = named();
    fields.insert("ranked", ranked.collect::<serde_json::Result<Vec<_>>>()?);
    Ok(vec![serde_json::to_vec(&fields)?])
}

/// A candidate of a ranking: its place in the record, or in the group of records, from 0, and what it is told by.
fn candidate(index: usize, label: &Label, scored: &ScoredConversation) -> serde_json::Result<Json> {
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
    Ok(fields.into())
}

/// What a line begins with: the record's `id`, or the value of the column that groups were made by.
fn named(args: &RankArgs, candidates: &Candidates) -> Object {
    let mut fields = Object::new();
    match (&args.group_by, &candidates.key) {
        (Some(column), Some(key)) => {
            fields.insert(column.clone(), key.clone());
        }
        _ => {
            if let Some(id) = &candidates.first.id {
                fields.insert("id", id.clone());
            }
        }
    }
    fields
}
