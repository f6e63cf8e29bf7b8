//! From a bundle to a scorer.

use std::{path::Path, sync::Arc};

use worldpm_ort_bundle::{Interface, Pooling, text_files::TextFiles};

use super::Scorer;
use crate::{
    bundle::Bundle,
    deploy::load::{Loaded, load},
    engine::Engine,
    error::{BundleProblem, Error, Result},
    options::ScorerOptions,
    queue::Queue,
    reward::Reading,
    submitted::Finishing,
    templated::Templated,
    text::{ChatEncoder, LengthRule, TextOptions},
    weights::WeightFiles,
};

impl Scorer {
    /// Opens the bundle in `directory` and loads its stages, as far as they are to be resident.
    ///
    /// # Memory
    /// On the CPU, about 4 bytes per parameter of the layers and 2 of the embedding. A model that is
    /// [streamed](crate::Residency::Streamed) takes one or two stages of that.
    ///
    /// # Errors
    /// Whatever is wrong with the bundle, the library or the devices.
    pub fn open(directory: &Path, options: &ScorerOptions) -> Result<Self> {
        #[cfg(feature = "testing")]
        if let Some(engine) = crate::testing::standing_in() {
            return Self::open_with_engine(directory, options, engine);
        }
        Self::open_with(directory, options, |bundle, max_tokens| {
            let loaded = load(bundle, options, max_tokens)?;
            bundle.weight_files().require_unchanged()?;
            Ok((loaded, Some(Arc::clone(bundle.weight_files()))))
        })
    }

    /// Opens the bundle in `directory` for its manifest, template and tokenizer, and computes with `engine`: one that stands
    /// in for the model in tests, or that runs it elsewhere. Of the options, those of text and of the queue count.
    ///
    /// # Errors
    /// Whatever is wrong with the bundle.
    pub fn open_with_engine(
        directory: &Path,
        options: &ScorerOptions,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        Self::open_with(directory, options, |_, max_tokens| {
            Ok((Loaded::with_engine(engine, options, max_tokens), None))
        })
    }

    fn open_with(
        directory: &Path,
        options: &ScorerOptions,
        load: impl FnOnce(&Bundle, usize) -> Result<(Loaded, Option<Arc<WeightFiles>>)>,
    ) -> Result<Self> {
        let (bundle, text_files) =
            Bundle::open_with_text(directory, options.weights_dir.as_deref())?;
        let manifest = bundle.manifest();
        if manifest.interface != Interface::Packed {
            return Err(Error::Bundle {
                path: directory.to_owned(),
                problem: BundleProblem::Interface(manifest.interface),
            });
        }
        let pooling = options.pooling.unwrap_or(manifest.pooling);
        let reading = Reading::new(
            &manifest.model.labels,
            manifest.activation,
            pooling,
            options.reduce,
        )?;
        let text = TextOptions::default()
            .with_system_marker(manifest.text.system_marker)
            .with_now(options.now)
            .with_special_tokens(options.special_tokens);
        let encoder = open_encoder(&text_files, text, pooling)?;
        let end = manifest.end_token.clone();
        let end = end.filter(|_| options.append_end_token);
        let templated = Templated::new(&encoder, options.system_default, end);
        let limit = manifest.max_length;
        let max_tokens = options.max_length.map_or(limit, |wanted| wanted.min(limit));
        let (loaded, weights) = load(&bundle, max_tokens)?;
        let engine = Arc::clone(&loaded.engine);
        Ok(Self {
            queue: Queue::start(engine, reading.width(), loaded.budget, options.queue)?,
            encoder,
            templated,
            length: LengthRule {
                max_tokens: loaded.max_length,
                truncation: options.truncation,
                scored_token: step_token(pooling),
            },
            pooling,
            finishing: Arc::new(Finishing {
                reading,
                tally: Arc::default(),
                weights,
            }),
            loaded,
            bundle,
            allow_no_answer: options.allow_no_answer,
        })
    }
}

fn step_token(pooling: Pooling) -> Option<u32> {
    match pooling {
        Pooling::EachToken { token_id } => Some(token_id),
        Pooling::Last | Pooling::BeforeFirstPad { .. } | Pooling::LastNonPad { .. } => None,
    }
}

/// The bundle's tokenizer and template. It knows the text of the step token only when it is open.
fn open_encoder(files: &TextFiles, text: TextOptions, pooling: Pooling) -> Result<ChatEncoder> {
    let encoder = ChatEncoder::from_files(files, text)?;
    let Some(id) = step_token(pooling) else {
        return Ok(encoder);
    };
    let text = encoder.token_text(id).ok_or_else(|| Error::Bundle {
        path: files.dir().join("tokenizer.json"),
        problem: BundleProblem::NoScoredToken { id },
    })?;
    Ok(encoder.with_step_token(text))
}
