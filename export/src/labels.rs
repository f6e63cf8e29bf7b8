//! The scores that a model gives, by name.

use worldpm_ort_bundle::checkpoint_files::CONFIG_FILE;

use crate::{
    arch::is_harmless,
    checkpoint::Checkpoint,
    error::{Error, Result},
};

/// Parts of the names of a decoder's tensors, which those of a head do not have.
const DECODER_PARTS: [&str; 4] = ["layers.", "embed_tokens", "model.norm.", "rotary_emb"];
/// Tensors that an error names; the others are counted.
const MAX_NAMED: usize = 8;

/// How many scores the reward head gives: the rows of its last weight.
///
/// # Errors
/// [`Error::MissingTensor`] when a weight of the head is missing; [`Error::Tensor`] when that one is not of the model's
/// shape.
pub(crate) fn count(checkpoint: &Checkpoint) -> Result<u64> {
    let config = checkpoint.config();
    check_head(checkpoint)?;
    let name = config.architecture.class().head.last_weight();
    let rows = config.architecture.class().labels.unwrap_or_else(|| {
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
    let is_fixed = config.architecture.class().labels.is_some();
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
                config.architecture.class().head.last_weight()
            ),
        });
    }
    let names = config.label_names.clone();
    Ok(names
        .filter(|names| names.len() as u64 == count)
        .unwrap_or_else(|| (0..count).map(|number| format!("LABEL_{number}")).collect()))
}

/// Checks that the tensors of the reward head are there.
///
/// # Errors
/// [`Error::MissingTensor`], which names those that may be a head of another name.
fn check_head(checkpoint: &Checkpoint) -> Result<()> {
    let config = checkpoint.config();
    let tensors = checkpoint.tensors();
    let wanted = config.architecture.class().head.tensors();
    let Some(missing) = wanted.iter().find(|name| !tensors.contains_key(**name)) else {
        return Ok(());
    };
    let part = |name: &str| DECODER_PARTS.iter().any(|part| name.contains(part));
    let other = tensors
        .iter()
        .filter(|(name, _)| !part(name) && !wanted.contains(&name.as_str()));
    let other = other.filter(|(name, _)| !is_harmless(name));
    let mut other: Vec<String> = other
        .map(|(name, entry)| format!("`{name}` {:?}", entry.shape))
        .collect();
    let more = other.len().saturating_sub(MAX_NAMED);
    other.truncate(MAX_NAMED);
    if more > 0 {
        other.push(format!("{more} more"));
    }
    let wanted = wanted.join("`, `");
    let found = match (other.is_empty(), tensors.keys().any(|name| is_harmless(name))) {
        (false, _) => format!(
            "beside the decoder the checkpoint has {}. If the head is among them and computes the same, save it under the \
             model's names; a head of another form is not supported",
            other.join(", ")
        ),
        (true, true) => "the checkpoint has a language-model head (`lm_head.weight`) and no other: it is a language model, \
                         or what a reward model was trained from. Take the trained reward model"
            .to_owned(),
        (true, false) => "the checkpoint has no head of any name: take the whole one, or the adapter that was trained with it"
            .to_owned(),
    };
    Err(Error::MissingTensor {
        tensor: (*missing).to_owned(),
        place: checkpoint.dir().display().to_string(),
        problem: format!(
            "is missing; the reward head of {} is `{wanted}`, and {found}",
            config.architecture
        ),
    })
}
