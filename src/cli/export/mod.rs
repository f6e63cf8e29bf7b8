//! `worldpm-ort export`.

mod args;
mod calibrate;
mod layout_args;

use std::{collections::BTreeMap, num::NonZeroU64, path::Path};

use anyhow::{Context, Result, bail};
use indicatif::{DecimalBytes, ProgressBar};
use worldpm_ort_bundle::{
    Bytes, Interface, Layout, Manifest, Pooling,
    checkpoint_files::CONFIG_FILE,
    cost::{StageMemory, TokenBudget},
};
use worldpm_ort_export::{
    Calibration, Checkpoint, ExportOptions, Progress, QuantizationOptions,
    plan::{DeviceMemory, PlacedStage, Stages},
    recipe::Recipe,
    text_files,
};

use super::{
    check_text,
    common::{checkpoint, outcome::Status, progress},
    recipes,
};
use crate::{
    Additions, ScorerOptions, export_checked,
    references::{self, Asked, ReferenceError},
    verify::{MeasuredDrift, VerifyError, is_lossy, reference},
};
pub(crate) use args::ExportArgs;
use args::{PoolingRule, ProbeScores};
use calibrate::Calibrating;

/// The bar over the bytes of the checkpoint that are converted.
const CONVERTED: &str = "{wide_bar} {bytes}/{total_bytes} converted, {bytes_per_sec}, {eta} left";

pub(crate) fn run(args: &ExportArgs) -> Result<Status> {
    let recipe = args.recipe.as_deref().map(recipes::find).transpose()?;
    let checkpoint = open(args, recipe.as_ref())?;
    let suggested = recipe.map(|recipe| recipe.suggested);
    let pad_token_id = args.pad_token_id.or(checkpoint.config().pad_token_id);
    let options = ExportOptions {
        target: args.target,
        device: args
            .device
            .or(suggested.map(|s| s.device))
            .unwrap_or_default(),
        interface: args.interface.unwrap_or(match args.layout_options.layout {
            Layout::Plain => Interface::Packed,
            Layout::Triton | Layout::Kserve => Interface::Padded,
        }),
        layout: args.layout_options.layout,
        layout_options: args.layout_options.options(),
        stages: args
            .stages
            .or(suggested.map(|s| Stages::Count(s.stages)))
            .unwrap_or_default(),
        device_memory: devices(&args.device_memory),
        budget: match args.layout_options.layout {
            Layout::Triton | Layout::Kserve if args.max_batch_tokens.is_none() => {
                args.layout_options.options().budget()
            }
            _ => budget(args.max_batch_tokens),
        },
        weights: args.weights,
        precision: args.precision.or(suggested.map(|s| s.precision)),
        quantization: QuantizationOptions {
            block_size: args.block_size,
            asymmetric: args.asymmetric,
            keep: args.keep.clone(),
        },
        adapter: args.adapter.clone(),
        text_from: args.text_from,
        token_ids: BTreeMap::new(),
        overflow: args.overflow,
        threads: args.threads,
        checksum: args.checksum,
        pooling: args
            .pooling
            .map(|rule| pooling(rule, pad_token_id))
            .transpose()?,
        end_token: args.end_token.clone(),
        step_token: args.step_token.clone(),
        system_marker: args.system_marker,
    };
    let bar = progress::bar(0, CONVERTED);
    let progress = |progress: Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    check_text::in_own_process(text_files(&checkpoint, &options)?.dir())?;
    let measured = Measured {
        checkpoint: &checkpoint,
        args,
        bar: &bar,
        calibrating: Calibrating::new(args)?,
    };
    let exported = export_checked(&checkpoint, &args.out, &options, &progress, measured)?;
    for note in &exported.notes {
        report!("note: {note}");
    }
    let manifest = exported.manifest;
    for tensor in &manifest.weights.clamped {
        report!("clamped to the range of {}: {tensor}", manifest.precision);
    }
    let bytes: u64 = manifest.weights.files.iter().map(|file| file.bytes).sum();
    report!(
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
    if let Some(adapter) = &manifest.source.adapter {
        report!(
            "  with the adapter: {} tensors merged, {} replaced",
            adapter.merged_tensors,
            adapter.replaced_tensors
        );
        if let Some(first) = adapter.unchanged_modules.first() {
            alert!(
                "warning: the adapter's configuration selects {} modules that its weights have no update for, and that \
                 stay as they are: `{first}` is the first",
                adapter.unchanged_modules.len()
            );
        }
    }
    for (stage, placed) in manifest.stages.iter().zip(&exported.stages) {
        report!(
            "  {}: layers {} to {}, {}{}",
            stage.graph,
            stage.layers.0,
            stage.layers.1.saturating_sub(1),
            DecimalBytes(stage.weight_bytes),
            memory(placed),
        );
    }
    Ok(Status::Done)
}

/// What the program measures with the model and adds to the bundle.
struct Measured<'a> {
    checkpoint: &'a Checkpoint,
    args: &'a ExportArgs,
    bar: &'a ProgressBar,
    calibrating: Option<Calibrating>,
}

impl Measured<'_> {
    fn scorer(&self) -> ScorerOptions {
        let mut scorer = ScorerOptions::default();
        scorer.ort_library.clone_from(&self.args.ort_lib);
        scorer
    }
}

impl Additions<anyhow::Error> for Measured<'_> {
    fn calibration(&self, options: &ExportOptions) -> Result<Option<Calibration>> {
        let Some(calibrating) = &self.calibrating else {
            return Ok(None);
        };
        calibrating.gather(self.checkpoint, options, &self.scorer())
    }

    fn correction(&self, bundle: &Path, manifest: &Manifest) -> Result<Option<Vec<f32>>> {
        self.bar.finish_and_clear();
        match &self.calibrating {
            Some(calibrating) => calibrating.correction(bundle, manifest, &self.scorer()),
            None => Ok(None),
        }
    }

    fn finish(&self, bundle: &Path, manifest: &Manifest, options: &ExportOptions) -> Result<()> {
        self.bar.finish_and_clear();
        score_probes(self.checkpoint, options, self.args, bundle, manifest)
    }
}

/// The checkpoint of the options or of the recipe, which must be of the recipe's model.
fn open(args: &ExportArgs, recipe: Option<&Recipe>) -> Result<Checkpoint> {
    let directory = match (&args.checkpoint, recipe) {
        (Some(named), _) => checkpoint::resolve(named, args.revision.as_deref())?,
        (None, Some(recipe)) => {
            let revision = args.revision.as_deref().or(recipe.revision.as_deref());
            checkpoint::repository(&recipe.repository, revision)?
        }
        (None, None) => bail!("give --checkpoint or --recipe"),
    };
    let checkpoint = Checkpoint::open_with_adapter(&directory, args.adapter.as_deref())?;
    warn_of_unknown(&checkpoint);
    if let Some(recipe) = recipe {
        for note in recipe.check(checkpoint.config())? {
            report!("note: {note}");
        }
    }
    Ok(checkpoint)
}

fn warn_of_unknown(checkpoint: &Checkpoint) {
    let unknown = checkpoint.unknown_config_fields();
    if !unknown.is_empty() {
        alert!(
            "warning: {} has fields that no version of transformers knows for such a model, and that have no part in \
             its scores: {}",
            checkpoint.dir().join(CONFIG_FILE).display(),
            unknown.join(", ")
        );
    }
}

/// One size stands for any number of devices like it.
pub(crate) fn devices(sizes: &[Bytes]) -> Option<DeviceMemory> {
    (!sizes.is_empty()).then(|| sizes.to_vec().into())
}

/// The token budget that scoring with so many tokens has.
pub(crate) fn budget(max_tokens: Option<NonZeroU64>) -> TokenBudget {
    max_tokens.map_or_else(TokenBudget::default, |tokens| {
        TokenBudget::for_tokens(tokens.get())
    })
}

/// What a stage takes of its device, when that is known.
fn memory(stage: &PlacedStage) -> String {
    let Some(capacity) = stage.capacity else {
        return String::new();
    };
    let StageMemory {
        weights,
        activations,
        workspace,
    } = stage.memory;
    format!(
        "; {} of device {} ({capacity}): weights {}, activations {}, workspace {}",
        Bytes(stage.memory.total()),
        stage.device,
        Bytes(weights),
        Bytes(activations),
        Bytes(workspace),
    )
}

/// Puts the reference scores of the probes into the bundle, as `--probes` says.
fn score_probes(
    checkpoint: &Checkpoint,
    options: &ExportOptions,
    args: &ExportArgs,
    bundle: &Path,
    manifest: &Manifest,
) -> Result<()> {
    let lossy = is_lossy(manifest);
    if args.probes == ProbeScores::Off {
        if lossy {
            not_measured(manifest, "--probes is off");
        }
        return Ok(());
    }
    let mut scorer = ScorerOptions::default();
    scorer.ort_library.clone_from(&args.ort_lib);
    let quantization = manifest.quantization.as_ref();
    let is_calibrated = quantization.is_some_and(|rounded| rounded.calibration.is_some());
    // Where the model was computed to calibrate, some conversations more hardly count.
    let asked = match args.probes {
        ProbeScores::On => Asked::Yes,
        ProbeScores::Auto if is_calibrated => Asked::Yes,
        ProbeScores::Auto | ProbeScores::Off => Asked::No,
    };
    let made = if lossy {
        let report = |what: &str| report!("scoring the probes: {what}");
        let made = (bundle, manifest);
        references::make_and_measure(checkpoint, options, &scorer, asked, made, &report)
    } else {
        references::make(checkpoint, options, &scorer, asked)
            .map(|(reference, skipped)| (reference, skipped, None))
    };
    match made {
        Ok((reference, skipped, unmeasured)) => {
            report_skipped(&skipped);
            if let Some(reason) = unmeasured {
                not_measured(manifest, &reason);
            }
            if let Some(drift) = &reference.drift {
                report_drift(manifest, drift);
            }
            Ok(reference.write_into_unfinished(bundle)?)
        }
        // What the user named must be usable, and a full disk is no reason to go on.
        Err(error @ ReferenceError::Verify(VerifyError::Write { .. })) => Err(error.into()),
        Err(error) if args.probes == ProbeScores::On || args.ort_lib.is_some() => {
            Err(error).context("the probes cannot be scored")
        }
        Err(error) => {
            report!(
                "The bundle has no reference scores for `verify`: {error}.\n\
                 `worldpm-ort verify --record --model {}` adds them, on a machine that can.",
                args.out.display()
            );
            if lossy {
                not_measured(manifest, "there are no reference scores");
            }
            Ok(())
        }
    }
}

fn not_measured(manifest: &Manifest, reason: &str) {
    report!(
        "note: how far {} moves the scores of this model was not measured, since {reason}; `worldpm-ort verify --against` \
         measures it on your own data",
        manifest.precision
    );
}

/// Says how far the precision moved the scores of the probes, and warns when bf16 would have moved them less.
fn report_drift(manifest: &Manifest, drift: &MeasuredDrift) {
    let precision = manifest.precision;
    let MeasuredDrift { bundle, bf16, .. } = drift;
    if bundle.rms <= bf16.rms {
        report!(
            "drift of {precision} from fp32 over the probes: {bundle}; of bf16, simulated: {bf16}"
        );
        return;
    }
    alert!(
        "warning: {precision} moves the scores of this model further than bf16 does. Drift from fp32 over the probes: \
         {bundle}; of bf16, simulated: {bf16}. Export without --precision to keep the checkpoint's own weights, give \
         conversations like yours to --calibrate, keep layers as they are with --keep, or measure on your own data with `worldpm-ort verify --against` whether it matters"
    );
}

pub(crate) fn report_skipped(skipped: &[reference::Skipped]) {
    for probe in skipped {
        report!(
            "The probe {} is left out, since the model does not take it: {}",
            probe.name,
            probe.problem
        );
    }
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
