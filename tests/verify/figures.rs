//! The figures of `verify --against`, computed again in plain ways.

use std::collections::BTreeMap;

use serde_json::{Value, json};

fn mean(values: &[f64]) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let n = values.len() as f64;
    values.iter().sum::<f64>() / n
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let centre = |values: &[f64]| -> Vec<f64> {
        let mean = mean(values);
        values.iter().map(|value| value - mean).collect()
    };
    let (a, b) = (centre(a), centre(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// For each number, how many are smaller, and half of those that are equal.
#[allow(clippy::cast_precision_loss)]
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let smaller = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        smaller as f64 + equal as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

fn check(what: &str, found: &Value, expected: f64) {
    let found = found
        .as_f64()
        .unwrap_or_else(|| panic!("{what} is {found}"));
    let off = (found - expected).abs();
    assert!(
        off <= 1e-6 * expected.abs().max(1e-3),
        "{what}: {found}, and {expected} by hand"
    );
}

fn check_differences(what: &str, found: &Value, differences: &[f64]) {
    assert_eq!(found["n"], differences.len(), "{what}");
    let absolute: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    let squares: Vec<f64> = differences.iter().map(|d| d * d).collect();
    check(&format!("{what}: mean"), &found["mean"], mean(differences));
    check(
        &format!("{what}: mean_abs"),
        &found["mean_abs"],
        mean(&absolute),
    );
    let max = absolute.iter().copied().fold(0.0, f64::max);
    check(&format!("{what}: max_abs"), &found["max_abs"], max);
    check(
        &format!("{what}: rms"),
        &found["rms"],
        mean(&squares).sqrt(),
    );
}

fn number(line: &Value, path: &str) -> f64 {
    line.pointer(path).and_then(Value::as_f64).unwrap()
}

/// All that the report says, from the lines that `score` prints for both bundles.
pub(crate) fn check_report(report: &Value, records: &[Value], a: &[Value], b: &[Value]) {
    let (mut scores, mut margins) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut flips = Vec::new();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, record) in records.iter().enumerate() {
        let both = [&a[i], &b[i]];
        if a[i].get("score").is_some() {
            let prompt = record.get("prompt").map(ToString::to_string).or_else(|| {
                let messages = record.get("messages").unwrap_or(record);
                Some(messages[0]["content"].to_string())
            });
            groups.entry(prompt.unwrap()).or_default().push(i);
            scores
                .iter_mut()
                .zip(both)
                .for_each(|(s, line)| s.push(number(line, "/score")));
            continue;
        }
        let margin = |line| number(line, "/chosen/score") - number(line, "/rejected/score");
        for (bundle, line) in both.into_iter().enumerate() {
            scores[bundle].push(number(line, "/chosen/score"));
            scores[bundle].push(number(line, "/rejected/score"));
            margins[bundle].push(margin(line));
        }
        if (margin(both[0]) > 0.0) != (margin(both[1]) > 0.0) {
            flips.push(i + 1);
        }
    }
    let subtract =
        |[a, b]: &[Vec<f64>; 2]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let found = &report["labels"][0];
    check_differences("scores", &found["scores"], &subtract(&scores));
    check(
        "pearson",
        &found["scores"]["pearson"],
        correlation(&scores[0], &scores[1]),
    );
    let spearman = correlation(&ranks(&scores[0]), &ranks(&scores[1]));
    check("spearman", &found["scores"]["spearman"], spearman);
    let largest = &found["scores"]["largest"][0];
    let line = usize::try_from(largest["line"].as_u64().unwrap()).unwrap() - 1;
    let path = match largest.get("side") {
        None => "/score".to_owned(),
        Some(side) => format!("/{}/score", side.as_str().unwrap()),
    };
    let furthest = (number(&a[line], &path) - number(&b[line], &path)).abs();
    check("largest", &found["scores"]["max_abs"], furthest);
    assert_eq!(largest.get("id"), records[line].get("id"));

    check_differences("margins", &found["pairs"]["margins"], &subtract(&margins));
    for (bundle, margins) in ["model", "against"].iter().zip(&margins) {
        let wins: Vec<f64> = margins
            .iter()
            .map(|m| if *m > 0.0 { 1.0 } else { 0.0 })
            .collect();
        check("accuracy", &found["pairs"]["accuracy"][bundle], mean(&wins));
    }
    let told = found["pairs"]["flips"].as_array().unwrap();
    let told: Vec<&Value> = told.iter().map(|flip| &flip["line"]).collect();
    assert_eq!(
        told,
        flips
            .iter()
            .map(|line| json!(line))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );

    groups.retain(|_, members| members.len() > 1);
    let found = &found["groups"];
    let (mut changed, mut opposite, mut twos, mut taus) = (0, 0, 0, Vec::new());
    for members in groups.values() {
        let of = |lines: &[Value]| -> Vec<f64> {
            members
                .iter()
                .map(|&i| number(&lines[i], "/score"))
                .collect()
        };
        let (a, b) = (of(a), of(b));
        let best = |scores: &[f64]| {
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            scores.iter().position(|score| *score == highest)
        };
        changed += usize::from(best(&a) != best(&b));
        let (mut here, mut sum) = (0, 0.0);
        for i in 0..members.len() {
            for j in 0..i {
                let agreement = (a[i] - a[j]) * (b[i] - b[j]);
                assert!(agreement != 0.0, "the test's scores have no ties");
                here += 1;
                sum += agreement.signum();
                opposite += usize::from(agreement < 0.0);
            }
        }
        twos += here;
        taus.push(sum / f64::from(here));
    }
    assert_eq!(found["prompts"], groups.len());
    assert_eq!(
        found["answers"],
        groups.values().map(Vec::len).sum::<usize>()
    );
    assert_eq!(found["best_changed"].as_array().unwrap().len(), changed);
    assert_eq!(found["twos"]["all"], twos);
    assert_eq!(found["twos"]["opposite_order"], opposite);
    check("kendall", &found["kendall_tau_b"], mean(&taus));
}
