//! Tables in memory, as Arrow has them: from files, to JSON, and from JSON.

pub(crate) mod arrow;
pub(crate) mod build;
mod guard;
pub(crate) mod infer;
pub(crate) mod json;
pub(crate) mod number;
pub(crate) mod parquet;
pub(crate) mod pick;
pub(crate) mod rows;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema, SchemaRef};

/// Rows that are taken off a file at a time, at most; of rows with long texts fewer.
pub(crate) const BATCH_ROWS: usize = 1024;

/// What gives a table a part at a time.
pub(crate) trait Batches: Send {
    fn schema(&self) -> SchemaRef;

    /// How many rows there are, where that is known before they are read.
    fn rows(&self) -> Option<u64> {
        None
    }

    /// The next part, or why there is none and no more will come.
    fn next(&mut self) -> Option<Result<RecordBatch, String>>;
}

/// How the columns of another table differ, for a message that goes on with `in FIRST`. What is noted beside them is no
/// matter.
pub(crate) fn difference(first: &Schema, other: &Schema) -> Option<String> {
    for field in other.fields() {
        let name = field.name();
        match first.field_with_name(name) {
            Err(_) => return Some(format!("its column `{name}` is not")),
            Ok(known) if known.data_type() != field.data_type() => {
                let (ours, theirs) = (field.data_type(), known.data_type());
                return Some(format!("its column `{name}` is {ours}, and {theirs}"));
            }
            Ok(known) if known.is_nullable() != field.is_nullable() => {
                return Some(format!(
                    "its column `{name}` may be null where it may not, or the other way round,"
                ));
            }
            Ok(_) => {}
        }
    }
    let missing = first
        .fields()
        .iter()
        .find(|field| other.field_with_name(field.name()).is_err());
    if let Some(field) = missing {
        return Some(format!("it has no column `{}`, which is", field.name()));
    }
    let names = |schema: &Schema| -> Vec<_> {
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    };
    (names(first) != names(other)).then(|| "its columns are in another order than".to_owned())
}

/// Whether JSON can have the values of a type: binary data and durations it cannot.
pub(crate) fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => false,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => is_json(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_json(field.data_type())),
        DataType::Dictionary(_, values) => is_json(values),
        _ => true,
    }
}

/// Refuses a table that is no use as one of rows with names.
fn check(schema: &Schema) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for field in schema.fields() {
        if !seen.insert(field.name()) {
            return Err(format!(
                "it has the column `{}` twice: keep one",
                field.name()
            ));
        }
    }
    Ok(())
}
