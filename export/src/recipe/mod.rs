//! Recipes: what is known of published reward models, and how to export them.
//!
//! They are data, `models/<name>/recipe.json`, and part of the program. A recipe says where each of its facts was
//! read, and which could not be confirmed. [`Recipe::check`] compares it with the checkpoint at hand, so that nobody
//! exports one model for another.
//!
//! ```
//! use worldpm_ort_export::recipe::Recipe;
//!
//! let recipe = Recipe::named("worldpm-72b")?;
//! assert_eq!(recipe.repository, "Qwen/WorldPM-72B");
//! assert_eq!(recipe.published.len(), 2);
//! # Ok::<(), worldpm_ort_export::Error>(())
//! ```

mod outline;
mod shape;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use worldpm_ort_bundle::{Device, Precision, files, published::PublishedScore};

use crate::{
    checkpoint::ModelConfig,
    error::{Error, Result},
};

pub use shape::Shape;

/// A recipe has a few KB.
const MAX_BYTES: u64 = 1 << 20;

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../assets/recipes/", $name, ".json")))),*]
    };
}

/// Name and text of every recipe in the program, in the order in which they are listed.
const RECIPES: [(&str, &str); 18] = recipes![
    "worldpm-72b",
    "worldpm-72b-helpsteer2",
    "worldpm-72b-ultrafeedback",
    "worldpm-72b-rlhflow",
    "qwen2.5-math-rm-72b",
    "qwen2.5-math-prm-7b",
    "qwen2.5-math-prm-72b",
    "skywork-reward-v2-qwen3-0.6b",
    "skywork-reward-v2-qwen3-1.7b",
    "skywork-reward-v2-qwen3-4b",
    "skywork-reward-v2-qwen3-8b",
    "skywork-reward-v2-llama-3.2-1b",
    "skywork-reward-v2-llama-3.2-3b",
    "skywork-reward-v2-llama-3.1-8b",
    "skywork-reward-v2-llama-3.1-8b-40m",
    "skywork-reward-llama-3.1-8b-v0.2",
    "skywork-reward-gemma-2-27b-v0.2",
    "rm-mistral-7b",
];

/// What is known of a published model, and how to export it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Recipe {
    /// Its name, as in `worldpm-72b`.
    pub name: String,
    /// What the model is for, in a few words.
    pub summary: String,
    /// Its repository on the Hugging Face hub, `OWNER/NAME`.
    pub repository: String,
    /// The commit of the repository that the recipe is for; `None` stands for the branch `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The license of the weights, by its SPDX name where it has one.
    pub license: String,
    /// The model class, as in `architectures` of `config.json`. It need not be one that this version exports, but one
    /// whose parameters [`Shape::parameters`] knows.
    pub architecture: String,
    /// The dimensions.
    pub shape: Shape,
    /// Parameters that a score needs: without an output embedding, which some checkpoints hold besides.
    pub parameters: u64,
    /// Bytes of these parameters in bf16.
    pub weight_bytes: u64,
    /// Longest sequence that the model was trained on, in tokens, where it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_length: Option<usize>,
    /// How to export it, unless the user says otherwise.
    pub suggested: Suggested,
    /// Scores that the authors have published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PublishedScore>,
    /// Where facts were read, by the field that states them.
    pub sources: BTreeMap<String, String>,
    /// Fields that could not be confirmed, and why: `license`, or `shape.vocab_size`.
    pub unverified: BTreeMap<String, String>,
}

/// Options of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suggested {
    /// Kind of device: `cuda` from 3 billion parameters on.
    pub device: Device,
    /// What the weights are stored as.
    pub precision: Precision,
    /// Pipeline stages: as many as keep each below 40 GB of weights, or one where 80 GB hold all.
    pub stages: usize,
}

impl Recipe {
    /// The names of the recipes in the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RECIPES.iter().map(|(name, _)| *name)
    }

    /// Every recipe in the program.
    ///
    /// # Errors
    /// None: a test reads them all. The type is that of [`Recipe::named`].
    pub fn all() -> Result<Vec<Self>> {
        Self::names().map(Self::named).collect()
    }

    /// A recipe in the program.
    ///
    /// # Errors
    /// [`Error::Recipe`] when there is none of that name; it lists the names there are.
    pub fn named(name: &str) -> Result<Self> {
        let found = RECIPES.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| Error::Recipe {
            recipe: name.to_owned(),
            field: None,
            problem: format!(
                "there is no recipe of that name, and no such file; the names are {}",
                Self::names().collect::<Vec<_>>().join(", ")
            ),
        })?;
        Self::parse(text, name)
    }

    /// The recipe in a file.
    ///
    /// # Errors
    /// [`Error::Bundle`] when it cannot be read; [`Error::Recipe`] when it is not a recipe, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self> {
        let io = |e| Error::io("read the recipe", path, e);
        let bytes = fs::metadata(path).map_err(io)?.len();
        if bytes > MAX_BYTES {
            return Err(Error::Recipe {
                recipe: path.display().to_string(),
                field: None,
                problem: format!("has {bytes} bytes; no recipe is that long"),
            });
        }
        Self::parse(
            &files::read_text_limited(path, files::MAX_CONFIG_BYTES).map_err(io)?,
            &path.display().to_string(),
        )
    }

    /// The recipe in a JSON text; `origin` is for error messages.
    fn parse(text: &str, origin: &str) -> Result<Self> {
        let fail = |field: Option<&str>, problem: String| Error::Recipe {
            recipe: origin.to_owned(),
            field: field.map(str::to_owned),
            problem,
        };
        let recipe: Self = serde_json::from_str(text).map_err(|e| fail(None, e.to_string()))?;
        for (field, value) in recipe.shape.fields() {
            if value == 0 {
                return Err(fail(Some(field), "must not be 0".to_owned()));
            }
        }
        if recipe.suggested.stages == 0 {
            return Err(fail(Some("suggested.stages"), "must not be 0".to_owned()));
        }
        let parameters = recipe.shape.parameters(&recipe.architecture).ok_or_else(|| {
            let problem = format!(
                "no known parameters of `{}`: the class is unknown, or the dimensions are absurd",
                recipe.architecture
            );
            fail(Some("shape"), problem)
        })?;
        if parameters != recipe.parameters {
            let problem = format!("is {}, and the shape makes {parameters}", recipe.parameters);
            return Err(fail(Some("parameters"), problem));
        }
        if recipe.parameters.checked_mul(2) != Some(recipe.weight_bytes) {
            let problem = "must be twice `parameters`: it is for bf16".to_owned();
            return Err(fail(Some("weight_bytes"), problem));
        }
        Ok(recipe)
    }

    /// Compares the recipe with the configuration of the checkpoint at hand. Returns, in words, how they differ in
    /// fields that the recipe calls unverified.
    ///
    /// # Errors
    /// [`Error::Recipe`], which names the first field that differs and both values: this is another model.
    pub fn check(&self, config: &ModelConfig) -> Result<Vec<String>> {
        let differs = |field: &str,
                       here: &dyn std::fmt::Display,
                       recipe: &dyn std::fmt::Display| {
            Error::Recipe {
                recipe: self.name.clone(),
                field: Some(field.to_owned()),
                problem: format!(
                    "the checkpoint has {here}, and the recipe, for {}, {recipe}: give the checkpoint that it is for, \
                     or leave the recipe out",
                    self.repository
                ),
            }
        };
        let architecture = config.architecture.as_str();
        if architecture != self.architecture {
            return Err(differs("architecture", &architecture, &self.architecture));
        }
        let mut notes = Vec::new();
        for (field, here) in shape::of_config(config) {
            let Some((_, recipe)) = self.shape.fields().into_iter().find(|(f, _)| *f == field)
            else {
                continue;
            };
            if here == recipe {
                continue;
            }
            match self.unverified.get(&format!("shape.{field}")) {
                Some(why) => notes.push(format!(
                    "`{field}` is {here}; the recipe `{}` has {recipe}, unverified: {why}",
                    self.name
                )),
                None => return Err(differs(field, &here, &recipe)),
            }
        }
        Ok(notes)
    }
}
