//! Columns of tables, from values of JSON.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, StringArray,
    StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use worldpm_ort_runtime::json::{Json, Number};

use super::infer::{Clash, integer};

/// Why a value does not fit, and the row that it is in.
pub(crate) type Misfit = (usize, Clash);

/// A column of these values, each of a row. There are the types of [`Type`](super::infer::Type).
pub(crate) fn column(
    values: &[(usize, Option<&Json>)],
    data_type: &DataType,
) -> Result<ArrayRef, Misfit> {
    Ok(match data_type {
        DataType::Boolean => Arc::new(scalars::<BooleanArray, _>(
            values,
            "true or false",
            |value| match value {
                Json::Bool(value) => Some(*value),
                _ => None,
            },
        )?),
        DataType::Int64 => Arc::new(scalars::<Int64Array, _>(
            values,
            "an integer of 64 bits",
            |value| match value {
                Json::Number(number) => integer(number),
                _ => None,
            },
        )?),
        DataType::Float64 => Arc::new(scalars::<Float64Array, _>(
            values,
            "a number of 64 bits",
            |value| match value {
                Json::Number(number) => float(number),
                _ => None,
            },
        )?),
        DataType::Utf8 => Arc::new(scalars::<StringArray, _>(values, "a string", Json::as_str)?),
        DataType::List(item) => {
            let mut lengths = Vec::with_capacity(values.len());
            let mut items = Vec::new();
            for (row, value) in values {
                let list = match value {
                    None | Some(Json::Null) => &[][..],
                    Some(Json::Array(list)) => list,
                    Some(other) => return Err(misfit(*row, other, "a list")),
                };
                lengths.push(list.len());
                items.extend(list.iter().map(|item| (*row, Some(item))));
            }
            let items = column(&items, item.data_type())
                .map_err(|(row, clash)| (row, clash.within("[]")))?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(
                Arc::clone(item),
                offsets,
                items,
                nulls(values),
            ))
        }
        DataType::Struct(fields) => {
            for (row, value) in values {
                match value {
                    None | Some(Json::Null) => {}
                    Some(Json::Object(object)) => {
                        let new = object.keys().find(|name| fields.find(name).is_none());
                        if let Some(name) = new {
                            let problem =
                                format!("the objects of the first rows have no field `{name}`");
                            return Err((*row, clash(problem)));
                        }
                    }
                    Some(other) => return Err(misfit(*row, other, "an object")),
                }
            }
            let build = |field: &Arc<arrow_schema::Field>| {
                let name = field.name();
                let values = values
                    .iter()
                    .map(|(row, value)| (*row, value.and_then(|value| value.get(name))));
                let values: Vec<_> = values.collect();
                column(&values, field.data_type())
                    .map_err(|(row, clash)| (row, clash.within(&format!(".{name}"))))
            };
            let columns = fields.iter().map(build).collect::<Result<Vec<_>, _>>()?;
            match columns.is_empty() {
                true => Arc::new(StructArray::new_empty_fields(values.len(), nulls(values))),
                false => Arc::new(StructArray::new(fields.clone(), columns, nulls(values))),
            }
        }
        _ => {
            let known = values
                .iter()
                .find_map(|(row, value)| Some((*row, value.filter(|value| !value.is_null())?)));
            if let Some((row, value)) = known {
                let problem = format!(
                    "{}, and in the first rows there was nothing but null",
                    value.kind()
                );
                return Err((row, clash(problem)));
            }
            Arc::new(NullArray::new(values.len()))
        }
    })
}

fn scalars<'a, A: FromIterator<Option<T>>, T>(
    values: &[(usize, Option<&'a Json>)],
    expected: &str,
    read: impl Fn(&'a Json) -> Option<T>,
) -> Result<A, Misfit> {
    let read = |(row, value): &(usize, Option<&'a Json>)| match value {
        None | Some(Json::Null) => Ok(None),
        Some(value) => read(value)
            .map(Some)
            .ok_or_else(|| misfit(*row, value, expected)),
    };
    values.iter().map(read).collect()
}

/// An integer that a double cannot hold is none.
fn float(number: &Number) -> Option<f64> {
    let value = number.as_f64();
    let is_same = !number.is_integer() || number.as_i128() == Some(value as i128);
    (is_same && value.is_finite()).then_some(value)
}

fn nulls(values: &[(usize, Option<&Json>)]) -> Option<NullBuffer> {
    let known = |(_, value): &(usize, Option<&Json>)| value.is_some_and(|value| !value.is_null());
    let nulls: NullBuffer = values.iter().map(known).collect::<Vec<_>>().into();
    (nulls.null_count() > 0).then_some(nulls)
}

fn misfit(row: usize, value: &Json, expected: &str) -> Misfit {
    let found = match value {
        Json::Number(number) => number.to_string(),
        other => other.kind().to_owned(),
    };
    (
        row,
        clash(format!("{found}, and by the first rows it is {expected}")),
    )
}

fn clash(problem: String) -> Clash {
    Clash {
        path: String::new(),
        problem,
    }
}
