//! `worldpm-ort verify`: probes, published scores and checksums.

use std::{
    io::{self, Write},
    time::Instant,
};

use anyhow::Result;
use indicatif::DecimalBytes;
use serde_json::{Value, json};

use super::published::{self, small};
use crate::{
    Bundle, Scorer,
    cli::{
        common::{
            outcome::Status,
            placement::placement,
            progress,
            table::{Side, Table},
        },
        verify::VerifyArgs,
    },
    verify::{
        self, FileCheck, MeasuredDrift, ProbeDrift, ProbeReport, ProbeResult, PublishedResult,
        Reference, VerifyError,
    },
};

pub(crate) fn run(args: &VerifyArgs) -> Result<Status> {
    let weights = args.scorer.weights_dir.as_deref();
    let bundle = Bundle::open(&args.model, weights)?;
    let recipe = published::recipe(args, bundle.manifest())?;
    let scores = recipe.as_ref().map_or(&[][..], |recipe| &recipe.published);
    // What is missing is said before anything large is read.
    let reference = match Reference::read(&args.model, bundle.manifest()) {
        Ok(reference) => Some(reference),
        Err(missing @ VerifyError::NoReference { .. }) if !scores.is_empty() => {
            report!("note: only the published scores are compared: {missing}");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let files = if args.checksum {
        check_files(&bundle)?
    } else {
        Vec::new()
    };

    let loading = Instant::now();
    let options = verify::scorer_options(args.scorer.options());
    let scorer = Scorer::open(&args.model, &options)?;
    args.scorer.report_unused(&scorer);
    report!(
        "{} {}, loaded in {:.1} s",
        scorer.manifest().model.architecture,
        placement(&scorer),
        loading.elapsed().as_secs_f64()
    );
    let found = Found {
        probes: reference.map(|reference| {
            let report = verify::run(&scorer, &reference, args.tolerance);
            (reference, report)
        }),
        published: verify::run_published(&scorer, scores, args.tolerance),
        files,
    };

    let mut output = io::stdout().lock();
    if args.json {
        writeln!(output, "{}", to_json(&found))?;
    } else {
        print(&mut output, &found)?;
    }
    output.flush()?;
    Ok(if found.passed() {
        Status::Done
    } else {
        Status::CheckFailed
    })
}

/// Everything that a bundle was compared with.
struct Found {
    probes: Option<(Reference, ProbeReport)>,
    published: Vec<PublishedResult>,
    files: Vec<FileCheck>,
}

impl Found {
    fn passed(&self) -> bool {
        self.probes
            .as_ref()
            .is_none_or(|(_, report)| report.passed())
            && self.published.iter().all(PublishedResult::passed)
            && self.files.iter().all(FileCheck::passed)
    }
}

fn check_files(bundle: &Bundle) -> Result<Vec<FileCheck>> {
    let files = &bundle.manifest().weights.files;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    report!("hashing {} of weights", DecimalBytes(bytes));
    let bar = progress::bar(files.len() as u64, "{wide_bar} {pos}/{len} files");
    let checks = verify::check_files(bundle, |_| bar.inc(1))?;
    bar.finish_and_clear();
    Ok(checks)
}

fn print(output: &mut dyn Write, found: &Found) -> Result<()> {
    for file in &found.files {
        let path = file.path.display();
        match &file.found {
            Ok(_) if file.passed() => writeln!(output, "{path}: as exported")?,
            Ok(found) => writeln!(
                output,
                "{path}: CHANGED since the export (SHA-256 {found}, and {} then)",
                file.expected
            )?,
            Err(problem) => writeln!(output, "{path}: FAILED: {problem}")?,
        }
    }
    if let Some((reference, report)) = &found.probes {
        print_probes(output, reference, report)?;
    }
    published::print(output, &found.published)
}

fn print_probes(output: &mut dyn Write, reference: &Reference, report: &ProbeReport) -> Result<()> {
    let mut table = Table::new([
        ("probe", Side::Left),
        ("tokens", Side::Right),
        ("reference", Side::Right),
        ("got", Side::Right),
        ("difference", Side::Right),
        ("", Side::Left),
    ]);
    for result in &report.results {
        let numbers = |values: &[f32]| {
            let numbers: Vec<String> = values.iter().map(|value| format!("{value:.6}")).collect();
            numbers.join(" ")
        };
        let (got, problem) = match &result.got {
            Ok(got) => (numbers(got), None),
            Err(problem) => ("none".to_owned(), Some(problem)),
        };
        table.row([
            result.name.clone(),
            result.tokens.to_string(),
            numbers(&result.reference),
            got,
            result
                .difference
                .map_or(String::new(), |(difference, _)| small(difference)),
            match (result.difference, problem) {
                (Some((_, true)), _) => String::new(),
                (_, Some(problem)) => format!("FAILED: {problem}"),
                (_, None) => "FAILED".to_owned(),
            },
        ]);
    }
    write!(output, "{table}")?;
    for name in &report.unreferenced {
        writeln!(output, "{name}: no reference, not compared")?;
    }
    writeln!(
        output,
        "reference: {} on {}, ONNX Runtime {}",
        reference.made_with.precision, reference.made_with.device, reference.made_with.onnxruntime
    )?;
    if let Some(drift) = ProbeDrift::of_report(report) {
        let measured = reference.drift.as_ref();
        let beside = measured.map(|at_export| {
            let MeasuredDrift { bundle, bf16, .. } = at_export;
            format!("; at export: {bundle}; of bf16, simulated: {bf16}")
        });
        writeln!(output, "drift: {drift}{}", beside.unwrap_or_default())?;
    }
    writeln!(
        output,
        "{}: {} of {} probes within {:e} ({}){}",
        if report.passed() { "ok" } else { "FAILED" },
        report.results.len() - report.failures(),
        report.results.len(),
        report.limit.value,
        report.limit.source,
        report.worst().map_or(String::new(), |worst| format!(
            ", largest difference {worst:.1e}"
        ))
    )?;
    Ok(())
}

fn to_json(found: &Found) -> Value {
    let mut value = json!({"passed": found.passed()});
    if let Some((reference, report)) = &found.probes {
        value["probes"] = report.results.iter().map(probe_json).collect();
        value["not_compared"] = json!(report.unreferenced);
        value["limit"] = json!({"value": report.limit.value, "source": report.limit.source});
        value["worst"] = json!(report.worst());
        value["reference"] = json!(reference.made_with);
        value["drift"] = json!(ProbeDrift::of_report(report));
        if let Some(measured) = &reference.drift {
            value["drift_at_export"] = json!(measured.bundle);
            value["drift_of_bf16"] = json!(measured.bf16);
        }
    }
    if !found.published.is_empty() {
        value["published"] = found.published.iter().map(published::to_json).collect();
    }
    if !found.files.is_empty() {
        let files = found.files.iter().map(|file| {
            let mut line = json!({"path": file.path, "passed": file.passed()});
            match &file.found {
                Ok(found) => line["sha256"] = json!(found),
                Err(problem) => line["error"] = json!(problem),
            }
            line
        });
        value["files"] = files.collect();
    }
    value
}

fn probe_json(result: &ProbeResult) -> Value {
    let mut probe = json!({
        "name": result.name,
        "tokens": result.tokens,
        "reference": result.reference,
    });
    match &result.got {
        Ok(got) => probe["got"] = json!(got),
        Err(problem) => probe["error"] = json!(problem),
    }
    if let Some((difference, _)) = result.difference {
        probe["difference"] = json!(difference);
    }
    probe["passed"] = json!(matches!(result.difference, Some((_, true))));
    probe
}
