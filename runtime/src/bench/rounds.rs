//! Scoring a whole workload, and what the stages did meanwhile.

use std::collections::BTreeMap;

use super::{
    BenchError, LoadReport, RoundReport, StageLoadReport, StageReport, StepsReport,
    ThroughputReport, Workload,
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
    for ((), rewards) in stream.by_ref() {
        for reward in rewards {
            match reward {
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

/// Shares of tokenising and planning, of which these are the seconds.
pub(super) fn steps([tokenising, planning]: [f64; 2], seconds: f64) -> StepsReport {
    let share = |time| rate(time, seconds).unwrap_or(0.0);
    StepsReport {
        tokenise_share: share(tokenising),
        plan_share: share(planning),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use worldpm_ort_bundle::Device;

    use super::*;
    use crate::{
        bench::work::tests::{WIDTH, attention, run},
        engine::{StageLoad, StageRun},
    };

    #[test]
    fn every_stage_of_every_copy_has_its_own() {
        let zero = Instant::now();
        let second = |seconds| zero + Duration::from_secs(seconds);
        let phase = |from, to| Phase {
            name: String::new(),
            started: second(from),
            ended: second(to),
        };
        let ran = |(replica, stage), rows: &[usize], from, to| StageRun {
            replica,
            stage,
            started: second(from),
            ended: second(to),
            ..run(rows)
        };
        let events = Events {
            runs: vec![
                // Before, between and behind the rounds: these do not count.
                ran((0, 0), &[100], 0, 5),
                ran((0, 0), &[5], 10, 11),
                ran((0, 1), &[5], 11, 15),
                ran((0, 0), &[100], 20, 25),
                ran((1, 1), &[3, 4], 31, 33),
                ran((1, 1), &[7], 33, 34),
                StageRun {
                    failed: true,
                    ..ran((1, 0), &[9], 30, 31)
                },
                ran((0, 0), &[100], 40, 45),
            ],
            loads: vec![StageLoad {
                stage: 1,
                replica: 0,
                started: second(8),
                ended: second(12),
                failed: false,
            }],
            phases: Vec::new(),
        };
        let copy = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let devices = [copy(["cpu", "cpu"]), copy(["cuda:0", "cuda:1"])];
        let mut work = Work::of(Device::Cpu, vec![attention(), attention()]);
        let rounds = [phase(10, 20), phase(30, 40)];
        let found = stages(&events, &rounds, &devices, &mut work).unwrap();

        let busy = [(0, 0, "cpu", 1.0), (0, 1, "cpu", 4.0)];
        let others = [(1, 0, "cuda:0", 1.0), (1, 1, "cuda:1", 3.0)];
        let places = busy.into_iter().chain(others);
        for (stage, (replica, number, device, seconds)) in found.iter().zip(places) {
            assert_eq!((stage.replica, stage.stage), (replica, number));
            assert_eq!(stage.device, device);
            assert_eq!(stage.busy_seconds, seconds, "{stage:?}");
            assert_eq!(stage.busy_share, seconds / 20.0, "{stage:?}");
        }
        let packs: Vec<_> = found
            .iter()
            .map(|stage| (stage.packs, stage.tokens))
            .collect();
        assert_eq!(packs, [(1, 5), (1, 5), (0, 0), (2, 14)]);
        let flops: Vec<_> = found.iter().map(|stage| stage.flops).collect();
        let attention = [25, 25, 0, 9 + 16 + 49].map(|squares| 2 * WIDTH * squares);
        assert_eq!(flops, attention);
        assert_eq!(found[3].flops_per_second, Some(attention[3] as f64 / 3.0));
        // Two of the four seconds of the load were in a round.
        let loading: Vec<_> = found.iter().map(|stage| stage.loading_share).collect();
        assert_eq!(loading, [0.0, 0.1, 0.0, 0.0]);
        assert_eq!(found[1].idle_share, 1.0 - 0.2 - 0.1);
    }

    #[test]
    fn rates_are_of_the_round_in_the_middle() {
        let round = |seconds, factor: usize| RoundReport {
            seconds,
            scored: 2 * factor,
            failed: factor,
            packs: factor,
            real_tokens: 30 * factor,
            unique_tokens: 20 * factor,
            padded_tokens: 50 * factor,
        };
        let found = throughput(vec![round(1.0, 1), round(2.0, 10), round(4.0, 8)]);
        assert_eq!(found.conversations_per_second, 4.0);
        assert_eq!(found.real_tokens_per_second, 60.0);
        assert_eq!(found.unique_tokens_per_second, 40.0);
        assert_eq!(found.padded_tokens_per_second, 100.0);
        assert_eq!(found.rounds.len(), 3);
    }
}
