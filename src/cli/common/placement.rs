//! Where a model was loaded, in words.

use std::time::Duration;

use crate::{MatmulPrecision, Scorer, ep::Provider};

/// What was loaded, where, why there, and in what time.
pub(crate) fn loaded(scorer: &Scorer, time: Duration) -> String {
    let done = match scorer.is_streamed() {
        true => "opened",
        false => "loaded",
    };
    format!(
        "{} {}, {done} in {:.1} s",
        scorer.manifest().model.architecture,
        placement(scorer),
        time.as_secs_f64()
    )
}

/// The devices of the stages, each named once for every copy of the model, and why they were taken.
pub(crate) fn placement(scorer: &Scorer) -> String {
    let copies = scorer.providers();
    let names = |copy: &Vec<Provider>| {
        let mut names: Vec<String> = copy.iter().map(ToString::to_string).collect();
        names.dedup();
        names.join(", ")
    };
    let devices: Vec<String> = copies.iter().map(names).collect();
    let stages = match copies.first().map_or(0, Vec::len) {
        1 => "one stage".to_owned(),
        stages => format!("{stages} stages"),
    };
    let copies = match copies.len() {
        1 => String::new(),
        copies => format!(", {copies} copies"),
    };
    let reason = scorer
        .placement_reason()
        .map_or(String::new(), |reason| format!(", {reason}"));
    let (residency, why) = match scorer.is_streamed() {
        true => (", streamed", scorer.residency_reason()),
        false => ("", scorer.residency_reason()),
    };
    let precision = match scorer.matmul_precision() {
        MatmulPrecision::Highest => String::new(),
        precision => format!(", {precision} precision of products"),
    };
    format!(
        "on {}{reason}{copies}, {stages}{residency} ({why}){precision}",
        devices.join(" | ")
    )
}
