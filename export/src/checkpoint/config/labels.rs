//! The model's labels: how many scores it gives, and what they are called.

use serde_json::Value;

use crate::{
    checkpoint::{fields::Fields, python_json::shown},
    error::Result,
};

/// How many there are, where the file says so.
pub(super) fn num_labels(fields: &Fields<'_>, names: Option<&[String]>) -> Result<Option<usize>> {
    let declared = fields.optional_size("num_labels")?;
    match (declared, names.map(<[String]>::len)) {
        (Some(declared), Some(count)) if declared != count => Err(fields.error(
            "num_labels",
            format!("is {declared}, but `id2label` has {count} entries"),
        )),
        (declared, count) => Ok(count.or(declared)),
    }
}

/// The values of `id2label` in the order of its keys, which are numbers as text. A value may be a number, or null for a
/// label without a name.
pub(super) fn label_names(fields: &Fields<'_>) -> Result<Option<Vec<String>>> {
    let Some(labels) = fields.get("id2label") else {
        return Ok(None);
    };
    let labels = labels
        .as_object()
        .filter(|labels| !labels.is_empty())
        .ok_or_else(|| fields.error("id2label", "must be an object with at least one label"))?;
    let mut names: Vec<String> = Vec::with_capacity(labels.len());
    for number in 0..labels.len() {
        let name = labels.get(&number.to_string()).ok_or_else(|| {
            fields.error(
                "id2label",
                format!(
                    "has {} entries and none for \"{number}\"; the keys must be \"0\", \"1\", … \
                     without a gap",
                    labels.len()
                ),
            )
        })?;
        let name = match name {
            // `transformers` goes on with a label that has no name; this is the one that it gives otherwise.
            Value::Null => format!("LABEL_{number}"),
            Value::Number(name) => name.to_string(),
            Value::String(name) if !name.is_empty() => name.clone(),
            _ => {
                return Err(fields.error(
                    "id2label",
                    format!(
                        "entry \"{number}\" must be a name, a number or null, not {}",
                        shown(name)
                    ),
                ));
            }
        };
        if let Some(first) = names.iter().position(|known| *known == name) {
            return Err(fields.error(
                "id2label",
                format!(
                    "entries \"{first}\" and \"{number}\" are both `{name}`; scores are returned by \
                     name, so the names must differ"
                ),
            ));
        }
        names.push(name);
    }
    Ok(Some(names))
}
