//! `export --calibrate`.

use std::{
    cell::RefCell,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use worldpm_ort_bundle::{Manifest, hash::file_sha256};
use worldpm_ort_export::{Calibration, Checkpoint, ExportOptions};

use crate::{
    Conversation, ScorerOptions,
    calibration::{CalibrationSet, Gathered},
    records::{Entry, RecordReader},
    verify::unmeasurable,
};

/// The conversations of `--calibrate`, and what was gathered from them.
pub(super) struct Calibrating {
    file: PathBuf,
    set: CalibrationSet,
    max_tokens: usize,
    gathered: RefCell<Option<Gathered>>,
}

impl Calibrating {
    /// Reads the file.
    pub(super) fn new(file: &Path, max_tokens: usize) -> Result<Self> {
        let conversations = read(file)?;
        let set = CalibrationSet {
            conversations,
            sha256: file_sha256(file)?,
        };
        Ok(Self {
            file: file.to_owned(),
            set,
            max_tokens,
            gathered: RefCell::default(),
        })
    }

    pub(super) fn gather(
        &self,
        checkpoint: &Checkpoint,
        options: &ExportOptions,
        scorer: &ScorerOptions,
    ) -> Result<Calibration> {
        let file = self.file.display();
        report!("calibrating on {file}: scoring it in fp32");
        let (gathered, calibration) =
            Gathered::new(checkpoint, options, scorer, &self.set, self.max_tokens)
                .with_context(|| format!("--calibrate {file}"))?;
        let data = calibration.data();
        report!(
            "calibrating on {file}: {} conversations, {} tokens",
            data.conversations,
            data.tokens
        );
        self.gathered.replace(Some(gathered));
        Ok(calibration)
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
            .with_context(|| format!("--calibrate {}", self.file.display()))
    }
}

fn read(file: &Path) -> Result<Vec<Conversation>> {
    let shown = file.display();
    let opened = File::open(file).with_context(|| format!("cannot open {shown}"))?;
    let mut all = Vec::new();
    for record in RecordReader::new(BufReader::new(opened)) {
        let (entry, conversations) = Entry::prepare(record, false);
        entry
            .check()
            .with_context(|| format!("{shown}, line {}", entry.line))?;
        all.extend(conversations);
    }
    if all.is_empty() {
        bail!("{shown} has no conversations to calibrate on");
    }
    Ok(all)
}
