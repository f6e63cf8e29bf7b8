//! Which files an input stands for: itself, those that match a pattern, or those of a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{error::DataError, format::Format};

/// What `datasets.save_to_disk` leaves beside its files.
const STATE: &str = "state.json";
const SPLITS: &str = "dataset_dict.json";

/// The most of such a file that is read.
const MOST_STATE_BYTES: u64 = 64 << 20;

/// The files that some inputs stand for, in order. None of them is open yet.
#[derive(Clone, Debug)]
pub struct Files {
    pub(crate) paths: Vec<PathBuf>,
    left_out: Vec<PathBuf>,
}

impl Files {
    /// Finds them. An input is a file, `-` for standard input, a pattern such as `data/*.parquet`, a folder of files, or one
    /// that `datasets.save_to_disk` has made.
    ///
    /// # Errors
    ///
    /// An input that stands for no file, or for several data sets.
    pub fn find(inputs: &[PathBuf]) -> Result<Self, DataError> {
        let (paths, left_out) = find(inputs)?;
        Ok(Self { paths, left_out })
    }

    /// Their paths; `-` for standard input.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Files of folders that were left out, since their names are not those of data sets.
    #[must_use]
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// Bytes of all files; `None` where they are not known.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let bytes = |path: &PathBuf| match is_regular(path) {
            true => fs::metadata(path).ok().map(|found| found.len()),
            false => None,
        };
        self.paths.iter().map(bytes).sum()
    }

    /// Whether all are regular files, so that reading them never waits for someone to write.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.paths.iter().all(|path| is_regular(path))
    }
}

pub(crate) fn is_regular(path: &Path) -> bool {
    path != Path::new("-") && fs::metadata(path).is_ok_and(|found| found.is_file())
}

fn find(inputs: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for input in inputs {
        if input.is_dir() {
            files.extend(of_folder(input, &mut left_out)?);
        } else if input == Path::new("-") || fs::symlink_metadata(input).is_ok() {
            files.push(input.clone());
        } else {
            files.extend(of_pattern(input)?);
        }
    }
    if files.iter().filter(|file| *file == Path::new("-")).count() > 1 {
        return Err(DataError::NoFiles {
            input: "-".into(),
            why: "standard input can be read once".into(),
        });
    }
    Ok((files, left_out))
}

fn of_pattern(input: &Path) -> Result<Vec<PathBuf>, DataError> {
    let none = |why: String| DataError::NoFiles {
        input: input.display().to_string(),
        why,
    };
    let pattern = input.to_str().filter(|text| text.contains(['*', '?', '[']));
    let Some(pattern) = pattern else {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let missing = fs::metadata(input).err().unwrap_or(missing);
        return Err(DataError::io("open", input.display(), missing));
    };
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..glob::MatchOptions::default()
    };
    let matches = glob::glob_with(pattern, options)
        .map_err(|error| none(format!("not a pattern that files can match: {error}")))?;
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|error| {
            let file = error.path().display().to_string();
            DataError::io("read", file, error.into())
        })?;
        if !found.is_dir() {
            files.push(found);
        }
    }
    if files.is_empty() {
        return Err(none("no file matches this pattern".into()));
    }
    Ok(files)
}

fn of_folder(folder: &Path, left_out: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, DataError> {
    if folder.join(SPLITS).is_file() {
        return Err(DataError::Splits {
            folder: folder.to_owned(),
            splits: splits(&folder.join(SPLITS))?,
        });
    }
    if folder.join(STATE).is_file() {
        let files = saved(folder, &folder.join(STATE))?;
        if !files.is_empty() {
            return Ok(files);
        }
    }
    let none = |why: &str| DataError::NoFiles {
        input: folder.display().to_string(),
        why: why.to_owned(),
    };
    let unreadable = |error| DataError::io("list", folder.display(), error);
    let (mut files, mut folders, mut others) = (Vec::new(), 0, 0);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") || name.starts_with(b"_") {
            continue;
        }
        if path.is_dir() {
            folders += 1;
        } else if Format::of_name(&path).0.is_some() {
            files.push(path);
        } else {
            others += 1;
            left_out.push(path);
        }
    }
    if files.is_empty() {
        return Err(none(match (folders, others) {
            (0, _) => {
                "no file in it has a name that ends as those of data sets do, such as .jsonl or .parquet.gz"
            }
            (_, 0) => {
                "there are only folders in it: name one, or give a pattern, as in 'DIR/**/*.parquet'"
            }
            _ => {
                "no file in it has a name that ends as those of data sets do, such as .jsonl or .parquet.gz, and its folders \
                 are not looked into: name one, or give a pattern, as in 'DIR/**/*.parquet'"
            }
        }));
    }
    files.sort();
    left_out.sort();
    Ok(files)
}

/// The files of a data set that was saved with `save_to_disk`, in its order.
fn saved(folder: &Path, state: &Path) -> Result<Vec<PathBuf>, DataError> {
    let value = read_state(state)?;
    let Some(files) = value.get("_data_files").and_then(Value::as_array) else {
        // Another program's file of this name.
        return Ok(Vec::new());
    };
    let name = |file: &Value| {
        let name = file.get("filename").and_then(Value::as_str)?;
        let is_name = Path::new(name).file_name().is_some_and(|own| own == name);
        is_name.then(|| folder.join(name))
    };
    let files: Option<Vec<_>> = files.iter().map(name).collect();
    files.ok_or_else(|| {
        DataError::file(
            state.display(),
            "`_data_files` must be a list of objects whose `filename` is the name of a file in the same folder",
        )
    })
}

fn splits(dict: &Path) -> Result<Vec<String>, DataError> {
    let value = read_state(dict)?;
    let splits = value.get("splits").and_then(Value::as_array);
    let names = splits.into_iter().flatten().filter_map(Value::as_str);
    Ok(names.map(str::to_owned).collect())
}

fn read_state(path: &Path) -> Result<Value, DataError> {
    let unreadable = |error| DataError::io("read", path.display(), error);
    if fs::metadata(path).map_err(unreadable)?.len() > MOST_STATE_BYTES {
        return Err(DataError::file(
            path.display(),
            "too large for a list of files",
        ));
    }
    let text = fs::read(path).map_err(unreadable)?;
    serde_json::from_slice(&text)
        .map_err(|error| DataError::file(path.display(), format!("not valid JSON: {error}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path, inputs: &[&str]) -> Result<Vec<String>, String> {
        let inputs: Vec<_> = inputs.iter().map(|input| folder.join(input)).collect();
        let (files, _) = find(&inputs).map_err(|error| error.to_string())?;
        let relative = |file: &PathBuf| file.strip_prefix(folder).unwrap().display().to_string();
        Ok(files.iter().map(relative).collect())
    }

    #[test]
    fn folders_patterns_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("d/sub")).unwrap();
        for file in [
            "b.jsonl",
            "a.jsonl",
            ".h.jsonl",
            "_x.jsonl",
            "README.md",
            "sub/c.jsonl",
        ] {
            fs::write(at("d").join(file), "").unwrap();
        }
        let folder = folder.path();
        assert_eq!(names(folder, &["d"]).unwrap(), ["d/a.jsonl", "d/b.jsonl"]);
        assert_eq!(
            names(folder, &["d/*.jsonl"]).unwrap(),
            ["d/_x.jsonl", "d/a.jsonl", "d/b.jsonl"]
        );
        assert_eq!(
            names(folder, &["d/**/[bc].jsonl", "d/a.jsonl"]).unwrap(),
            ["d/b.jsonl", "d/sub/c.jsonl", "d/a.jsonl"]
        );
        assert_eq!(
            find(&[folder.join("d")]).unwrap().1,
            [folder.join("d/README.md")]
        );
        for (input, part) in [
            ("d/*.csv", "no file matches"),
            ("d/[.csv", "not a pattern"),
            ("no.jsonl", "cannot open"),
            ("", "there are only folders in it"),
        ] {
            let error = names(folder, &[input]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        // A name that looks like a pattern, and is a file.
        fs::write(folder.join("[1].jsonl"), "").unwrap();
        assert_eq!(names(folder, &["[1].jsonl"]).unwrap(), ["[1].jsonl"]);
        assert!(find(&["-".into(), "-".into()]).is_err());
    }

    #[test]
    fn what_save_to_disk_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("train")).unwrap();
        fs::write(
            folder.join("dataset_dict.json"),
            r#"{"splits": ["train", "test"]}"#,
        )
        .unwrap();
        let state = |text: &str| fs::write(folder.join("train/state.json"), text).unwrap();
        state(r#"{"_data_files": [{"filename": "data-1.arrow"}, {"filename": "data-0.arrow"}]}"#);
        let error = names(folder, &[""]).unwrap_err();
        assert!(
            error.contains("train, test") && error.contains("/train"),
            "{error}"
        );
        assert_eq!(
            names(folder, &["train"]).unwrap(),
            ["train/data-1.arrow", "train/data-0.arrow"]
        );
        for wrong in [
            r#"{"_data_files": [{"filename": "../x.arrow"}]}"#,
            r#"{"_data_files": [{"filename": "/etc/x.arrow"}]}"#,
            r#"{"_data_files": [1]}"#,
            "{",
        ] {
            state(wrong);
            let error = names(folder, &["train"]).unwrap_err();
            assert!(error.contains("state.json"), "{error}");
        }
    }
}
