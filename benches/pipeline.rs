//! How near the pipeline comes to the rate of its slowest stage: the engine's own threads and channels, over devices
//! that only pass the time. `make bench-pipeline`, or:
//!
//! ```text
//! cargo bench --bench pipeline -- [PACKS]
//! ```
//!
//! A pipeline that stays below 97% gets two more attempts, since whatever else the machine does counts against it, and
//! the best counts. Ends with status 1 when one stays below in all three.

#![allow(clippy::print_stdout)]

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use worldpm_ort::{
    bench::statistics::rate,
    engine::testing::{SimulatedStage, simulate},
};

/// The least share of the slowest stage's rate.
const LEAST: f64 = 0.97;
/// Most attempts.
const ATTEMPTS: usize = 3;
/// Packs after the pipeline has filled.
const PACKS: usize = 100;
/// The time of a stage, copies included, where all take the same.
const TIME: Duration = Duration::from_millis(20);

/// How the times of the stages differ.
#[derive(Clone, Copy, Debug)]
enum Balance {
    /// All take the same.
    Even,
    /// The first takes a quarter more.
    FirstSlow,
    /// The last takes a quarter more.
    LastSlow,
    /// They take from half as long up to the full time, by turns.
    Mixed,
    /// A tenth of the time is copying.
    Copies,
}

const BALANCES: [Balance; 5] = [
    Balance::Even,
    Balance::FirstSlow,
    Balance::LastSlow,
    Balance::Mixed,
    Balance::Copies,
];

impl Balance {
    fn stages(self, count: usize) -> Vec<SimulatedStage> {
        let stage = |index: usize| {
            let (copy, compute) = match self {
                Self::FirstSlow if index == 0 => (Duration::ZERO, TIME * 5 / 4),
                Self::LastSlow if index + 1 == count => (Duration::ZERO, TIME * 5 / 4),
                Self::Mixed => (Duration::ZERO, TIME * (2 + (index % 3) as u32) / 4),
                // The first stage gets no hidden states.
                Self::Copies if index > 0 => (TIME / 10, TIME),
                Self::Even | Self::FirstSlow | Self::LastSlow | Self::Copies => {
                    (Duration::ZERO, TIME)
                }
            };
            SimulatedStage { copy, compute }
        };
        (0..count).map(stage).collect()
    }
}

/// The best share of a few attempts, of which the first that is enough is the last.
fn best_share(stages: &[SimulatedStage], packs: usize) -> Result<f64> {
    let mut best = 0.0_f64;
    for _ in 0..ATTEMPTS {
        best = best.max(share(stages, packs)?);
        if best >= LEAST {
            break;
        }
    }
    Ok(best)
}

/// The share of the slowest stage's rate that the pipeline reaches once it is full.
fn share(stages: &[SimulatedStage], packs: usize) -> Result<f64> {
    let fill = stages.len();
    let ends = simulate(stages, fill + packs)?;
    ensure!(ends.len() == fill + packs, "the pipeline has lost packs");
    let (begin, end) = (ends[fill - 1], ends[ends.len() - 1]);
    let reached = rate(packs as f64, end.duration_since(begin).as_secs_f64());
    let slowest = stages.iter().map(SimulatedStage::time).max();
    let slowest = slowest.context("no stages")?.as_secs_f64();
    Ok(reached.context("no time passed")? * slowest)
}

fn main() -> Result<ExitCode> {
    // Cargo adds `--bench`.
    let packs = env::args().skip(1).find(|argument| argument != "--bench");
    let packs = packs.map_or(Ok(PACKS), |packs| packs.parse().context("PACKS"))?;
    println!("share of the slowest stage's rate after fill, over {packs} packs");
    let mut lowest = f64::INFINITY;
    for balance in BALANCES {
        let name = format!("{balance:?}");
        print!("{name:>10}");
        for count in [2, 3, 4, 6, 8, 12, 16] {
            let share = best_share(&balance.stages(count), packs)?;
            lowest = lowest.min(share);
            print!("  {count:>2} stages {:5.1}%", 100.0 * share);
        }
        println!();
    }
    println!("lowest: {:.1}%", 100.0 * lowest);
    if lowest < LEAST {
        println!("below {:.0}%", 100.0 * LEAST);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
