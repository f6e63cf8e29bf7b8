//! `worldpm-ort export`.

use anyhow::{Context, Result};
use indicatif::DecimalBytes;
use worldpm_ort_export::{Checkpoint, ExportOptions, Pooling, export};

use super::{
    Status,
    args::{ExportArgs, PoolingRule},
};

pub(super) fn run(args: &ExportArgs) -> Result<Status> {
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let pad_token_id = args.pad_token_id.or(checkpoint.config().pad_token_id);
    let options = ExportOptions {
        target: args.target,
        device: args.device,
        stages: args.stages,
        weights: args.weights,
        checksum: args.checksum,
        pooling: args
            .pooling
            .map(|rule| pooling(rule, pad_token_id))
            .transpose()?,
        end_token: args.end_token.clone(),
        system_marker: args.system_marker,
    };
    let manifest = export(&checkpoint, &args.out, &options)?;
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
