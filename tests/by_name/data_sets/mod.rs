//! Data sets of the hub by name.

mod files;
mod rows;

use std::{fs, time::Duration};

use tempfile::TempDir;
use worldpm_ort::hub::{DataSetFiles, DataSetName, HubError, HubOptions, download_data_set};

use crate::hub_server::{HubServer, Repository};

const CONVERSION: &str = "refs/convert/parquet";

/// A server of one data set, and an empty cache.
struct Hub {
    folders: Vec<TempDir>,
    cache: TempDir,
    server: HubServer,
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

impl Hub {
    fn new(files: &[(&str, &str)]) -> Self {
        Self::converted(files, &[], |repository| repository)
    }

    fn converted(
        files: &[(&str, &str)],
        converted: &[(&str, &str)],
        change: fn(Repository) -> Repository,
    ) -> Self {
        let folders = vec![folder(files), folder(converted)];
        let data_set = |folder: &TempDir| change(Repository::data_set("o/d", folder.path()));
        let mut repositories = vec![data_set(&folders[0])];
        if !converted.is_empty() {
            repositories.push(data_set(&folders[1]).at(CONVERSION));
        }
        Self {
            server: HubServer::start(repositories),
            cache: tempfile::tempdir().unwrap(),
            folders,
        }
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: self.server.endpoint(),
            backoff: Duration::from_millis(1),
            ..HubOptions::with_cache(self.cache.path())
        }
    }

    fn get(&self, name: &str, split: Option<&str>) -> Result<DataSetFiles, HubError> {
        self.get_with(name, split, &self.options())
    }

    fn get_with(
        &self,
        name: &str,
        split: Option<&str>,
        options: &HubOptions,
    ) -> Result<DataSetFiles, HubError> {
        download_data_set(&name.parse::<DataSetName>()?, split, options, &|_| {})
    }

    /// The texts of the files of a split.
    fn texts(&self, name: &str, split: Option<&str>) -> String {
        texts(&self.get(name, split).unwrap())
    }

    fn error(&self, name: &str, split: Option<&str>) -> String {
        self.get(name, split).unwrap_err().to_string()
    }
}

fn texts(found: &DataSetFiles) -> String {
    let texts = found
        .files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap());
    texts.collect::<Vec<_>>().join(" ")
}

const CARD: &str = "---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: a/train-*\n  - split: test\n    path: a/test.csv\n- config_name: b\n  data_files: b.jsonl\n---\n# Data\n";

fn with_card() -> Hub {
    Hub::new(&[
        ("README.md", CARD),
        ("a/train-2.csv", "a2"),
        ("a/train-1.csv", "a1"),
        ("a/test.csv", "at"),
        ("b.jsonl", "b"),
        ("other.csv", "no"),
    ])
}
