//! A folder of data sets, for a test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use worldpm_ort_data::{DataSet, Files, PlainRow, ReadOptions};

/// A folder that is gone after the test.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.at(name), bytes).unwrap();
        self.at(name)
    }
}

/// Rows as JSON Lines.
pub fn text(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// The rows of a file of any format, with all their columns.
pub fn rows(path: &Path) -> Vec<Value> {
    let mut options = ReadOptions::default();
    options.keep_fields = true;
    let set = DataSet::open(Files::find(&[path.to_owned()]).unwrap(), &options).unwrap();
    let row = |row: PlainRow| {
        row.read.unwrap();
        serde_json::to_value(row.columns.to_object()).unwrap()
    };
    set.plain_rows(|_| ()).map(row).collect()
}
