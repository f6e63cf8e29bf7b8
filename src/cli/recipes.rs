//! `worldpm-ort recipes`, and the recipe that an export is given.

use std::{io::Write, path::Path};

use anyhow::Result;
use indicatif::DecimalBytes;
use worldpm_ort_export::recipe::Recipe;

use super::common::{heading, outcome::Status};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::OUTPUT_FORMAT)]
pub(crate) struct RecipesArgs {
    /// Print one JSON array, with everything that the recipes hold
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &RecipesArgs) -> Result<Status> {
    let recipes = Recipe::all()?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &recipes)?;
        writeln!(out)?;
        return Ok(Status::Done);
    }
    let width = Recipe::names().map(str::len).max().unwrap_or_default();
    for recipe in &recipes {
        writeln!(
            out,
            "{:width$}  {:>9}  {}; {}; {}",
            recipe.name,
            DecimalBytes(recipe.weight_bytes).to_string(),
            recipe.architecture,
            recipe.license,
            recipe.summary,
        )?;
    }
    Ok(Status::Done)
}

/// The recipe of this name or in this file. A file wins.
pub(crate) fn find(named: &Path) -> Result<Recipe> {
    Ok(match named.is_file() {
        true => Recipe::read(named)?,
        false => Recipe::named(&named.to_string_lossy())?,
    })
}
