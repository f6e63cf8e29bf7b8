//! `worldpm-ort bench`.

mod args;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result};
use worldpm_ort_bundle::Bytes;

use super::common::{
    model,
    outcome::Status,
    output::check_output,
    placement::loaded,
    records::{Entries, RecordArgs, open_input, place},
    table::{Side, Table},
};
pub(crate) use args::BenchArgs;

use crate::bench::{Bench, Report, Workload, statistics::Summary};

pub(crate) fn run(args: &BenchArgs) -> Result<Status> {
    // What cannot be read or written should be known before a model is loaded.
    model::check(&args.model)?;
    let data = args.data.as_deref();
    let data = data.map(|path| read(path, &args.reading)).transpose()?;
    args.timeline.as_deref().map(check_output).transpose()?;
    let profile = match args.profile {
        true => Some(tempfile::tempdir().context("there is no folder for the profile")?),
        false => None,
    };
    let mut options = args.scorer.options();
    options.allow_no_answer = args.reading.allow_no_answer;
    options.profile = profile.as_ref().map(|folder| folder.path().to_owned());
    let loading = Instant::now();
    let bench = Bench::open(&args.model, options)?;
    report!("{}", loaded(bench.scorer(), loading.elapsed()));
    args.scorer.report_unused(bench.scorer());
    let workload = match data {
        Some(workload) => workload,
        None => bench.workload(&args.spec())?,
    };
    let mut report = bench.run(&workload, &args.options())?;
    // What was measured is printed even if these fail.
    let timeline = match &args.timeline {
        Some(path) => write_timeline(path, &bench),
        None => Ok(()),
    };
    let profile = match args.profile {
        true => bench
            .into_profile()
            .map(|operators| report.operators = operators),
        false => Ok(()),
    };
    let mut output = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut output, &report).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        print(&mut output, &report)?;
    }
    output.flush()?;
    timeline?;
    profile?;
    let rounds = report.throughput.rounds.iter();
    let failed = rounds.map(|round| round.failed).sum::<usize>() + report.latency.failed;
    if failed > 0 {
        report!(
            "{failed} conversations could not be scored and are left out; `score --keep-going` says why"
        );
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}

/// The conversations of a file of records.
fn read(path: &Path, options: &RecordArgs) -> Result<Workload> {
    let (input, progress) = open_input(path)?;
    let mut records = Vec::new();
    for (entry, conversations) in Entries::new(progress.wrap_read(input), options, &progress)? {
        entry
            .check()
            .with_context(|| format!("{} cannot be scored", place(&entry, path)))?;
        records.push(conversations);
    }
    progress.finish_and_clear();
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(Workload {
        name: name.to_string_lossy().into_owned(),
        records,
    })
}

fn write_timeline(path: &Path, bench: &Bench) -> Result<()> {
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut file, &bench.timeline())?;
        file.flush()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn print(output: &mut impl Write, report: &Report) -> io::Result<()> {
    let Report {
        model,
        setup,
        workload,
        ..
    } = report;
    writeln!(
        output,
        "{}, {}, {} layers in {} stages on {}; {} threads, ONNX Runtime {}",
        model.architecture,
        model.precision,
        model.layers,
        model.stages,
        devices(&setup.devices),
        setup.threads,
        setup.ort_version
    )?;
    writeln!(
        output,
        "{}: {} records, {} conversations, {} rounds; loaded in {:.2} s\n",
        workload.name,
        workload.records,
        workload.conversations,
        report.throughput.rounds.len(),
        report.load.seconds
    )?;
    write!(output, "{}", throughput(report))?;
    writeln!(output)?;
    let latencies = [
        ("alone".to_owned(), report.latency.alone),
        (
            format!("{} at once", report.latency.clients),
            report.latency.loaded,
        ),
    ];
    if latencies.iter().any(|(_, summary)| summary.is_some()) {
        let mut table = Table::new([
            ("latency in ms", Side::Left),
            ("p50", Side::Right),
            ("p90", Side::Right),
            ("p99", Side::Right),
            ("mean", Side::Right),
            ("highest", Side::Right),
            ("samples", Side::Right),
        ]);
        for (name, summary) in latencies {
            if let Some(summary) = summary {
                table.row(latency(name, &summary));
            }
        }
        writeln!(output, "{table}")?;
    }
    writeln!(output, "{}", stages(report))?;
    writeln!(
        output,
        "meanwhile, of the time: {:.1}% tokenising, {:.1}% planning",
        100.0 * report.steps.tokenise_share,
        100.0 * report.steps.plan_share
    )?;
    let utilisation = &report.utilisation;
    writeln!(
        output,
        "{:.1} GFLOP/s, {:.1}% of the {:.1} GFLOP/s ({:.1} to {:.1}) of bare matrix products in {}",
        utilisation.flops_per_second / 1e9,
        100.0 * utilisation.share,
        utilisation.matrix.flops_per_second / 1e9,
        utilisation.matrix.range[0] / 1e9,
        utilisation.matrix.range[1] / 1e9,
        utilisation.matrix.element
    )?;
    if !report.operators.is_empty() {
        writeln!(output, "\n{}", operators(report))?;
    }
    if let Some(peak) = report.memory.host_peak {
        writeln!(output, "peak memory of the host: {}", Bytes(peak))?;
    }
    for device in &report.memory.devices {
        writeln!(
            output,
            "peak memory of {}: {}, of which {} were in use before",
            device.device,
            Bytes(device.peak),
            Bytes(device.before)
        )?;
    }
    Ok(())
}

fn operators(report: &Report) -> Table<4> {
    let mut table = Table::new([
        ("operator", Side::Left),
        ("of the time", Side::Right),
        ("seconds", Side::Right),
        ("runs", Side::Right),
    ]);
    for operator in &report.operators {
        table.row([
            operator.operator.clone(),
            format!("{:.1}%", 100.0 * operator.share),
            format!("{:.3}", operator.seconds),
            operator.runs.to_string(),
        ]);
    }
    table
}

/// The devices, each run of the same once.
fn devices(devices: &[String]) -> String {
    let mut names = devices.to_vec();
    names.dedup();
    names.join(", ")
}

fn throughput(report: &Report) -> Table<3> {
    let throughput = &report.throughput;
    let mut table = Table::new([
        ("a second", Side::Left),
        ("", Side::Right),
        ("in a round", Side::Right),
    ]);
    let first = throughput.rounds.first().copied().unwrap_or_default();
    for (name, rate, count) in [
        (
            "conversations",
            throughput.conversations_per_second,
            first.scored,
        ),
        (
            "real tokens",
            throughput.real_tokens_per_second,
            first.real_tokens,
        ),
        (
            "unique tokens",
            throughput.unique_tokens_per_second,
            first.unique_tokens,
        ),
        (
            "padded tokens",
            throughput.padded_tokens_per_second,
            first.padded_tokens,
        ),
    ] {
        table.row([name.into(), format!("{rate:.1}"), count.to_string()]);
    }
    table
}

fn latency(name: String, summary: &Summary) -> [String; 7] {
    let milliseconds = |seconds: f64| format!("{:.1}", 1e3 * seconds);
    [
        name,
        milliseconds(summary.p50),
        milliseconds(summary.p90),
        milliseconds(summary.p99),
        milliseconds(summary.mean),
        milliseconds(summary.highest),
        summary.samples.to_string(),
    ]
}

fn stages(report: &Report) -> Table<8> {
    let mut table = Table::new([
        ("stage", Side::Left),
        ("device", Side::Left),
        ("packs", Side::Right),
        ("busy", Side::Right),
        ("loading", Side::Right),
        ("idle", Side::Right),
        ("GFLOP/s while busy", Side::Right),
        ("load in s", Side::Right),
    ]);
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    for stage in &report.stages {
        let same = |load: &&crate::bench::StageLoadReport| {
            (load.replica, load.stage) == (stage.replica, stage.stage)
        };
        let name = match report.setup.replicas {
            1 => stage.stage.to_string(),
            _ => format!("{} of copy {}", stage.stage, stage.replica),
        };
        table.row([
            name,
            stage.device.clone(),
            stage.packs.to_string(),
            percent(stage.busy_share),
            percent(stage.loading_share),
            percent(stage.idle_share),
            stage
                .flops_per_second
                .map_or_else(String::new, |rate| format!("{:.1}", rate / 1e9)),
            report
                .load
                .stages
                .iter()
                .find(same)
                .map_or_else(String::new, |load| format!("{:.2}", load.seconds)),
        ]);
    }
    table
}
