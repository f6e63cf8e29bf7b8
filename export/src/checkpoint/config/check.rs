//! The fields of a file against the table of what is known of them: those that are read, those that nobody knows, and a
//! refusal of what would change the mathematics.

use serde_json::{Map, Value};

use super::table::{
    Entry,
    Rule::{Harmless, Only, Own, Read},
};
use crate::{
    arch::Decoder,
    checkpoint::{fields::Fields, python_json::shown},
    error::Result,
};

/// What is left of an object when its fields were looked at.
#[derive(Debug)]
pub(super) struct Checked {
    /// The fields that are read for the decoder, and no others: nothing is read that the table does not say is.
    pub(super) read: Map<String, Value>,
    /// Names of fields that nobody knows, sorted.
    pub(super) unknown: Vec<String>,
}

/// Refuses fields that say that something else is computed, and sorts out the others.
///
/// # Errors
/// [`Error::UnsupportedConfig`](crate::Error::UnsupportedConfig), naming the field.
pub(super) fn check(
    fields: &Fields<'_>,
    table: &[(&str, Entry)],
    decoder: &Decoder,
) -> Result<Checked> {
    let mut checked = Checked {
        read: Map::new(),
        unknown: Vec::new(),
    };
    for (name, value) in fields.map {
        match entry(table, name) {
            Some((rule, _)) if rule.is_read(name, decoder) => {
                checked.read.insert(name.clone(), value.clone());
            }
            Some((Read | Own | Harmless, _)) => {}
            Some((Only(values), about)) => {
                if !is_listed(values, value) {
                    return Err(fields.unsupported(
                        format!("`{}` {}, {about},", fields.full_name(name), shown(value)),
                        format!("its value may only be {}", listed(values)),
                    ));
                }
            }
            None => checked.unknown.push(fields.full_name(name)),
        }
    }
    checked.unknown.sort();
    Ok(checked)
}

/// What the table says of a field.
pub(super) fn entry(table: &[(&str, Entry)], name: &str) -> Option<Entry> {
    let at = table.binary_search_by_key(&name, |(name, _)| name).ok()?;
    table.get(at).map(|(_, entry)| *entry)
}

fn values(list: &str) -> Vec<Value> {
    serde_json::from_str(list).unwrap_or_default()
}

/// Whether a value is one of a list, numbers by their value.
fn is_listed(list: &str, value: &Value) -> bool {
    values(list)
        .iter()
        .any(|listed| match (listed.as_f64(), value.as_f64()) {
            (Some(listed), Some(value)) => listed == value,
            _ => listed == value,
        })
}

fn listed(list: &str) -> String {
    let values: Vec<String> = values(list).iter().map(Value::to_string).collect();
    values.join(" or ")
}
