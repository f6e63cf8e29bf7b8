//! A plan, simulated: its stages with their times, the copies between them, and what the pipeline reaches.

use serde::Serialize;
use worldpm_ort_bundle::{Bytes, Device};

use super::{
    link::Link,
    report::{Plan, Prepared},
    simulate::{Outcome, SimulatedStage, check_count, pack_sizes, simulate},
};
use crate::error::{Error, Result};

/// Packs that may wait between two stages of the runtime's pipeline.
const QUEUE: usize = 1;

/// How a plan is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulationOptions {
    /// Packs that go through each pipeline.
    pub packs: usize,
    /// By how much packs differ: from `1 - spread` to `1 + spread` of the usual size. 0 for packs of one size.
    pub spread: f64,
    /// Seconds that each stage takes for a pack, where they were measured; else the plan's estimates are taken.
    pub times: Option<Vec<f64>>,
    /// The device of each stage, where stages share devices; else each has its own.
    pub devices: Option<Vec<usize>>,
    /// What joins the devices.
    pub link: Link,
    /// Seconds before the first byte of a copy.
    pub latency: f64,
}

/// The copies between stages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Traffic {
    /// Bytes of a pack's hidden states.
    pub bytes: u64,
    /// Seconds of one copy.
    pub seconds: f64,
    /// Stages that fetch from another device.
    pub copies: usize,
}

/// A simulated plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// Packs through each pipeline.
    pub packs: usize,
    /// Unique tokens of a pack of the usual size.
    pub tokens: u64,
    /// Pipelines side by side.
    pub replicas: usize,
    /// The device of each stage.
    pub devices: Vec<usize>,
    /// Seconds that each stage works on a pack of the usual size.
    pub times: Vec<f64>,
    /// The copies.
    pub traffic: Traffic,
    /// What came out, for one pipeline.
    pub outcome: Outcome,
    /// Unique tokens a second of all pipelines, from the first pack's start to the last one's end.
    pub tokens_per_second: f64,
    /// The same once the pipelines are full.
    pub steady_tokens_per_second: f64,
    /// What the busiest device alone would let through.
    pub bound_tokens_per_second: f64,
    /// What the figures rest on.
    pub assumptions: Vec<String>,
}

/// Simulates a plan of `model`.
///
/// # Errors
/// [`Error::Option`] when there are no times to take, or times or devices for another number of stages, and as
/// [`simulate`].
pub fn simulation(
    model: &Prepared,
    plan: &Plan,
    options: &SimulationOptions,
) -> Result<Simulation> {
    check_count(options.packs)?;
    let count = plan.stages.len();
    let times = times(plan, options)?;
    let devices = match &options.devices {
        Some(devices) => of_stages("stage_devices", devices, count)?.to_vec(),
        None => (0..count).collect(),
    };
    let tokens = plan.pack_tokens;
    let bytes = tokens.saturating_mul(model.hidden_bytes());
    let copy = match model.device() {
        // Hidden states are where every stage reads them.
        Device::Cpu => 0.0,
        Device::Cuda => options.link.seconds(bytes, options.latency),
    };
    let stage = |(index, &work): (usize, &f64)| SimulatedStage {
        work,
        copy: match index {
            0 => 0.0,
            _ if devices[index] == devices[index - 1] => 0.0,
            _ => copy,
        },
        device: devices[index],
    };
    let stages: Vec<SimulatedStage> = times.iter().enumerate().map(stage).collect();
    let sizes = pack_sizes(options.packs, options.spread);
    let outcome = simulate(&stages, &sizes, QUEUE)?;
    let replicas = plan.replicas as f64;
    let all = tokens as f64 * sizes.iter().sum::<f64>();
    Ok(Simulation {
        packs: options.packs,
        tokens,
        replicas: plan.replicas,
        traffic: Traffic {
            bytes,
            seconds: copy,
            copies: stages.iter().filter(|stage| stage.copy > 0.0).count(),
        },
        tokens_per_second: replicas * all / outcome.total,
        steady_tokens_per_second: replicas * tokens as f64 / outcome.steady,
        bound_tokens_per_second: replicas * tokens as f64 / outcome.busiest,
        assumptions: assumptions(plan, options, bytes),
        outcome,
        devices,
        times,
    })
}

fn times(plan: &Plan, options: &SimulationOptions) -> Result<Vec<f64>> {
    if let Some(times) = &options.times {
        return Ok(of_stages("stage_ms", times, plan.stages.len())?.to_vec());
    }
    let estimated = plan.stages.iter().map(|stage| Some(stage.time?.seconds()));
    estimated
        .collect::<Option<Vec<f64>>>()
        .ok_or_else(|| Error::Option {
            option: "stage_ms".to_owned(),
            problem:
                "is needed, since the GPUs and with them the times of the stages are not known; \
                      name the GPUs, or give the time of each stage"
                    .to_owned(),
        })
}

fn of_stages<'a, T>(option: &str, values: &'a [T], stages: usize) -> Result<&'a [T]> {
    if values.len() == stages {
        return Ok(values);
    }
    Err(Error::Option {
        option: option.to_owned(),
        problem: format!(
            "has {} values, and the plan {stages} stages; give one for each, or another number of stages",
            values.len()
        ),
    })
}

fn assumptions(plan: &Plan, options: &SimulationOptions, bytes: u64) -> Vec<String> {
    let mut list = vec![match options.times {
        Some(_) => "the stages take the times that were given".to_owned(),
        None => "the stages take the times that the plan estimates from data sheets".to_owned(),
    }];
    if plan.stages.len() > 1 {
        match plan.device {
            Device::Cpu => {
                list.push("hidden states stay in the host's memory: nothing is copied".to_owned());
            }
            Device::Cuda => list.extend([
                format!(
                    "hidden states of a pack are {}; copies go over {}, after {:.0} microseconds",
                    Bytes(bytes),
                    options.link,
                    options.latency * 1e6
                ),
                "the stage that fetches waits for its copy, and copies do not hold up each other; a driver that goes \
                 through the host's memory needs longer"
                    .to_owned(),
            ]),
        }
        list.push(format!(
            "{QUEUE} pack may wait between two stages; stages of one device take turns"
        ));
    }
    list.push("there is always another pack: tokenising and planning keep up".to_owned());
    if options.spread > 0.0 {
        list.push(format!(
            "packs have {:.0}% to {:.0}% of the usual size, and take work and copies in proportion",
            (1.0 - options.spread) * 100.0,
            (1.0 + options.spread) * 100.0
        ));
    }
    list
}
