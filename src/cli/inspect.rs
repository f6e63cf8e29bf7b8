//! `worldpm-ort inspect`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Result;
use indicatif::DecimalBytes;
use worldpm_ort_bundle::{Bytes, manifest::Model, readiness::RunsOn};
use worldpm_ort_export::inspect::{
    BundleInfo, CheckpointInfo, FileKind, FileState, Inspection, StageInfo, TensorGroup, inspect,
};

use super::{
    common::{
        heading, model,
        outcome::Status,
        table::{Side, Table},
    },
    plan::layers,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::OUTPUT_FORMAT)]
pub(crate) struct InspectArgs {
    /// Directory of a bundle or of a checkpoint
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Folder of a bundle's weights, when the checkpoint has moved since the export
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(crate) weights_dir: Option<PathBuf>,
    /// Print every node with the provider that runs it
    #[arg(long)]
    pub(crate) nodes: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> Result<Status> {
    model::check_either(&args.directory)?;
    let inspection = inspect(&args.directory, args.weights_dir.as_deref())?;
    let mut output = io::stdout().lock();
    if args.json {
        print_json(&mut output, &inspection, args.nodes)?;
    } else {
        match &inspection {
            Inspection::Bundle(bundle) => print_bundle(&mut output, bundle, args.nodes)?,
            Inspection::Checkpoint(checkpoint) => print_checkpoint(&mut output, checkpoint)?,
        }
    }
    output.flush()?;
    Ok(match &inspection {
        Inspection::Bundle(bundle) if !bundle.is_good() => Status::CheckFailed,
        _ => Status::Done,
    })
}

fn print_json(output: &mut impl Write, inspection: &Inspection, nodes: bool) -> Result<()> {
    let mut value = serde_json::to_value(inspection)?;
    if let (Inspection::Bundle(bundle), true) = (inspection, nodes) {
        for (index, stage) in bundle.stages.iter().enumerate() {
            value["stages"][index]["nodes"] = serde_json::to_value(&stage.placements)?;
        }
    }
    serde_json::to_writer_pretty(&mut *output, &value)?;
    writeln!(output)?;
    Ok(())
}

fn print_model(output: &mut impl Write, model: &Model) -> Result<()> {
    writeln!(
        output,
        "{}: {} layers of width {}, MLP {}, {} heads and {} key-value heads of {}, vocabulary {}, scores: {}",
        model.architecture,
        model.num_hidden_layers,
        model.hidden_size,
        model.intermediate_size,
        model.num_attention_heads,
        model.num_key_value_heads,
        model.head_dim,
        model.vocab_size,
        model.labels.join(", "),
    )?;
    Ok(())
}

fn print_checkpoint(output: &mut impl Write, info: &CheckpointInfo) -> Result<()> {
    writeln!(output, "checkpoint {}", info.directory)?;
    print_model(output, &info.model)?;
    writeln!(
        output,
        "{} parameters, {}; sequences of up to {} tokens\nconfig.json sha256 {}\n",
        info.parameters,
        DecimalBytes(info.bytes),
        info.max_position_embeddings,
        info.config_sha256,
    )?;
    print_tensors(output, &info.tensors)?;
    let mut table = Table::new([
        ("file", Side::Left),
        ("bytes", Side::Right),
        ("sha256 of the header", Side::Left),
    ]);
    for file in &info.files {
        table.row([
            file.name.clone(),
            file.bytes.to_string(),
            file.header_sha256.clone(),
        ]);
    }
    write!(output, "\n{table}")?;
    Ok(())
}

fn print_tensors(output: &mut impl Write, tensors: &[TensorGroup]) -> Result<()> {
    let mut table = Table::new([
        ("tensor", Side::Left),
        ("layers", Side::Left),
        ("type", Side::Left),
        ("shape", Side::Left),
        ("bytes", Side::Right),
    ]);
    for group in tensors {
        table.row([
            group.name.clone(),
            group.layers.map(layers).unwrap_or_default(),
            group.element.clone(),
            format!("{:?}", group.shape),
            group.bytes.to_string(),
        ]);
    }
    write!(output, "{table}")?;
    Ok(())
}

fn print_bundle(output: &mut impl Write, info: &BundleInfo, nodes: bool) -> Result<()> {
    let manifest = &info.manifest;
    writeln!(
        output,
        "bundle {}, by {}",
        info.directory, manifest.producer
    )?;
    print_model(output, &manifest.model)?;
    writeln!(
        output,
        "{} for {}, target {}, interface {}; ONNX Runtime {} or newer; conversations of up to {} tokens",
        manifest.precision,
        manifest.device,
        manifest.target,
        manifest.interface,
        manifest.min_ort_version,
        manifest.max_length,
    )?;
    if let Some(repository) = &manifest.source.repository {
        let revision = manifest.source.revision.as_deref().unwrap_or("?");
        writeln!(output, "from {repository} at {revision}")?;
    }
    writeln!(
        output,
        "config.json sha256 {}\n",
        manifest.source.config_sha256
    )?;
    print_stages(output, info)?;
    writeln!(output)?;
    print_tensors(output, &info.tensors)?;
    writeln!(output)?;
    print_files(output, info)?;
    for stage in &info.stages {
        print_placement(output, stage, nodes)?;
    }
    writeln!(
        output,
        "\nPlaces are looked up, not tried: CUDA kernels in {}; CPU kernels in {}; TensorRT in {}.",
        info.tables.cuda, info.tables.cpu, info.tables.tensorrt
    )?;
    Ok(())
}

fn print_stages(output: &mut impl Write, info: &BundleInfo) -> Result<()> {
    let mut table = Table::new([
        ("stage", Side::Left),
        ("layers", Side::Left),
        ("weights in files", Side::Right),
        ("in memory", Side::Right),
        ("activations", Side::Right),
        ("workspace", Side::Right),
        ("nodes on the device", Side::Right),
        ("on the host", Side::Right),
    ]);
    for stage in &info.stages {
        table.row([
            stage.graph.clone(),
            layers(stage.layers),
            Bytes(stage.stored).to_string(),
            Bytes(stage.memory.weights).to_string(),
            Bytes(stage.memory.activations).to_string(),
            Bytes(stage.memory.workspace).to_string(),
            stage.device_nodes.to_string(),
            stage.host_nodes.to_string(),
        ]);
    }
    write!(output, "{table}")?;
    writeln!(
        output,
        "(for packs of {} tokens and {} attention cells)\n",
        info.max_tokens, info.max_cells
    )?;
    let mut table = Table::new([
        ("layers", Side::Left),
        ("bytes of each", Side::Right),
        ("in memory", Side::Right),
    ]);
    for run in info.stages.iter().flat_map(|stage| &stage.by_layer) {
        table.row([
            layers(run.layers),
            run.stored.to_string(),
            run.resident.to_string(),
        ]);
    }
    write!(output, "{table}")?;
    Ok(())
}

fn print_files(output: &mut impl Write, info: &BundleInfo) -> Result<()> {
    let mut table = Table::new([
        ("file", Side::Left),
        ("", Side::Left),
        ("bytes", Side::Right),
        ("state", Side::Left),
        ("sha256 (of weights: of the header)", Side::Left),
    ]);
    for file in &info.files {
        table.row([
            file.name.clone(),
            match file.kind {
                FileKind::Graph => "graph",
                FileKind::Text => "text",
                FileKind::Weights => "weights",
            }
            .to_owned(),
            file.bytes
                .map(|bytes| bytes.to_string())
                .unwrap_or_default(),
            match file.state {
                FileState::Good => "good",
                FileState::Changed => "CHANGED",
                FileState::Missing => "MISSING",
            }
            .to_owned(),
            file.sha256.clone(),
        ]);
    }
    write!(output, "{table}")?;
    let weights = &info.manifest.weights.files;
    if weights.iter().any(|file| file.sampled_sha256.is_none()) {
        writeln!(
            output,
            "(an older exporter recorded no samples of the weights: other values in files of the same size are not noticed; \
             export the checkpoint again)"
        )?;
    }
    Ok(())
}

fn print_placement(output: &mut impl Write, stage: &StageInfo, nodes: bool) -> Result<()> {
    writeln!(output, "\n{}:", stage.graph)?;
    let place = |place: RunsOn| match place {
        RunsOn::Device => "device",
        RunsOn::Host => "host",
    };
    if nodes {
        let mut table = Table::new([
            ("node", Side::Left),
            ("operator", Side::Left),
            ("type", Side::Left),
            ("runs on", Side::Left),
        ]);
        for node in &stage.placements {
            table.row([
                node.node.clone(),
                node.operator.clone(),
                node.element.clone(),
                place(node.place).to_owned(),
            ]);
        }
        write!(output, "{table}")?;
    } else {
        let mut table = Table::new([
            ("operator", Side::Left),
            ("type", Side::Left),
            ("nodes", Side::Right),
            ("run on", Side::Left),
        ]);
        for operator in &stage.operators {
            table.row([
                operator.operator.clone(),
                operator.element.clone(),
                operator.count.to_string(),
                place(operator.place).to_owned(),
            ]);
        }
        write!(output, "{table}")?;
    }
    for (operand, value) in &stage.host_operands {
        writeln!(output, "read on the host: {operand} ({value})")?;
    }
    for violation in &stage.violations {
        writeln!(output, "NOT READY: {violation}")?;
    }
    Ok(())
}
