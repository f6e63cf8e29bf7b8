//! `worldpm-ort synth`.

mod args;

use anyhow::Result;
use worldpm_ort_export::checkpoint::Backbone;
use worldpm_ort_export::synth::{ConfigStyle, Head, ModelShape, Preset, SynthOptions, synth};

use super::common::outcome::Status;
use args::{ConfigSpelling, HeadLayers};
pub(crate) use args::{Shape, SynthArgs};

pub(crate) fn run(args: &SynthArgs) -> Result<Status> {
    let report = synth(&args.out, &options(args))?;
    report!(
        "{}: {} parameters in {} {}{}",
        report.path.display(),
        report.parameters,
        report.files,
        if report.files == 1 { "file" } else { "files" },
        if args.sparse { ", all holes" } else { "" },
    );
    Ok(Status::Done)
}

fn options(args: &SynthArgs) -> SynthOptions {
    let mut options = preset(args.shape).options();
    reshape(&mut options.shape, args);
    options.backbone = args.architecture;
    options.head = match (args.head, args.architecture == Backbone::Qwen2) {
        (Some(HeadLayers::Two), _) | (None, true) => Head::TwoLayer,
        (Some(HeadLayers::One), _) | (None, _) => Head::OneLayer {
            bias: args.head_bias,
        },
        (Some(HeadLayers::Process), _) => Head::Process,
    };
    if let Some(labels) = &args.labels {
        options.labels.clone_from(labels);
    }
    options.config = args.config.iter().cloned().collect();
    options.pad_token_id = args.pad_token_id;
    options.tie_word_embeddings = args.tie_word_embeddings;
    options.single_file = args.single_file;
    options.seed = args.seed;
    options.sparse = args.sparse;
    options.config_style = match args.config_style {
        ConfigSpelling::Transformers4 => ConfigStyle::Transformers4,
        ConfigSpelling::Transformers5 => ConfigStyle::Transformers5,
    };
    if let Some(bytes) = args.shard_bytes {
        options.shard_bytes = bytes;
    }
    options
}

pub(crate) fn preset(shape: Shape) -> Preset {
    match shape {
        Shape::Tiny => Preset::Tiny,
        Shape::Half => Preset::Qwen0_5B,
        Shape::Seven => Preset::Qwen7B,
        Shape::SeventyTwo => Preset::Qwen72B,
    }
}

/// Changes the dimensions that were given on the command line.
fn reshape(shape: &mut ModelShape, args: &SynthArgs) {
    let sizes = [
        (&mut shape.hidden_size, args.hidden_size),
        (&mut shape.intermediate_size, args.intermediate_size),
        (&mut shape.num_hidden_layers, args.num_hidden_layers),
        (&mut shape.num_attention_heads, args.num_attention_heads),
        (&mut shape.num_key_value_heads, args.num_key_value_heads),
        (&mut shape.vocab_size, args.vocab_size),
        (
            &mut shape.max_position_embeddings,
            args.max_position_embeddings,
        ),
    ];
    for (size, given) in sizes {
        if let Some(given) = given {
            *size = given;
        }
    }
    shape.head_dim = args.head_dim.or(shape.head_dim);
    shape.rope_theta = args.rope_theta.unwrap_or(shape.rope_theta);
}
