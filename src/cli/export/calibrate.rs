//! `export --calibrate`.

use std::{
    cell::RefCell,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use worldpm_ort_bundle::{Manifest, Precision, hash::file_sha256};
use worldpm_ort_export::{Calibration, Checkpoint, ExportOptions};

use super::args::{CalibrateOn, ExportArgs, ProbeScores};
use crate::{
    Conversation, ScorerOptions,
    calibration::{CalibrationSet, Gathered},
    cli::common::outcome::describe,
    records::{Entry, RecordReader},
    references::Asked,
    verify::unmeasurable,
};

/// The conversations of `--calibrate`, and what was gathered from them.
pub(super) struct Calibrating {
    name: String,
    set: CalibrationSet,
    max_tokens: usize,
    asked: Asked,
    /// Where what goes into layers is kept meanwhile.
    beside: PathBuf,
    gathered: RefCell<Option<Gathered>>,
}

impl Calibrating {
    /// Reads the conversations; `None` where there are none to be taken.
    pub(super) fn new(args: &ExportArgs) -> Result<Option<Self>> {
        let asked = match &args.calibrate {
            CalibrateOn::Off => return Ok(None),
            CalibrateOn::Auto if args.probes == ProbeScores::Off => return Ok(None),
            CalibrateOn::Auto => Asked::No,
            CalibrateOn::BuiltIn | CalibrateOn::File(_) => Asked::Yes,
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
            asked,
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
        match (rounds, self.asked) {
            (true, _) => {}
            (false, Asked::No) => return Ok(None),
            (false, Asked::Yes) => bail!(
                "--calibrate is for weights that are rounded to integers: give --precision int8, int4 or w8a8"
            ),
        }
        report!("calibrating on {}: scoring in fp32", self.name);
        let set = (&self.set, self.max_tokens);
        match Gathered::new(checkpoint, options, scorer, set, self.asked, &self.beside) {
            Ok((gathered, calibration)) => {
                let data = calibration.data();
                report!(
                    "calibrating on {}: {} conversations, {} tokens",
                    self.name,
                    data.conversations,
                    data.tokens
                );
                self.gathered.replace(Some(gathered));
                Ok(Some(calibration))
            }
            Err(error) if self.asked == Asked::No => {
                report!(
                    "note: weights are rounded to the nearest integers, which moves scores further than --calibrate does: {}",
                    describe(&error.into())
                );
                Ok(None)
            }
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
