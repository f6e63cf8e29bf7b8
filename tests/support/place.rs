//! A folder that a test works in, and the rows of data sets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use worldpm_ort_data::{DataSet, Files, PlainRow, ReadOptions};

/// A folder that is gone after the test. A test that does more in it has an `impl` of its own.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A path in it, as an argument of the command.
    pub fn arg(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    /// Writes a file, and gives its path as an argument.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.at(name), bytes).unwrap();
        self.arg(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    /// The names of what is in it, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
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
