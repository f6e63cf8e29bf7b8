//! Rows of tables, without what is around them.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt64Array, cast::AsArray,
    make_array, types,
};
use arrow_schema::{ArrowError, DataType};
use arrow_select::{concat::concat, interleave::interleave, take::take};

use super::json::value;

/// For each row, which of several tables it is of, and its place there.
type Places = [(usize, usize)];

/// A table of these rows of others, which have the same columns; `None` of no rows.
pub(crate) fn pick<'a>(
    rows: impl Iterator<Item = (&'a Arc<RecordBatch>, usize)>,
) -> Result<Option<RecordBatch>, ArrowError> {
    let mut tables: Vec<&RecordBatch> = Vec::new();
    let mut places = Vec::new();
    for (batch, row) in rows {
        if !tables
            .last()
            .is_some_and(|last| std::ptr::eq(*last, &**batch))
        {
            tables.push(batch);
        }
        places.push((tables.len() - 1, row));
    }
    let Some(first) = tables.first() else {
        return Ok(None);
    };
    let column = |at: usize| {
        let columns: Vec<&ArrayRef> = tables.iter().map(|table| table.column(at)).collect();
        picked(&columns, &places)
    };
    let columns: Result<Vec<ArrayRef>, ArrowError> = (0..first.num_columns()).map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    RecordBatch::try_new_with_options(first.schema(), columns?, &options).map(Some)
}

/// Rows of columns of one type.
fn picked(columns: &[&ArrayRef], places: &Places) -> Result<ArrayRef, ArrowError> {
    if let DataType::Dictionary(keys, values) = columns[0].data_type()
        && (values.is_string() || values.is_integer())
        && let Some(one) = with_one_dictionary(columns, keys, places)?
    {
        return Ok(one);
    }
    let columns: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
    interleave(&columns, places)
}

/// Rows of columns with dictionaries, which become one: that of the first, and behind it what others have that it has not.
/// Their order may mean something. `None` where that is more than there are keys for.
fn with_one_dictionary(
    columns: &[&ArrayRef],
    key_type: &DataType,
    places: &Places,
) -> Result<Option<ArrayRef>, ArrowError> {
    let values: Vec<&ArrayRef> = columns
        .iter()
        .map(|column| column.as_any_dictionary().values())
        .collect();
    let is_first =
        |other: &&ArrayRef| Arc::ptr_eq(other, values[0]) || other.as_ref() == values[0].as_ref();
    let (keys, values) = if values.iter().all(is_first) {
        let keys: Vec<&dyn Array> = columns
            .iter()
            .map(|column| column.as_any_dictionary().keys())
            .collect();
        (interleave(&keys, places)?, Arc::clone(values[0]))
    } else {
        let (values, renumbered) = united(&values)?;
        let key = |&(table, row): &(usize, usize)| {
            let one = columns[table].slice(row, 1);
            let key = one
                .is_valid(0)
                .then(|| one.as_any_dictionary().normalized_keys());
            key.map(|key| renumbered[table][key[0]])
        };
        match keys_of(key_type, places.iter().map(key).collect()) {
            Some(keys) => (keys, values),
            None => return Ok(None),
        }
    };
    let data = keys.to_data().into_builder();
    let data = data
        .data_type(columns[0].data_type().clone())
        .add_child_data(values.to_data())
        .build()?;
    Ok(Some(make_array(data)))
}

/// The values of dictionaries, each once, and for each dictionary the places of its own among them.
fn united(dictionaries: &[&ArrayRef]) -> Result<(ArrayRef, Vec<Vec<usize>>), ArrowError> {
    let all: Vec<&dyn Array> = dictionaries.iter().map(|values| values.as_ref()).collect();
    let all = concat(&all)?;
    let (mut known, mut first) = (HashMap::new(), Vec::new());
    let mut place = |at: usize| {
        *known
            .entry(value(all.as_ref(), at).to_string())
            .or_insert_with(|| {
                first.push(at as u64);
                first.len() - 1
            })
    };
    let mut renumbered = Vec::with_capacity(dictionaries.len());
    let mut begin = 0;
    for values in dictionaries {
        let end = begin + values.len();
        renumbered.push((begin..end).map(&mut place).collect());
        begin = end;
    }
    let values = take(&all, &UInt64Array::from(first), None)?;
    Ok((values, renumbered))
}

/// Keys of a type. `None` where one of them is too large for it.
fn keys_of(key_type: &DataType, keys: Vec<Option<usize>>) -> Option<ArrayRef> {
    macro_rules! keys {
        ($($name:ident $type:ident $native:ty),*) => {
            match key_type {
                $(DataType::$name => {
                    let fit = |key: Option<usize>| key.map(<$native>::try_from).transpose().ok();
                    let keys: Option<Vec<_>> = keys.into_iter().map(fit).collect();
                    Some(Arc::new(PrimitiveArray::<types::$type>::from(keys?)))
                })*
                _ => None,
            }
        };
    }
    keys!(
        Int8 Int8Type i8, Int16 Int16Type i16, Int32 Int32Type i32, Int64 Int64Type i64,
        UInt8 UInt8Type u8, UInt16 UInt16Type u16, UInt32 UInt32Type u32, UInt64 UInt64Type u64
    )
}
