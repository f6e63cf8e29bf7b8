//! `worldpm-ort doctor`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Result;

use super::common::{
    heading, model,
    outcome::Status,
    table::{Side, Table},
};
use crate::doctor::{DoctorOptions, Level, examine};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct DoctorArgs {
    /// A bundle: check its files, measure the disk of its weights, and ask for what it needs
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// ONNX Runtime's library [default: looked for beside the program and in the usual places]
    #[arg(long, help_heading = heading::DEVICES, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
    /// Print JSON
    #[arg(long, help_heading = heading::OUTPUT_FORMAT)]
    json: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<Status> {
    let options = DoctorOptions::default()
        .with_model(args.model.clone())
        .with_ort_library(args.ort_lib.clone());
    let mut findings = examine(&options);
    let problem = args.model.as_deref();
    let problem = problem.and_then(|model| model::problem(model, &model::replaced));
    let bundle = findings
        .iter_mut()
        .find(|finding| finding.check == "bundle");
    if let (Some(problem), Some(bundle)) = (problem, bundle) {
        bundle.found = problem;
    }
    let mut output = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut output, &findings)?;
        writeln!(output)?;
    } else {
        let mut table = Table::new([
            ("", Side::Left),
            ("check", Side::Left),
            ("found", Side::Left),
        ]);
        for finding in &findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warn => "WARN",
                Level::Error => "ERROR",
            };
            // A text of several lines would break the table.
            let found = finding
                .found
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            table.row([level.to_owned(), finding.check.clone(), found]);
            if let Some(advice) = &finding.advice {
                table.row([String::new(), String::new(), format!("to do: {advice}")]);
            }
        }
        write!(output, "{table}")?;
        let count = |level| {
            findings
                .iter()
                .filter(|finding| finding.level == level)
                .count()
        };
        writeln!(
            output,
            "\nerrors: {}, warnings: {}",
            count(Level::Error),
            count(Level::Warn)
        )?;
    }
    output.flush()?;
    let failed = findings.iter().any(|finding| finding.level == Level::Error);
    Ok(if failed {
        Status::CheckFailed
    } else {
        Status::Done
    })
}
