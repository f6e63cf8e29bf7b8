//! `export --calibrate`.

use std::{
    cell::RefCell,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use indicatif::{DecimalBytes, HumanDuration, ProgressBar};
use worldpm_ort_bundle::{Manifest, Precision, hash::file_sha256};
use worldpm_ort_export::{Calibration, Checkpoint, ExportOptions};

use super::args::{CalibrateOn, ExportArgs, ProbeScores};
use crate::{
    Conversation, ScorerOptions,
    calibration::{CalibrationError, CalibrationSet, Gathered, OnStep, Step},
    cli::common::{outcome::describe, progress},
    records::{Entry, RecordReader},
    verify::unmeasurable,
};

/// The bar over what goes into the layers.
const GATHERED: &str = "{wide_bar} {bytes}/{total_bytes} of the layers' inputs, {eta} left";

/// The conversations of `--calibrate`, and what was gathered from them.
pub(super) struct Calibrating {
    name: String,
    set: CalibrationSet,
    max_tokens: usize,
    /// Whether nobody has named them.
    is_default: bool,
    /// Where what goes into layers is kept meanwhile.
    beside: PathBuf,
    gathered: RefCell<Option<Gathered>>,
}

impl Calibrating {
    /// Reads the conversations; `None` where there are none to be taken.
    pub(super) fn new(args: &ExportArgs) -> Result<Option<Self>> {
        let is_default = match &args.calibrate {
            CalibrateOn::Off => return Ok(None),
            CalibrateOn::Auto if args.probes == ProbeScores::Off => return Ok(None),
            CalibrateOn::Auto => true,
            CalibrateOn::BuiltIn | CalibrateOn::File(_) => false,
        };
        let (name, set) = match &args.calibrate {
            CalibrateOn::File(file) => {
                let most = args.calibration_tokens.get();
                (file.display().to_string(), read(file, most)?)
            }
            _ => (
                "the built-in conversations".to_owned(),
                CalibrationSet::built_in()?,
            ),
        };
        Ok(Some(Self {
            name,
            set,
            max_tokens: args.calibration_tokens.get(),
            is_default,
            beside: existing_parent(&args.out),
            gathered: RefCell::default(),
        }))
    }

    /// What weights are rounded for, where they are rounded.
    pub(super) fn gather(
        &self,
        checkpoint: &Checkpoint,
        options: &ExportOptions,
        scorer: &ScorerOptions,
    ) -> Result<Option<Calibration>> {
        let rounds = matches!(
            options.precision,
            Some(Precision::Int8 | Precision::Int4 | Precision::W8a8)
        );
        match (rounds, self.is_default) {
            (true, _) => {}
            (false, true) => return Ok(None),
            (false, false) => bail!(
                "--calibrate is for weights that are rounded to integers: give --precision int8, int4 or w8a8"
            ),
        }
        // Rounded to the nearest, int8 moves scores as far as bf16 does, and the others further.
        let is_needed = options.precision != Some(Precision::Int8) || !self.is_default;
        if !is_needed && !Gathered::is_quick(checkpoint) {
            report!(
                "note: weights are rounded to the nearest integers, since the model is large; --calibrate builtin rounds them \
                 so that scores move half as far"
            );
            return Ok(None);
        }
        report!("calibrating on {}: scoring in fp32", self.name);
        let set = (&self.set, self.max_tokens);
        let bar = progress::bar(0, GATHERED);
        let on_step = on_step(bar.clone());
        let gathered = Gathered::new(checkpoint, options, scorer, set, &self.beside, &on_step);
        bar.finish_and_clear();
        match gathered {
            Ok((gathered, calibration)) => {
                self.gathered.replace(Some(gathered));
                Ok(Some(calibration))
            }
            // A model that scores steps, and one whose template is for conversations of another kind, takes none.
            Err(error) if self.is_default && (!is_needed || matches!(error, CalibrationError::Empty)) => {
                report!(
                    "note: weights are rounded to the nearest integers, which moves scores further than --calibrate does: {}: \
                     {}",
                    self.name,
                    describe(&error.into())
                );
                Ok(None)
            }
            Err(error) if self.is_default => Err(error).context(
                "these integers are calibrated, unless --calibrate off has them rounded to the nearest, which moves \
                 scores further",
            ),
            Err(error) => Err(error).with_context(|| format!("--calibrate, {}", self.name)),
        }
    }

    pub(super) fn correction(
        &self,
        bundle: &Path,
        manifest: &Manifest,
        scorer: &ScorerOptions,
    ) -> Result<Option<Vec<f32>>> {
        let Some(gathered) = self.gathered.take() else {
            return Ok(None);
        };
        if let Some(reason) = unmeasurable(manifest) {
            report!(
                "note: what rounding does to the mean of the scores is not taken off them, since {reason}"
            );
            return Ok(None);
        }
        report!("calibrating: the mean of the scores");
        gathered
            .correction(bundle, manifest, scorer)
            .with_context(|| format!("--calibrate, {}", self.name))
    }
}

/// Says what comes, and shows how far it is.
fn on_step(bar: ProgressBar) -> OnStep {
    Arc::new(move |step| match step {
        Step::Begun {
            conversations,
            tokens,
            disk,
            rounding,
        } => {
            report!(
                "calibrating: {conversations} conversations, {tokens} tokens; at most {} on the disk meanwhile, and about {} of \
                 rounding after that",
                DecimalBytes(disk),
                HumanDuration(rounding.max(Duration::from_secs(1)))
            );
            bar.set_length(disk);
        }
        Step::Gathered(bytes) => bar.set_position(bytes),
    })
}

/// The directory that is there and that the bundle will be in.
fn existing_parent(out: &Path) -> PathBuf {
    let parents = out.ancestors().skip(1).filter(|parent| parent.is_dir());
    parents
        .map(Path::to_owned)
        .next()
        .unwrap_or_else(|| ".".into())
}

/// Reads at most so many conversations.
fn read(file: &Path, most: usize) -> Result<CalibrationSet> {
    let shown = file.display();
    let opened = File::open(file).with_context(|| format!("cannot open {shown}"))?;
    let mut all: Vec<Conversation> = Vec::new();
    for record in RecordReader::new(BufReader::new(opened)) {
        let (entry, conversations) = Entry::prepare(record, false);
        entry
            .check()
            .with_context(|| format!("{shown}, line {}", entry.line))?;
        all.extend(conversations);
        if all.len() >= most {
            break;
        }
    }
    if all.is_empty() {
        bail!("{shown} has no conversations to calibrate on");
    }
    Ok(CalibrationSet {
        conversations: all,
        sha256: file_sha256(file)?,
        may_be_refused: false,
    })
}
