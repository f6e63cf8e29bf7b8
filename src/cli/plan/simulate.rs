//! `worldpm-ort plan --simulate`.

use std::io::Write;

use anyhow::Result;
use worldpm_ort_bundle::Bytes;
use worldpm_ort_export::plan::{
    LINKS, Link, Plan, Prepared, Simulation, SimulationOptions, simulation,
};

use crate::cli::common::{
    heading,
    table::{Side, Table},
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::SIMULATION)]
pub(crate) struct SimulateArgs {
    /// Run packs through the plan's pipeline in simulated time: fill, waiting, copies, and the rate that it reaches
    #[arg(long)]
    pub(crate) simulate: bool,
    /// Packs that go through each pipeline [default: 200]
    #[arg(long, value_name = "N", requires = "simulate")]
    packs: Option<usize>,
    /// By how much packs differ in size: 0.3 for 70% to 130% of the usual [default: 0]
    #[arg(long, value_name = "SHARE", requires = "simulate", value_parser = below_one)]
    pack_spread: Option<f64>,
    /// Milliseconds that each stage takes for a pack, where they were measured [default: the plan's estimates]
    #[arg(long, value_name = "MS", value_delimiter = ',', requires = "simulate", value_parser = number)]
    stage_ms: Vec<f64>,
    /// The device of each stage, as in 0,0,1,1: stages of one device take turns [default: each has its own]
    #[arg(long, value_name = "N", value_delimiter = ',', requires = "simulate")]
    stage_devices: Vec<usize>,
    /// What joins the devices: pcie3, pcie4, pcie5, nvlink-bridge, nvlink3, nvlink4, nvlink5 (at 80% of their rates), or
    /// a measured rate in one direction, as in 24GB/s [default: pcie4]
    #[arg(long, value_name = "LINK", requires = "simulate")]
    link: Option<Link>,
    /// Microseconds before the first byte of a copy [default: 20]
    #[arg(long, value_name = "US", requires = "simulate", value_parser = number)]
    link_latency: Option<f64>,
}

const PACKS: usize = 200;
const LATENCY: f64 = 20.0;

impl SimulateArgs {
    /// The simulation of a plan, when it is asked for.
    pub(crate) fn run(&self, model: &Prepared, plan: &Plan) -> Result<Option<Simulation>> {
        if !self.simulate {
            return Ok(None);
        }
        let [_, pcie4, ..] = LINKS;
        let options = SimulationOptions {
            packs: self.packs.unwrap_or(PACKS),
            spread: self.pack_spread.unwrap_or(0.0),
            times: (!self.stage_ms.is_empty())
                .then(|| self.stage_ms.iter().map(|ms| ms / 1e3).collect()),
            devices: (!self.stage_devices.is_empty()).then(|| self.stage_devices.clone()),
            link: match self.link {
                Some(link) => link,
                None => pcie4.name.parse()?,
            },
            latency: self.link_latency.unwrap_or(LATENCY) / 1e6,
        };
        Ok(Some(simulation(model, plan, &options)?))
    }
}

pub(crate) fn print(output: &mut impl Write, simulation: &Simulation) -> Result<()> {
    let Simulation {
        packs,
        tokens,
        devices,
        times,
        traffic,
        outcome,
        ..
    } = simulation;
    writeln!(
        output,
        "\nsimulation: {packs} packs of {tokens} unique tokens through each pipeline of {} stages\n",
        times.len()
    )?;
    let mut table = Table::new([
        ("stage", Side::Right),
        ("device", Side::Right),
        ("ms a pack", Side::Right),
        ("works", Side::Right),
        ("copies", Side::Right),
        ("queue full", Side::Right),
        ("no turn", Side::Right),
        ("no pack", Side::Right),
    ]);
    let share = |seconds: f64| format!("{:.1}%", 100.0 * seconds / outcome.total);
    for (index, used) in outcome.stages.iter().enumerate() {
        table.row([
            index.to_string(),
            devices[index].to_string(),
            format!("{:.1}", times[index] * 1e3),
            share(used.busy),
            share(used.copying),
            share(used.blocked),
            share(used.turn),
            share(used.starved),
        ]);
    }
    write!(output, "{table}")?;
    let idle: f64 = outcome.idle.iter().map(|(_, idle)| idle).sum();
    writeln!(
        output,
        "\nfill: {:.1} ms; then a pack every {:.1} ms; {:.2} s in all; devices idle {:.1}% of the time\n\
         copies: {} of {} a pack, {:.2} ms each\n\
         predicted: {:.0} unique tokens a second, {:.0} once full; the busiest device alone would let {:.0} through",
        outcome.fill * 1e3,
        outcome.steady * 1e3,
        outcome.total,
        100.0 * idle / outcome.idle.len() as f64,
        traffic.copies,
        Bytes(traffic.bytes),
        traffic.seconds * 1e3,
        simulation.tokens_per_second,
        simulation.steady_tokens_per_second,
        simulation.bound_tokens_per_second,
    )?;
    writeln!(output, "\nassumptions of the simulation:")?;
    for assumption in &simulation.assumptions {
        writeln!(output, "- {assumption}")?;
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number >= 0.0 => Ok(number),
        _ => Err("give a number, 0 or more".to_owned()),
    }
}

fn below_one(text: &str) -> Result<f64, String> {
    let share = number(text).ok().filter(|share| *share < 1.0);
    share.ok_or_else(|| "give a number from 0 to below 1".to_owned())
}
