//! What `worldpm-ort verify --against` prints.

use std::{fmt::Display, io::Write, path::Path};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cli::common::table::{self, Table},
    json::Json,
    verify::drift::{
        DriftReport, GroupDrift, LabelDrift, PairDrift, RecordName, ScoreDrift, Side,
        stats::Differences,
    },
};

/// Entries of a list that are printed; the JSON form has all of them.
const PRINTED: usize = 10;

pub(crate) fn print(
    output: &mut dyn Write,
    report: &DriftReport,
    [model, against]: [&Path; 2],
) -> Result<()> {
    writeln!(
        output,
        "scores of {} less those of {}",
        model.display(),
        against.display()
    )?;
    writeln!(
        output,
        "{} records, {} compared, {} conversations",
        report.records, report.compared, report.conversations
    )?;
    for (failed, model) in report.failed.into_iter().zip([model, against]) {
        if failed > 0 {
            writeln!(output, "{failed} records not scored by {}", model.display())?;
        }
    }
    if report.other_tokens > 0 {
        writeln!(
            output,
            "{} conversations have another number of tokens with the other bundle",
            report.other_tokens
        )?;
    }
    for label in &report.labels {
        writeln!(output)?;
        if report.labels.len() > 1 {
            writeln!(output, "label {}", label.label)?;
        }
        print_label(output, label)?;
    }
    Ok(())
}

fn print_label(output: &mut dyn Write, drift: &LabelDrift) -> Result<()> {
    let Some(scores) = &drift.scores else {
        writeln!(output, "there are no scores to compare")?;
        return Ok(());
    };
    let mut table = Table::new([
        ("difference of", table::Side::Left),
        ("n", table::Side::Right),
        ("mean", table::Side::Right),
        ("mean abs", table::Side::Right),
        ("max abs", table::Side::Right),
        ("rms", table::Side::Right),
    ]);
    let mut row = |name: &str, d: &Differences| {
        let small = |value: f64| format!("{value:.6}");
        table.row([
            name.to_owned(),
            d.n.to_string(),
            small(d.mean),
            small(d.mean_abs),
            small(d.max_abs),
            small(d.rms),
        ]);
    };
    row("scores", &scores.differences);
    if let Some(pairs) = &drift.pairs {
        row("margins", &pairs.margins);
    }
    write!(output, "{table}")?;
    writeln!(
        output,
        "correlation of scores: Pearson {}, Spearman {}",
        or_undefined(scores.pearson),
        or_undefined(scores.spearman)
    )?;
    if let Some(pairs) = &drift.pairs {
        print_pairs(output, pairs)?;
    }
    if let Some(groups) = &drift.groups {
        print_groups(output, groups)?;
    }
    print_largest(output, scores)
}

fn or_undefined(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.6}"))
}

fn print_pairs(output: &mut dyn Write, pairs: &PairDrift) -> Result<()> {
    let [model, against] = pairs.accuracy.map(|accuracy| 100.0 * accuracy);
    writeln!(
        output,
        "accuracy: {model:.2}%, and {against:.2}% with the other bundle"
    )?;
    writeln!(
        output,
        "pairs whose order changed: {} of {}",
        pairs.flips.len(),
        pairs.margins.n
    )?;
    let flips = pairs.flips.iter().map(|flip| {
        let [model, against] = flip.margins;
        format!("{}: margin {model:.6}, and {against:.6}", flip.record)
    });
    print_list(output, flips)
}

fn print_groups(output: &mut dyn Write, groups: &GroupDrift) -> Result<()> {
    writeln!(
        output,
        "prompts whose best answer changed: {} of {}, which have {} answers",
        groups.best_changed.len(),
        groups.groups,
        groups.answers
    )?;
    let changes = groups.best_changed.iter().map(|change| {
        let [model, against] = &change.best;
        format!("{model}, and {against} with the other bundle")
    });
    print_list(output, changes)?;
    writeln!(
        output,
        "answers to one prompt in opposite order: {} of {} twos; Kendall's tau-b, mean over {} prompts: {}",
        groups.concordance.discordant,
        groups.concordance.pairs,
        groups.prompts_with_tau_b,
        or_undefined(groups.mean_tau_b)
    )?;
    Ok(())
}

fn print_list<T: Display>(
    output: &mut dyn Write,
    mut entries: impl ExactSizeIterator<Item = T>,
) -> Result<()> {
    for entry in entries.by_ref().take(PRINTED) {
        writeln!(output, "  {entry}")?;
    }
    match entries.len() {
        0 => {}
        more => writeln!(output, "  and {more} more")?,
    }
    Ok(())
}

fn print_largest(output: &mut dyn Write, scores: &ScoreDrift) -> Result<()> {
    if scores.largest.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        ("furthest apart", table::Side::Left),
        ("", table::Side::Left),
        ("score", table::Side::Right),
        ("other bundle", table::Side::Right),
        ("difference", table::Side::Right),
    ]);
    for one in &scores.largest {
        let [model, against] = one.scores;
        table.row([
            one.record.to_string(),
            side(one.side).unwrap_or_default().to_owned(),
            format!("{model:.6}"),
            format!("{against:.6}"),
            format!("{:.6}", model - against),
        ]);
    }
    write!(output, "{table}")?;
    Ok(())
}

fn side(side: Side) -> Option<&'static str> {
    match side {
        Side::Whole | Side::Candidate(_) => None,
        Side::Chosen => Some("chosen"),
        Side::Rejected => Some("rejected"),
    }
}

pub(crate) fn to_json(
    report: &DriftReport,
    [model, against]: [&Path; 2],
    text_differences: &[String],
) -> Value {
    let labels = report.labels.iter().map(|drift| {
        json!({
            "label": drift.label,
            "scores": drift.scores.as_ref().map(scores_json),
            "pairs": drift.pairs.as_ref().map(pairs_json),
            "groups": drift.groups.as_ref().map(groups_json),
        })
    });
    json!({
        "model": model,
        "against": against,
        "records": report.records,
        "failed": both(report.failed),
        "compared": report.compared,
        "conversations": report.conversations,
        "text_differences": text_differences,
        "other_tokens": report.other_tokens,
        "labels": labels.collect::<Vec<_>>(),
    })
}

/// A value of each bundle.
fn both<T: Into<Value>>([model, against]: [T; 2]) -> Value {
    json!({"model": model.into(), "against": against.into()})
}

fn record_json(name: &RecordName) -> Value {
    let mut record = json!({"line": name.line});
    if let Some(id) = &name.id {
        record["id"] = id_json(id);
    }
    record
}

/// An id as it was given; a number that would come out as another one becomes a string.
fn id_json(id: &Json) -> Value {
    let text = id.to_string();
    let read = serde_json::from_str::<Value>(&text);
    let same = read.ok().filter(|value| {
        let written = value.to_string();
        written == text
    });
    same.unwrap_or_else(|| Value::from(text))
}

fn differences_json(d: &Differences) -> Value {
    json!({"n": d.n, "mean": d.mean, "mean_abs": d.mean_abs, "max_abs": d.max_abs, "rms": d.rms})
}

fn scores_json(scores: &ScoreDrift) -> Value {
    let mut value = differences_json(&scores.differences);
    value["pearson"] = json!(scores.pearson);
    value["spearman"] = json!(scores.spearman);
    let largest = scores.largest.iter().map(|one| {
        let mut entry = record_json(&one.record);
        if let Some(side) = side(one.side) {
            entry["side"] = json!(side);
        }
        entry["scores"] = both(one.scores);
        entry
    });
    value["largest"] = largest.collect();
    value
}

fn pairs_json(pairs: &PairDrift) -> Value {
    let flips = pairs.flips.iter().map(|flip| {
        let mut entry = record_json(&flip.record);
        entry["margins"] = both(flip.margins);
        entry
    });
    json!({
        "n": pairs.margins.n,
        "margins": differences_json(&pairs.margins),
        "accuracy": both(pairs.accuracy),
        "flips": flips.collect::<Vec<_>>(),
    })
}

fn groups_json(groups: &GroupDrift) -> Value {
    let changes = groups.best_changed.iter();
    let changes = changes.map(|change| both(change.best.each_ref().map(record_json)));
    let twos = groups.concordance;
    json!({
        "prompts": groups.groups,
        "answers": groups.answers,
        "best_changed": changes.collect::<Vec<_>>(),
        "twos": {
            "all": twos.pairs,
            "same_order": twos.concordant,
            "opposite_order": twos.discordant,
        },
        "kendall_tau_b": groups.mean_tau_b,
        "prompts_with_tau_b": groups.prompts_with_tau_b,
    })
}
