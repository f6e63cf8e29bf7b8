//! From the values of a table to JSON, as Python's `datasets` gives them.
//!
//! Fields of structs that are null are there and null. A map is a list of pairs. Decimals are numbers with their digits;
//! dates and times are text as in ISO 8601, in UTC where they have a time zone. Numbers that JSON cannot have (NaN and
//! infinities) are null.

use std::fmt::Debug;

use arrow_array::{
    Array, ArrowPrimitiveType, GenericListArray, GenericListViewArray, OffsetSizeTrait,
    RecordBatch,
    cast::AsArray,
    temporal_conversions::{as_date, as_datetime, as_time},
    types::{
        ArrowTemporalType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
        Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
        Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_schema::{DataType, TimeUnit};
use worldpm_ort_runtime::json::{Json, Object};

use super::is_json;

/// The row of a table. Columns whose values JSON cannot have are left out.
pub(crate) fn object(batch: &RecordBatch, row: usize) -> Object {
    let schema = batch.schema_ref();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.filter(|(field, _)| is_json(field.data_type()));
    columns
        .map(|(field, column)| (field.name().clone(), value(column.as_ref(), row)))
        .collect()
}

/// A value of a column.
pub(crate) fn value(array: &dyn Array, at: usize) -> Json {
    if array.is_null(at) {
        return Json::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(at).into(),
        DataType::Int8 => integer::<Int8Type>(array, at),
        DataType::Int16 => integer::<Int16Type>(array, at),
        DataType::Int32 => integer::<Int32Type>(array, at),
        DataType::Int64 => integer::<Int64Type>(array, at),
        DataType::UInt8 => integer::<UInt8Type>(array, at),
        DataType::UInt16 => integer::<UInt16Type>(array, at),
        DataType::UInt32 => integer::<UInt32Type>(array, at),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(at).into(),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(at).to_f64()),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(at).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(at)),
        DataType::Utf8 => array.as_string::<i32>().value(at).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(at).into(),
        DataType::Utf8View => array.as_string_view().value(at).into(),
        DataType::Decimal32(..) => decimal::<Decimal32Type>(array, at),
        DataType::Decimal64(..) => decimal::<Decimal64Type>(array, at),
        DataType::Decimal128(..) => decimal::<Decimal128Type>(array, at),
        DataType::Decimal256(..) => decimal::<Decimal256Type>(array, at),
        DataType::Date32 => moment::<Date32Type, _>(array, at, as_date::<Date32Type>, ""),
        DataType::Date64 => moment::<Date64Type, _>(array, at, as_date::<Date64Type>, ""),
        DataType::Time32(TimeUnit::Second) => time::<Time32SecondType>(array, at),
        DataType::Time32(_) => time::<Time32MillisecondType>(array, at),
        DataType::Time64(TimeUnit::Microsecond) => time::<Time64MicrosecondType>(array, at),
        DataType::Time64(_) => time::<Time64NanosecondType>(array, at),
        DataType::Timestamp(unit, zone) => {
            let zone = if zone.is_some() { "+00:00" } else { "" };
            match unit {
                TimeUnit::Second => timestamp::<TimestampSecondType>(array, at, zone),
                TimeUnit::Millisecond => timestamp::<TimestampMillisecondType>(array, at, zone),
                TimeUnit::Microsecond => timestamp::<TimestampMicrosecondType>(array, at, zone),
                TimeUnit::Nanosecond => timestamp::<TimestampNanosecondType>(array, at, zone),
            }
        }
        DataType::List(_) => list(array.as_list::<i32>(), at),
        DataType::LargeList(_) => list(array.as_list::<i64>(), at),
        DataType::ListView(_) => list_view(array.as_list_view::<i32>(), at),
        DataType::LargeListView(_) => list_view(array.as_list_view::<i64>(), at),
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            items(
                list.values().as_ref(),
                list.value_offset_at(at),
                index(i64::from(*size)),
            )
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let fields =
                columns.map(|(field, column)| (field.name().clone(), value(column.as_ref(), at)));
            Json::Object(fields.collect())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (start, end) = (map.value_offsets()[at], map.value_offsets()[at + 1]);
            let pair = |at| {
                Json::Array(vec![
                    value(map.keys().as_ref(), at),
                    value(map.values().as_ref(), at),
                ])
            };
            Json::Array((index(start.into())..index(end.into())).map(pair).collect())
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = value(dictionary.keys(), at);
            let key = match &key {
                Json::Number(number) => number.as_i128().and_then(|key| usize::try_from(key).ok()),
                _ => None,
            };
            key.map_or(Json::Null, |key| value(dictionary.values().as_ref(), key))
        }
        // Types that `is_json` leaves out, and null itself.
        _ => Json::Null,
    }
}

fn integer<T: ArrowPrimitiveType>(array: &dyn Array, at: usize) -> Json
where
    T::Native: Into<i64>,
{
    let value: i64 = array.as_primitive::<T>().value(at).into();
    value.into()
}

fn float(value: f64) -> Json {
    serde_json::Number::from_f64(value).map_or(Json::Null, |number| Json::Number(number.into()))
}

fn decimal<T: DecimalType>(array: &dyn Array, at: usize) -> Json {
    let text = array.as_primitive::<T>().value_as_string(at);
    Json::parse(&text).unwrap_or_else(|_| text.into())
}

/// ISO 8601 is how these types are printed for debugging; what is beyond their range stays a number.
fn moment<T: ArrowPrimitiveType, M: Debug>(
    array: &dyn Array,
    at: usize,
    convert: fn(i64) -> Option<M>,
    zone: &str,
) -> Json
where
    T::Native: Into<i64>,
{
    let value: i64 = array.as_primitive::<T>().value(at).into();
    convert(value).map_or(value.into(), |moment| format!("{moment:?}{zone}").into())
}

fn time<T: ArrowTemporalType>(array: &dyn Array, at: usize) -> Json
where
    T::Native: Into<i64>,
{
    moment::<T, _>(array, at, as_time::<T>, "")
}

fn timestamp<T: ArrowTemporalType>(array: &dyn Array, at: usize, zone: &str) -> Json
where
    T::Native: Into<i64>,
{
    moment::<T, _>(array, at, as_datetime::<T>, zone)
}

fn list<O: OffsetSizeTrait>(list: &GenericListArray<O>, at: usize) -> Json {
    let (start, end) = (
        list.value_offsets()[at].as_usize(),
        list.value_offsets()[at + 1].as_usize(),
    );
    items(list.values().as_ref(), start, end - start)
}

fn list_view<O: OffsetSizeTrait>(list: &GenericListViewArray<O>, at: usize) -> Json {
    let (start, size) = (
        list.value_offsets()[at].as_usize(),
        list.value_sizes()[at].as_usize(),
    );
    items(list.values().as_ref(), start, size)
}

fn items(values: &dyn Array, start: usize, count: usize) -> Json {
    Json::Array((start..start + count).map(|at| value(values, at)).collect())
}

/// Offsets are checked for being none below 0 when an array is made.
fn index(offset: i64) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationSecondArray,
        Float32Array, Float64Array, Int32Array, LargeStringArray, NullArray, StringArray,
        StringViewArray, Time64MicrosecondArray, TimestampMillisecondArray, UInt64Array,
        builder::{
            FixedSizeListBuilder, Int64Builder, ListBuilder, ListViewBuilder, MapBuilder,
            StringBuilder,
        },
    };

    use super::*;

    fn all(array: ArrayRef) -> String {
        let values = (0..array.len()).map(|at| value(array.as_ref(), at));
        Json::Array(values.collect()).to_string()
    }

    #[test]
    fn scalars() {
        let dictionary: DictionaryArray<Int8Type> = [Some("x"), None, Some("y"), Some("x")]
            .into_iter()
            .collect();
        let decimals = Decimal128Array::from(vec![Some(-1250), None])
            .with_precision_and_scale(10, 2)
            .unwrap();
        let zoned =
            TimestampMillisecondArray::from(vec![1_700_000_000_123]).with_timezone("Europe/Berlin");
        for (array, expected) in [
            (
                Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef,
                "[true,null]",
            ),
            (Arc::new(Int32Array::from(vec![-5])), "[-5]"),
            (
                Arc::new(UInt64Array::from(vec![u64::MAX])),
                "[18446744073709551615]",
            ),
            (
                Arc::new(Float32Array::from(vec![0.1, 2.0])),
                "[0.10000000149011612,2.0]",
            ),
            (
                Arc::new(Float64Array::from(vec![0.1, f64::NAN, f64::INFINITY])),
                "[0.1,null,null]",
            ),
            (
                Arc::new(StringArray::from(vec![Some("a\"b"), None])),
                r#"["a\"b",null]"#,
            ),
            (Arc::new(LargeStringArray::from(vec!["é"])), r#"["é"]"#),
            (
                Arc::new(StringViewArray::from(vec![
                    "a long text, which is not in the view itself",
                ])),
                r#"["a long text, which is not in the view itself"]"#,
            ),
            (Arc::new(dictionary), r#"["x",null,"y","x"]"#),
            (Arc::new(decimals), "[-12.50,null]"),
            (
                Arc::new(Date32Array::from(vec![19_676])),
                r#"["2023-11-15"]"#,
            ),
            (
                Arc::new(Time64MicrosecondArray::from(vec![3_661_000_001])),
                r#"["01:01:01.000001"]"#,
            ),
            (
                Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123])),
                r#"["2023-11-14T22:13:20.123"]"#,
            ),
            (Arc::new(zoned), r#"["2023-11-14T22:13:20.123+00:00"]"#),
            (
                Arc::new(TimestampMillisecondArray::from(vec![i64::MAX])),
                "[9223372036854775807]",
            ),
            (Arc::new(NullArray::new(2)), "[null,null]"),
        ] {
            assert_eq!(all(array), expected);
        }
        assert!(!is_json(DurationSecondArray::from(vec![1]).data_type()));
    }

    #[test]
    fn nested_values_and_slices_of_them() {
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(1), None]);
        lists.append_null();
        lists.append_value([]);
        lists.append_value([Some(4)]);
        let lists = lists.finish();
        assert_eq!(all(Arc::new(lists.clone())), "[[1,null],null,[],[4]]");
        assert_eq!(all(Arc::new(lists.slice(2, 2))), "[[],[4]]");

        let mut views = ListViewBuilder::new(Int64Builder::new());
        views.append_value([Some(1), Some(2)]);
        views.append_value([Some(3)]);
        assert_eq!(all(Arc::new(views.finish().slice(1, 1))), "[[3]]");

        let mut fixed = FixedSizeListBuilder::new(Int64Builder::new(), 2);
        for value in 0..6 {
            fixed.values().append_value(value);
        }
        (0..3).for_each(|_| fixed.append(true));
        assert_eq!(all(Arc::new(fixed.finish().slice(1, 2))), "[[2,3],[4,5]]");

        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        maps.keys().append_value("k");
        maps.values().append_value(7);
        maps.append(true).unwrap();
        maps.append(true).unwrap();
        assert_eq!(all(Arc::new(maps.finish())), r#"[[["k",7]],[]]"#);
    }
}
