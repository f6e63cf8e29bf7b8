//! `worldpm-ort export`.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use worldpm_ort_export::{Checkpoint, ExportOptions, Pooling, export_with_progress};

use super::{
    Status,
    args::{ExportArgs, PoolingRule},
    checkpoint,
};

pub(super) fn run(args: &ExportArgs) -> Result<Status> {
    let directory = checkpoint::resolve(&args.checkpoint, args.revision.as_deref())?;
    let checkpoint = Checkpoint::open(&directory)?;
    let pad_token_id = args.pad_token_id.or(checkpoint.config().pad_token_id);
    let options = ExportOptions {
        target: args.target,
        device: args.device,
        interface: args.interface,
        stages: args.stages,
        weights: args.weights,
        precision: args.precision,
        overflow: args.overflow,
        threads: args.threads,
        checksum: args.checksum,
        pooling: args
            .pooling
            .map(|rule| pooling(rule, pad_token_id))
            .transpose()?,
        end_token: args.end_token.clone(),
        system_marker: args.system_marker,
    };
    let bar = progress_bar();
    let manifest = export_with_progress(&checkpoint, &args.out, &options, &|progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    })?;
    bar.finish_and_clear();
    for tensor in &manifest.weights.clamped {
        eprintln!("clamped to the range of {}: {tensor}", manifest.precision);
    }
    let bytes: u64 = manifest.weights.files.iter().map(|file| file.bytes).sum();
    eprintln!(
        "{}: {} with {} layers, {} of {} weights, {} for {}",
        args.out.display(),
        manifest.model.architecture,
        manifest.model.num_hidden_layers,
        DecimalBytes(bytes),
        manifest.precision,
        match manifest.stages.len() {
            1 => "one stage".to_owned(),
            stages => format!("{stages} stages"),
        },
        manifest.device,
    );
    for stage in &manifest.stages {
        eprintln!(
            "  {}: layers {} to {}, {}",
            stage.graph,
            stage.layers.0,
            stage.layers.1.saturating_sub(1),
            DecimalBytes(stage.weight_bytes),
        );
    }
    Ok(Status::Done)
}

/// A bar for the bytes of the checkpoint that were converted, when someone is there to see it.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let template = "{wide_bar} {bytes}/{total_bytes} converted, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn pooling(rule: PoolingRule, pad_token_id: Option<u32>) -> Result<Pooling> {
    let pad = || {
        pad_token_id.context(
            "the pooling rule needs a padding token, and the configuration has none; \
             give --pad-token-id",
        )
    };
    Ok(match rule {
        PoolingRule::Last => Pooling::Last,
        PoolingRule::BeforeFirstPad => Pooling::BeforeFirstPad {
            pad_token_id: pad()?,
        },
        PoolingRule::LastNonPad => Pooling::LastNonPad {
            pad_token_id: pad()?,
        },
    })
}
