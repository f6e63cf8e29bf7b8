//! `worldpm-ort verify`: which published scores are compared, and what is printed of them.

use std::io::Write;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use worldpm_ort_bundle::Manifest;
use worldpm_ort_export::recipe::Recipe;

use crate::{
    cli::{
        common::table::{Side, Table},
        recipes,
        verify::VerifyArgs,
    },
    verify::PublishedResult,
};

/// The recipe whose published scores the bundle should give: the one that was asked for, or that of the repository
/// that the bundle was exported from. An adapter makes another model.
pub(crate) fn recipe(args: &VerifyArgs, manifest: &Manifest) -> Result<Option<Recipe>> {
    if let Some(named) = &args.recipe {
        let recipe = recipes::find(named)?;
        ensure!(
            !recipe.published.is_empty(),
            "the recipe {} has no published scores to compare with",
            recipe.name
        );
        return Ok(Some(recipe));
    }
    let source = &manifest.source;
    let (Some(repository), None) = (&source.repository, &source.adapter) else {
        return Ok(None);
    };
    let known = Recipe::all()?;
    Ok(known
        .into_iter()
        .find(|recipe| recipe.repository == *repository && !recipe.published.is_empty()))
}

pub(crate) fn print(output: &mut dyn Write, results: &[PublishedResult]) -> Result<()> {
    if results.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        ("published", Side::Left),
        ("tokens", Side::Right),
        ("score", Side::Right),
        ("got", Side::Right),
        ("difference", Side::Right),
        ("limit", Side::Right),
        ("", Side::Left),
    ]);
    for result in results {
        let problem = match (&result.got, result.passed()) {
            (_, true) => String::new(),
            (Ok(_), false) => "FAILED".to_owned(),
            (Err(problem), false) => format!("FAILED: {problem}"),
        };
        table.row([
            result.id.clone(),
            result.tokens.map_or(String::new(), |n| n.to_string()),
            format!("{:.6}", result.published),
            result
                .got
                .as_ref()
                .map_or("none".to_owned(), |got| format!("{got:.6}")),
            result.difference().map_or(String::new(), small),
            small(result.limit),
            problem,
        ]);
    }
    write!(output, "{table}")?;
    let passed = results.iter().filter(|result| result.passed()).count();
    let all = passed == results.len();
    let verdict = if all { "ok" } else { "FAILED" };
    writeln!(
        output,
        "{verdict}: {passed} of {} published scores",
        results.len()
    )?;
    Ok(())
}

pub(crate) fn to_json(result: &PublishedResult) -> Value {
    let mut line = json!({
        "id": result.id,
        "published": result.published,
        "limit": result.limit,
        "passed": result.passed(),
    });
    match &result.got {
        Ok(got) => line["got"] = json!(got),
        Err(problem) => line["error"] = json!(problem),
    }
    if let Some(difference) = result.difference() {
        line["difference"] = json!(difference);
    }
    line
}

/// A difference, shortly.
pub(crate) fn small(difference: f64) -> String {
    if difference == 0.0 {
        return "0".to_owned();
    }
    format!("{difference:.1e}")
}
