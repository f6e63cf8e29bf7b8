//! The columns of rows of JSON, as their values show them.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use worldpm_ort_runtime::json::Object;

use crate::{
    format::Format,
    row::Kept,
    table::{
        build::Misfit,
        infer::{Clash, Type},
    },
    write::held::Held,
};

/// The columns of these rows, up to the first that has no type in common with those before it, and those that there are
/// beside them.
pub(super) fn inferred(
    mut columns: Vec<(String, Type)>,
    rows: &[Held],
    like: Option<&Object>,
    format: Format,
) -> (SchemaRef, Option<Misfit>) {
    let mut wrong = None;
    let objects = rows
        .iter()
        .enumerate()
        .filter_map(|(row, held)| match &held.columns.0 {
            Kept::Fields(fields) => Some((row, fields)),
            _ => None,
        });
    for (row, object) in objects {
        if let Err(clash) = add_columns(&mut columns, object) {
            wrong = Some((row, clash));
            break;
        }
    }
    for (name, value) in like.into_iter().flat_map(Object::iter) {
        if let Err(clash) = place_of(&mut columns, name).add(value) {
            wrong = Some((0, clash.within(name)));
        }
    }
    let mut fields = Vec::with_capacity(columns.len());
    for (name, found) in columns {
        match found.data_type(format == Format::Parquet) {
            Ok(data_type) => fields.push(Field::new(name, data_type, true)),
            Err(clash) => wrong = Some((0, clash.within(&name))),
        }
    }
    (Arc::new(Schema::new(fields)), wrong)
}

/// Adds what a row shows of the columns, or nothing where it does not go together with what they are.
pub(super) fn add_columns(columns: &mut Vec<(String, Type)>, row: &Object) -> Result<(), Clash> {
    let before = columns.clone();
    let added = row.iter().try_for_each(|(name, value)| {
        let known = place_of(columns, name);
        known.add(value).map_err(|clash| clash.within(name))
    });
    if added.is_err() {
        *columns = before;
    }
    added
}

/// The type of a column, which is a new one where it is not there.
pub(super) fn place_of<'a>(columns: &'a mut Vec<(String, Type)>, name: &str) -> &'a mut Type {
    let at = columns.iter().position(|(known, _)| known == name);
    let at = at.unwrap_or_else(|| {
        columns.push((name.to_owned(), Type::default()));
        columns.len() - 1
    });
    &mut columns[at].1
}
