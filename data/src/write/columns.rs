//! The columns that are added to a table.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray,
    types::{Float64Type, Int64Type},
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};

use super::held::Held;
use crate::added::{Kind, Name, Value};

pub(super) fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Float => DataType::Float64,
        Kind::Integer => DataType::Int64,
        Kind::Bool => DataType::Boolean,
        Kind::Text => DataType::Utf8,
        Kind::Floats => list_of(DataType::Float64),
        Kind::Integers => list_of(DataType::Int64),
        Kind::Lists => list_of(list_of(DataType::Float64)),
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// An added column of these rows.
pub(super) fn added(rows: &[Held], name: &Name, kind: Kind) -> ArrayRef {
    let values = rows.iter().map(|row| {
        let value = row.values.iter().find(|(known, _)| known == name);
        value.map(|(_, value)| value)
    });
    macro_rules! column {
        ($array:ty, $kind:path, $read:expr) => {
            Arc::new(
                values
                    .map(|value| match value {
                        Some($kind(value)) => Some($read(value)),
                        _ => None,
                    })
                    .collect::<$array>(),
            )
        };
    }
    match kind {
        Kind::Float => column!(Float64Array, Value::Float, |value: &f64| *value),
        Kind::Integer => column!(Int64Array, Value::Integer, |value: &usize| i64::try_from(
            *value
        )
        .unwrap_or(i64::MAX)),
        Kind::Bool => column!(BooleanArray, Value::Bool, |value: &bool| *value),
        Kind::Text => column!(StringArray, Value::Text, |value: &String| value.clone()),
        Kind::Floats => {
            let lists = values.map(|value| match value {
                Some(Value::Floats(values)) => {
                    Some(values.iter().copied().map(Some).collect::<Vec<_>>())
                }
                _ => None,
            });
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
        }
        Kind::Integers => {
            let integer = |&value: &usize| Some(i64::try_from(value).unwrap_or(i64::MAX));
            let lists = values.map(|value| match value {
                Some(Value::Integers(values)) => Some(values.iter().map(integer)),
                _ => None,
            });
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
        }
        Kind::Lists => {
            let lists: Vec<_> = values
                .map(|value| match value {
                    Some(Value::Lists(lists)) => Some(lists),
                    _ => None,
                })
                .collect();
            let inner = lists
                .iter()
                .flat_map(|lists| lists.iter().copied().flatten());
            let inner = ListArray::from_iter_primitive::<Float64Type, _, _>(
                inner.map(|list| Some(list.iter().copied().map(Some))),
            );
            let lengths = lists.iter().map(|lists| lists.map_or(0, Vec::len));
            let nulls: NullBuffer = lists.iter().map(Option::is_some).collect::<Vec<_>>().into();
            Arc::new(ListArray::new(
                Arc::new(Field::new("item", inner.data_type().clone(), true)),
                OffsetBuffer::from_lengths(lengths),
                Arc::new(inner),
                (nulls.null_count() > 0).then_some(nulls),
            ))
        }
    }
}
