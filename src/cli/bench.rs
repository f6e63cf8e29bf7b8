//! `worldpm-ort bench`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result};
use worldpm_ort_export::plan::Bytes;

use super::{
    Status,
    bench_args::BenchArgs,
    records::{open_input, prepare},
    score::loaded,
    table::{Side, Table},
};
use crate::{
    bench::{Bench, Report, Workload, statistics::Summary},
    records::RecordReader,
};

pub(super) fn run(args: &BenchArgs) -> Result<Status> {
    // What cannot be read or written should be known before a model is loaded.
    let data = args.data.as_deref().map(read).transpose()?;
    let timeline = args.timeline.as_deref().map(create).transpose()?;
    let profile = match args.profile {
        true => Some(tempfile::tempdir().context("there is no folder for the profile")?),
        false => None,
    };
    let mut options = args.scorer.options();
    options.profile = profile.as_ref().map(|folder| folder.path().to_owned());
    let loading = Instant::now();
    let bench = Bench::open(&args.model, options)?;
    eprintln!("{}", loaded(bench.scorer(), loading.elapsed()));
    let workload = match data {
        Some(workload) => workload,
        None => bench.workload(&args.spec())?,
    };
    let mut report = bench.run(&workload, &args.options())?;
    if let (Some(mut file), Some(path)) = (timeline, &args.timeline) {
        serde_json::to_writer(&mut file, &bench.timeline())
            .map_err(io::Error::from)
            .and_then(|()| file.flush())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.profile {
        report.operators = bench.into_profile()?;
    }
    let mut output = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut output, &report).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        print(&mut output, &report)?;
    }
    let failed: usize = report
        .throughput
        .rounds
        .iter()
        .map(|round| round.failed)
        .sum();
    if failed > 0 {
        eprintln!(
            "{failed} conversations could not be scored and are left out; `score --keep-going` says why"
        );
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}

/// The conversations of a file of records.
fn read(path: &Path) -> Result<Workload> {
    let (input, progress) = open_input(path)?;
    let mut records = Vec::new();
    for read in RecordReader::new(progress.wrap_read(input)) {
        let (entry, conversations) = prepare(read);
        entry
            .check()
            .with_context(|| format!("{} cannot be scored", entry.place(path)))?;
        records.push(conversations);
    }
    progress.finish_and_clear();
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(Workload {
        name: name.to_string_lossy().into_owned(),
        records,
    })
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::new(file))
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
    if let Some(alone) = report.latency.alone {
        let mut table = Table::new([
            ("latency in ms", Side::Left),
            ("p50", Side::Right),
            ("p90", Side::Right),
            ("p99", Side::Right),
            ("mean", Side::Right),
            ("highest", Side::Right),
            ("samples", Side::Right),
        ]);
        table.row(latency("alone".into(), &alone));
        if let Some(loaded) = report.latency.loaded {
            let name = format!("{} at once", report.latency.clients);
            table.row(latency(name, &loaded));
        }
        writeln!(output, "{table}")?;
    }
    writeln!(output, "{}", stages(report))?;
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
