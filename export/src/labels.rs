//! The scores that a model gives, by name.

use crate::{
    arch,
    checkpoint::{CONFIG_FILE, Checkpoint},
    error::{Error, Result},
};

/// How many scores the reward head gives: the rows of its last weight.
///
/// # Errors
/// [`Error::Tensor`] when a weight of the head is missing or that one is not of the model's shape.
pub(crate) fn count(checkpoint: &Checkpoint) -> Result<u64> {
    let config = checkpoint.config();
    arch::check_head(checkpoint)?;
    let name = arch::head(config.architecture).last_weight();
    let rows = arch::fixed_labels(config.architecture).unwrap_or_else(|| {
        let entry = checkpoint.tensors().get(name);
        entry.and_then(|e| e.shape.first().copied()).unwrap_or(1)
    });
    checkpoint.tensor(name, &[rows, config.hidden_size as u64])?;
    Ok(rows)
}

/// The names of the scores, in their order: `id2label` of the configuration, or what `transformers` calls
/// them when it has none, `LABEL_0`, `LABEL_1`, …
///
/// A class that always gives the same number of scores sets its labels itself, so `id2label` then counts
/// only where it has that many.
///
/// # Errors
/// As [`count`], and [`Error::Config`] when the configuration names another number of labels than the
/// head has.
pub(crate) fn names(checkpoint: &Checkpoint) -> Result<Vec<String>> {
    let config = checkpoint.config();
    let count = count(checkpoint)?;
    let is_fixed = arch::fixed_labels(config.architecture).is_some();
    let declared = config.num_labels.map(|labels| labels as u64);
    if let Some(declared) = declared.filter(|&declared| declared != count && !is_fixed) {
        let field = match config.label_names {
            Some(_) => "id2label",
            None => "num_labels",
        };
        return Err(Error::Config {
            path: checkpoint.dir().join(CONFIG_FILE),
            field: field.to_owned(),
            problem: format!(
                "says that there are {declared} labels, and the reward head gives {count} (the rows of \
                 {}); take the configuration that was saved with the weights",
                arch::head(config.architecture).last_weight()
            ),
        });
    }
    let names = config.label_names.clone();
    Ok(names
        .filter(|names| names.len() as u64 == count)
        .unwrap_or_else(|| (0..count).map(|number| format!("LABEL_{number}")).collect()))
}
