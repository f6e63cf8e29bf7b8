//! Scoring a whole workload, and what the stages did meanwhile.

use std::collections::BTreeMap;

use super::{
    BenchError, LoadReport, RoundReport, StageLoadReport, StageReport, ThroughputReport, Workload,
    record::{Events, Phase},
    statistics::{median, rate},
    work::Work,
};
use crate::{Error, Scorer, batch::PlanStats};

/// What came of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    scored: usize,
    failed: usize,
    stats: PlanStats,
}

/// Scores everything once.
pub(super) fn run(scorer: &Scorer, workload: &Workload) -> Result<Round, BenchError> {
    let records = workload.records.iter().map(|record| ((), record.clone()));
    let mut stream = scorer.stream(records);
    let (mut scored, mut failed) = (0, 0);
    let mut first: Option<Error> = None;
    for ((), evaluations) in stream.by_ref() {
        for evaluation in evaluations {
            match evaluation {
                Ok(_) => scored += 1,
                Err(error) => {
                    failed += 1;
                    first.get_or_insert(error);
                }
            }
        }
    }
    match first {
        Some(error) if scored == 0 => Err(BenchError::NoneScored(error)),
        _ => Ok(Round {
            scored,
            failed,
            stats: *stream.stats(),
        }),
    }
}

impl Round {
    pub(super) fn report(&self, seconds: f64) -> RoundReport {
        RoundReport {
            seconds,
            scored: self.scored,
            failed: self.failed,
            packs: self.stats.packs,
            real_tokens: self.stats.tokens,
            unique_tokens: self.stats.unique_tokens,
            padded_tokens: self.stats.cells,
        }
    }
}

/// The rates of the round in the middle.
pub(super) fn throughput(rounds: Vec<RoundReport>) -> ThroughputReport {
    let middle = |count: fn(&RoundReport) -> usize| {
        let rates = rounds
            .iter()
            .filter_map(|round| rate(count(round) as f64, round.seconds));
        median(&rates.collect::<Vec<_>>()).unwrap_or(0.0)
    };
    ThroughputReport {
        conversations_per_second: middle(|round| round.scored),
        real_tokens_per_second: middle(|round| round.real_tokens),
        unique_tokens_per_second: middle(|round| round.unique_tokens),
        padded_tokens_per_second: middle(|round| round.padded_tokens),
        rounds,
    }
}

/// The first loading of each stage. A streamed stage is loaded again and again.
pub(super) fn loads(events: &Events, seconds: f64) -> LoadReport {
    let mut first = BTreeMap::new();
    for load in &events.loads {
        let took = load.ended.saturating_duration_since(load.started);
        first.entry((load.replica, load.stage)).or_insert(took);
    }
    let stages = first
        .into_iter()
        .map(|((replica, stage), took)| StageLoadReport {
            replica,
            stage,
            seconds: took.as_secs_f64(),
        });
    LoadReport {
        seconds,
        stages: stages.collect(),
    }
}

/// What each stage of each copy of the model did in the time of `phases`. `devices` are those of the stages of each copy.
pub(super) fn stages(
    events: &Events,
    phases: &[Phase],
    devices: &[Vec<String>],
    work: &mut Work,
) -> Result<Vec<StageReport>, BenchError> {
    let seconds: f64 = phases.iter().map(Phase::seconds).sum();
    let within = |started, ended| -> f64 {
        phases
            .iter()
            .map(|phase| phase.overlap(started, ended))
            .sum()
    };
    let mut stages: BTreeMap<(usize, usize), StageReport> = BTreeMap::new();
    for (replica, copy) in devices.iter().enumerate() {
        for (stage, device) in copy.iter().enumerate() {
            let report = StageReport {
                replica,
                stage,
                device: device.clone(),
                packs: 0,
                tokens: 0,
                flops: 0,
                flops_per_second: None,
                busy_seconds: 0.0,
                busy_share: 0.0,
                loading_share: 0.0,
                idle_share: 0.0,
            };
            stages.insert((replica, stage), report);
        }
    }
    for run in &events.runs {
        let busy = within(run.started, run.ended);
        // A round ends when it has all scores, so a run lies in it or outside.
        if busy == 0.0 {
            continue;
        }
        if let Some(stage) = stages.get_mut(&(run.replica, run.stage)) {
            stage.busy_seconds += busy;
            if !run.failed {
                stage.packs += 1;
                stage.tokens += run.tokens;
                stage.flops += work.flops(run)?;
            }
        }
    }
    for load in &events.loads {
        if let Some(stage) = stages.get_mut(&(load.replica, load.stage)) {
            let loading = within(load.started, load.ended);
            stage.loading_share += rate(loading, seconds).unwrap_or(0.0);
        }
    }
    Ok(stages
        .into_values()
        .map(|mut stage| {
            stage.flops_per_second = rate(stage.flops as f64, stage.busy_seconds);
            stage.busy_share = rate(stage.busy_seconds, seconds).unwrap_or(0.0);
            stage.idle_share = 1.0 - stage.busy_share - stage.loading_share;
            stage
        })
        .collect())
}
