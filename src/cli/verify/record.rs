//! `worldpm-ort verify --record`: makes the reference scores of a bundle.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use worldpm_ort_bundle::{Manifest, Pooling, hash::file_sha256};
use worldpm_ort_export::{Checkpoint, ExportOptions};

use crate::{
    Bundle,
    cli::{common::outcome::Status, export::report_skipped, verify::VerifyArgs},
    references::{self, Asked},
    text::{ChatEncoder, TextOptions},
    verify::reference,
};

pub(crate) fn run(args: &VerifyArgs) -> Result<Status> {
    let weights = args.scorer.weights_dir.as_deref();
    let bundle = Bundle::open(&args.model, weights)?;
    let manifest = bundle.manifest();
    let scorer = args.scorer.options();
    let started = Instant::now();
    let (reference, skipped) = if args.checkpoint.is_none() && reference::is_reference(manifest) {
        reference::of_bundle(&bundle, &scorer)?
    } else {
        let dir = match &args.checkpoint {
            Some(dir) => dir.clone(),
            None => checkpoint_of(&bundle)?,
        };
        let adapter = adapter_of(args, manifest)?;
        let checkpoint = Checkpoint::open_with_adapter(&dir, adapter.as_deref())?;
        same_checkpoint(&dir, manifest)?;
        let options = ExportOptions {
            adapter,
            ..export_options(&bundle)?
        };
        references::make(&checkpoint, &options, &scorer, Asked::Yes)?
    };
    report_skipped(&skipped);
    references::write(&reference, &args.model)?;
    report!(
        "{}: reference scores of {} probes, made in {:.1} s with ONNX Runtime {}",
        args.model.join(reference::FILE_NAME).display(),
        reference.probes.len(),
        started.elapsed().as_secs_f64(),
        reference.made_with.onnxruntime
    );
    Ok(Status::Done)
}

/// The checkpoint that a bundle refers to.
fn checkpoint_of(bundle: &Bundle) -> Result<PathBuf> {
    let dir = bundle.weights();
    if dir.join("config.json").is_file() {
        return Ok(dir.to_owned());
    }
    bail!(
        "{} is no checkpoint (it has no config.json), and the bundle's own graphs do not compute in fp32 on the \
         CPU; name the checkpoint that it was exported from with --checkpoint",
        dir.display()
    )
}

fn same_checkpoint(dir: &Path, manifest: &Manifest) -> Result<()> {
    let config = dir.join("config.json");
    if file_sha256(&config)? == manifest.source.config_sha256 {
        return Ok(());
    }
    bail!(
        "{} is not the configuration that the bundle was exported from (its SHA-256 differs from the manifest's); \
         name the right checkpoint with --checkpoint",
        config.display()
    )
}

/// The directory of the adapter that is merged into a bundle.
fn adapter_of(args: &VerifyArgs, manifest: &Manifest) -> Result<Option<PathBuf>> {
    let Some(merged) = &manifest.source.adapter else {
        ensure!(
            args.adapter.is_none(),
            "the bundle was exported without an adapter; leave out --adapter"
        );
        return Ok(None);
    };
    let Some(dir) = &args.adapter else {
        bail!("an adapter is merged into the bundle; name its directory with --adapter");
    };
    ensure!(
        merged.is_in(dir)?,
        "{} is not the adapter that was merged into the bundle (a SHA-256 differs from the manifest's); name the \
         right one with --adapter",
        dir.display()
    );
    Ok(Some(dir.clone()))
}

/// Options that give the probes of a bundle, and score them at the same tokens.
fn export_options(bundle: &Bundle) -> Result<ExportOptions> {
    let manifest = bundle.manifest();
    // A model that scores steps has no other rule, but its step token may be another.
    let end = manifest.end_token.iter();
    let mut token_ids: BTreeMap<_, _> = end.map(|token| (token.text.clone(), token.id)).collect();
    let (pooling, step_token) = match manifest.pooling {
        Pooling::EachToken { token_id } => {
            let token = ChatEncoder::from_files(&bundle.text_files()?, TextOptions::default())?
                .token_text(token_id);
            let token = token.with_context(|| {
                format!("the bundle's tokenizer has no token {token_id}, which its manifest scores")
            })?;
            token_ids.insert(token.clone(), token_id);
            (None, Some(token))
        }
        rule => (Some(rule), None),
    };
    Ok(ExportOptions {
        pooling,
        step_token,
        end_token: Some(
            manifest
                .end_token
                .as_ref()
                .map_or_else(String::new, |token| token.text.clone()),
        ),
        system_marker: Some(manifest.text.system_marker),
        text_from: Some(manifest.text.from),
        token_ids,
        ..ExportOptions::default()
    })
}
