//! `worldpm-ort rotate`.

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use indicatif::DecimalBytes;
use worldpm_ort_bundle::float_type::FloatType;
use worldpm_ort_export::{
    Checkpoint, Progress,
    rotate::{RotateOptions, rotate},
};

use super::common::{checkpoint, heading, outcome::Status, progress};

/// The bar over the bytes of the checkpoint.
const ROTATED: &str = "{wide_bar} {bytes}/{total_bytes} rotated, {bytes_per_sec}, {eta} left";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct RotateArgs {
    /// Directory of the checkpoint, or a repository on the Hugging Face hub, OWNER/NAME or OWNER/NAME@REVISION
    #[arg(long, value_name = "DIR_OR_REPO")]
    checkpoint: PathBuf,
    /// Branch, tag or commit of a repository [default: main]
    #[arg(long, help_heading = heading::HUB, value_name = "REVISION")]
    revision: Option<String>,
    /// Directory of the checkpoint to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the rotated weights are stored as: fp32 keeps the scores; bf16 and fp16 round the weights once more
    #[arg(long, help_heading = heading::PRECISION, value_name = "TYPE", value_enum, default_value_t)]
    dtype: RotatedType,
    /// Threads [default: all cores]
    #[arg(long, help_heading = heading::PRECISION, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum RotatedType {
    #[default]
    Fp32,
    Bf16,
    Fp16,
}

pub(crate) fn run(args: &RotateArgs) -> Result<Status> {
    let directory = checkpoint::resolve(&args.checkpoint, args.revision.as_deref())?;
    let checkpoint = Checkpoint::open(&directory)?;
    for note in checkpoint.notes() {
        report!("note: {note}");
    }
    let options = RotateOptions {
        float: match args.dtype {
            RotatedType::Fp32 => FloatType::F32,
            RotatedType::Bf16 => FloatType::Bf16,
            RotatedType::Fp16 => FloatType::F16,
        },
        threads: args.threads,
        ..RotateOptions::default()
    };
    let bar = progress::bar(0, ROTATED);
    let rotated = rotate(&checkpoint, &args.out, &options, &|progress: Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let rotated = rotated?;
    report!(
        "{}: {} tensors, {} in {} {}",
        args.out.display(),
        rotated.tensors,
        DecimalBytes(rotated.bytes),
        rotated.files,
        if rotated.files == 1 { "file" } else { "files" },
    );
    Ok(Status::Done)
}
