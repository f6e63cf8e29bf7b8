//! Tables of random values through every format and compression: what was written is what is read.

#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)]

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int8Array, RecordBatch, StringArray, cast::AsArray,
};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use worldpm_ort_data::{
    Compression, DataSet, Files, Format, ReadOptions, Row, WriteOptions, Writer,
};
use worldpm_ort_runtime::{
    answers::Outcome,
    json::{Json, Object},
};

const FORMATS: [(Format, &str); 7] = [
    (Format::JsonLines, "jsonl"),
    (Format::Json, "json"),
    (Format::Csv, "csv"),
    (Format::Tsv, "tsv"),
    (Format::Parquet, "parquet"),
    (Format::Arrow, "arrow"),
    (Format::ArrowStream, "arrows"),
];

const COMPRESSIONS: [(Compression, &str); 3] = [
    (Compression::None, ""),
    (Compression::Gzip, ".gz"),
    (Compression::Zstd, ".zst"),
];

fn keeping() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.keep_fields = true;
    options
}

fn rows_of(path: &Path) -> Vec<Row> {
    let set = DataSet::open(Files::find(&[path.to_owned()]).unwrap(), &keeping()).unwrap();
    set.rows(|_| ()).collect()
}

fn scored(score: f64) -> Outcome {
    serde_json::from_str(&format!(r#"{{"score":{score:?},"tokens":3}}"#)).unwrap()
}

/// Writes the rows of a file to another, each scored by its number.
fn convert(from: &Path, to: &Path, format: Format, compression: Compression) {
    let set = DataSet::open(Files::find(&[from.to_owned()]).unwrap(), &keeping()).unwrap();
    let mut options = WriteOptions::new(format);
    options.compression = compression;
    options.overwrite = true;
    let mut writer = Writer::new(&options, &set).unwrap();
    let mut bytes = Vec::new();
    for (number, row) in set.rows(|_| ()).enumerate() {
        row.read.unwrap();
        assert!(
            writer
                .write(row.columns, None, scored(number as f64))
                .unwrap()
        );
        bytes.extend(writer.take());
    }
    writer.close().unwrap();
    bytes.extend(writer.take());
    std::fs::write(to, bytes).unwrap();
}

/// The columns of a row without those that are null: a table has null where JSON has nothing.
fn known(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Json::Object(
                fields
                    .map(|(name, value)| (name.clone(), known(value)))
                    .collect(),
            )
        }
        Json::Array(items) => Json::Array(items.iter().map(known).collect()),
        Json::Number(number) if !number.is_integer() => {
            Json::parse(&format!("{:?}", number.as_f64())).unwrap()
        }
        other => other.clone(),
    }
}

fn columns(rows: &[Row]) -> Vec<Json> {
    rows.iter()
        .map(|row| known(&Json::Object(row.columns.to_object())))
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z ,;\"\t\r\n'\\\\é😀\u{feff}-]{1,20}",
        1 => Just(" x ".to_owned()),
        1 => Just("[1]".to_owned()),
    ]
}

/// Columns of a row, whose types are the same in each.
fn row() -> impl Strategy<Value = Object> {
    let message = (text(), proptest::option::of(text())).prop_map(|(content, name)| {
        let mut fields = Object::new();
        fields.insert("role", "user");
        fields.insert("content", content);
        fields.insert("name", name.map_or(Json::Null, Json::from));
        Json::Object(fields)
    });
    (
        text(),
        text(),
        proptest::option::of(any::<i64>()),
        proptest::option::of(-1e9..1e9_f64),
        proptest::option::of(any::<bool>()),
        proptest::option::of(proptest::collection::vec(message, 0..3)),
        proptest::collection::vec(proptest::collection::vec(any::<i32>(), 0..3), 0..3),
    )
        .prop_map(|(prompt, response, whole, real, yes, history, grid)| {
            let mut fields = Object::new();
            fields.insert("prompt", prompt);
            fields.insert("response", response);
            fields.insert("whole", whole.map_or(Json::Null, Json::from));
            let real = real.map(|real| Json::parse(&format!("{real:?}")).unwrap());
            fields.insert("real", real.unwrap_or_default());
            fields.insert("yes", yes.map_or(Json::Null, Json::from));
            fields.insert("notes", history.map_or(Json::Null, Json::Array));
            let row = |row: Vec<i32>| Json::Array(row.into_iter().map(Json::from).collect());
            fields.insert("grid", Json::Array(grid.into_iter().map(row).collect()));
            fields
        })
}

fn write_lines(path: &Path, rows: &[Object]) {
    let lines: Vec<String> = rows
        .iter()
        .map(|row| Json::Object(row.clone()).to_string())
        .collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

fn scored_rows(rows: &[Object]) -> Vec<Json> {
    let scored = rows.iter().enumerate().map(|(number, row)| {
        let mut row = row.clone();
        row.insert("score", Json::parse(&format!("{number}.0")).unwrap());
        row.insert("tokens", 3);
        row
    });
    scored.map(|row| known(&Json::Object(row))).collect()
}

/// `truncated` is a column of tables only.
fn without_truncated(mut rows: Vec<Json>) -> Vec<Json> {
    for row in &mut rows {
        if let Json::Object(fields) = row {
            fields.remove("truncated");
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back_from_every_format(rows in proptest::collection::vec(row(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_lines(&at("in.jsonl"), &rows);
        let expected = scored_rows(&rows);
        for (format, ending) in FORMATS {
            for (compression, more) in COMPRESSIONS {
                let out = at(&format!("out.{ending}{more}"));
                convert(&at("in.jsonl"), &out, format, compression);
                let read = without_truncated(columns(&rows_of(&out)));
                match format.is_cells() {
                    // Cells are text.
                    true => {
                        prop_assert_eq!(read.len(), rows.len());
                        for (read, row) in read.iter().zip(&rows) {
                            for name in ["prompt", "response"] {
                                prop_assert_eq!(read.get(name), row.get(name));
                            }
                            for name in ["whole", "yes", "grid", "notes"] {
                                let text = read.get(name).and_then(Json::as_str).map(|text| Json::parse(text).unwrap());
                                prop_assert_eq!(known(&text.unwrap_or_default()), known(&row[name]));
                            }
                        }
                    }
                    false => prop_assert_eq!(&read, &expected, "{}", out.display()),
                }
            }
        }
    }

    /// Through any two formats after one another, what comes out is what went in, and the types of a table stay.
    #[test]
    fn rows_come_back_through_tables(rows in proptest::collection::vec(row(), 1..20), first in 4..7_usize, second in 4..7_usize) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_lines(&at("in.jsonl"), &rows);
        let name = |step: usize, which: usize| at(&format!("{step}.{}", FORMATS[which].1));
        convert(&at("in.jsonl"), &name(1, first), FORMATS[first].0, Compression::None);
        convert(&name(1, first), &name(2, second), FORMATS[second].0, Compression::None);
        prop_assert_eq!(columns(&rows_of(&name(1, first))), columns(&rows_of(&name(2, second))));
        convert(&name(2, second), &at("out.jsonl"), Format::JsonLines, Compression::None);
        let lines = rows_of(&at("out.jsonl"));
        prop_assert_eq!(without_truncated(columns(&lines)), scored_rows(&rows));
        // Fields that are null stay.
        let whole = lines[0].columns.to_object();
        prop_assert!(whole.get("whole").is_some() && whole.get("notes").is_some());
    }
}

#[test]
fn cells_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to): (PathBuf, PathBuf) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
    let text = "\u{feff}id;prompt;response;messy\r\n007;Q;\"an;swer\r\nin two \"\"lines\"\"\";[1, 2]\r\n\r\n1e5;Q2;A2;\r\n";
    std::fs::write(&from, text).unwrap();
    convert(&from, &to, Format::Csv, Compression::None);
    let written = std::fs::read_to_string(&to).unwrap();
    assert_eq!(
        written,
        "id;prompt;response;messy;score;tokens;truncated\n\
         007;Q;\"an;swer\r\nin two \"\"lines\"\"\";[1, 2];0.0;3;false\n1e5;Q2;A2;;1.0;3;false\n"
    );
    let lines: Vec<_> = rows_of(&from)
        .into_iter()
        .map(|row| row.read.unwrap().0)
        .collect();
    assert_eq!(lines, [2, 5]);
}

/// Rows with categories in tables of their own: for each, the categories, and which of them each row has.
fn write_categories(path: &Path, tables: &[(&[&str], &[Option<i8>])]) {
    let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let schema = Arc::new(Schema::new(vec![
        Field::new("prompt", DataType::Utf8, true),
        Field::new("response", DataType::Utf8, true),
        Field::new("kind", kind, true).with_dict_is_ordered(true),
    ]));
    let mut writer = StreamWriter::try_new(File::create(path).unwrap(), &schema).unwrap();
    for (categories, keys) in tables {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["Why?"; keys.len()]));
        let categories = Arc::new(StringArray::from(categories.to_vec()));
        let kind = DictionaryArray::new(Int8Array::from(keys.to_vec()), categories);
        let columns = vec![Arc::clone(&text), text, Arc::new(kind)];
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
}

fn texts(values: &dyn Array) -> Vec<String> {
    let texts = values.as_string::<i32>().iter();
    texts.map(|text| text.unwrap_or("-").to_owned()).collect()
}

/// Of each table its categories, and of all rows which they have.
fn categories(batches: impl Iterator<Item = RecordBatch>) -> (Vec<Vec<String>>, Vec<String>) {
    let (mut all, mut of_rows) = (Vec::new(), Vec::new());
    for batch in batches {
        let kind = batch.column_by_name("kind").unwrap();
        let kind = kind.as_dictionary::<arrow_array::types::Int8Type>();
        let names = texts(kind.values().as_ref());
        let of_row =
            |key: Option<i8>| key.map_or("-".to_owned(), |key| names[key as usize].clone());
        of_rows.extend(kind.keys().iter().map(of_row));
        all.push(names);
    }
    (all, of_rows)
}

#[test]
fn categories_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let order = ["low", "middle", "high", "never"];
    let keys: [&[Option<i8>]; 2] = [&[Some(2), None, Some(0), Some(2)], &[Some(1), Some(0)]];
    write_categories(&at("in.arrows"), &[(&order, keys[0]), (&order, keys[1])]);
    convert(
        &at("in.arrows"),
        &at("out.arrows"),
        Format::ArrowStream,
        Compression::None,
    );
    let stream = StreamReader::try_new(File::open(at("out.arrows")).unwrap(), None).unwrap();
    let kind = stream.schema().field_with_name("kind").unwrap().clone();
    assert_eq!(kind.dict_is_ordered(), Some(true));
    let (all, of_rows) = categories(stream.map(Result::unwrap));
    assert!(
        !all.is_empty() && all.iter().all(|names| *names == order),
        "{all:?}"
    );
    assert_eq!(of_rows, ["high", "-", "low", "high", "middle", "low"]);

    // Parquet's pages have another order, and the column does not say that it means something.
    convert(
        &at("in.arrows"),
        &at("out.parquet"),
        Format::Parquet,
        Compression::None,
    );
    let file = File::open(at("out.parquet")).unwrap();
    let table = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let kind = table.schema().field_with_name("kind").unwrap().clone();
    assert_eq!(kind.dict_is_ordered(), Some(false));
    let (all, again) = categories(table.build().unwrap().map(Result::unwrap));
    assert_eq!(
        (all, again),
        (
            vec![vec!["high".to_owned(), "low".into(), "middle".into()]],
            of_rows
        )
    );
}

/// Rows that are picked of several tables, as a filter does.
#[test]
fn picked_rows_have_each_category_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let order: &[&str] = &["low", "middle", "high"];
    let other: &[&str] = &["high", "new", "low"];
    let keys: &[Option<i8>] = &[Some(2), Some(1), None, Some(0)];
    for (second, expected, of_rows) in [
        (
            order,
            vec!["low", "middle", "high"],
            ["high", "-", "high", "-"],
        ),
        (
            other,
            vec!["low", "middle", "high", "new"],
            ["high", "-", "low", "-"],
        ),
    ] {
        write_categories(&at("in.arrows"), &[(order, keys), (second, keys)]);
        let set = DataSet::open(Files::find(&[at("in.arrows")]).unwrap(), &keeping()).unwrap();
        let mut options = WriteOptions::new(Format::ArrowStream);
        options.sparse = true;
        let mut writer = Writer::new(&options, &set).unwrap();
        for (number, row) in set.rows(|_| ()).enumerate() {
            if number % 2 == 0 {
                writer.write(row.columns, None, scored(1.0)).unwrap();
            }
        }
        writer.close().unwrap();
        let bytes = writer.take();
        let stream = StreamReader::try_new(&bytes[..], None).unwrap();
        let (all, picked) = categories(stream.map(Result::unwrap));
        assert_eq!(
            (all.len(), picked),
            (1, of_rows.map(str::to_owned).to_vec())
        );
        assert_eq!(all[0], expected);
    }
}
