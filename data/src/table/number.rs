//! Cells of tables, read as numbers.

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::DataType;
use worldpm_ort_runtime::json::Json;

use super::{is_json, json};
use crate::numeric::{NOT_FINITE, Numeric, of_value, splits};

/// The number in a row of the column that this name stands for.
pub(crate) fn number<'a>(
    columns: &dyn Fn(&str) -> Option<&'a ArrayRef>,
    row: usize,
    name: &str,
) -> Numeric {
    for (column, within) in splits(name) {
        match (columns(column), within) {
            (None, _) => {}
            (Some(array), _) if array.is_null(row) => return Numeric::Null,
            (Some(array), Some(within)) => {
                return match array.data_type() {
                    DataType::Struct(_) => {
                        let fields = array.as_struct();
                        number(&|name| fields.column_by_name(name), row, within)
                    }
                    _ => Numeric::Missing,
                };
            }
            (Some(array), None) => return of_cell(array, row),
        }
    }
    Numeric::Missing
}

fn of_cell(array: &ArrayRef, row: usize) -> Numeric {
    match (json::value(array.as_ref(), row), array.data_type()) {
        (Json::Null, DataType::Null) => Numeric::Null,
        (Json::Null, data_type) if is_json(data_type) => Numeric::Other(NOT_FINITE.to_owned()),
        (Json::Null, data_type) => Numeric::Other(data_type.to_string()),
        (value, _) => of_value(&value),
    }
}
