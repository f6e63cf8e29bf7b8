//! Which files an input stands for: itself, those that match a pattern, or those of a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

#[cfg(feature = "object-store")]
use worldpm_ort_stores::{Found, Object};

use serde_json::Value;

use crate::{error::DataError, format::Format, part::Part, place::Place};

/// What `datasets.save_to_disk` leaves beside its files.
const STATE: &str = "state.json";
const SPLITS: &str = "dataset_dict.json";

/// The most of such a file that is read.
const MOST_STATE_BYTES: u64 = 64 << 20;

/// The files that some inputs stand for, in order. None of them is open yet.
#[derive(Clone, Debug)]
pub struct Files {
    pub(crate) places: Vec<Place>,
    paths: Vec<PathBuf>,
    left_out: Vec<PathBuf>,
    parts: Vec<Part>,
}

/// What tells a file from what it was, as far as that shows without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Its path or URL.
    pub name: String,
    /// Its size; `None` where it is no regular file.
    pub bytes: Option<u64>,
    /// When it was last written, in nanoseconds since 1970; of an object its ETag. `None` where neither is known.
    pub version: Option<String>,
}

impl Files {
    /// Finds them. An input is a file, `-` for standard input, a pattern such as `data/*.parquet`, a folder of files, or one
    /// that `datasets.save_to_disk` has made; with the feature `object-store` also the URL of an object, of a pattern of them, or
    /// of a folder, which ends with `/`.
    ///
    /// # Errors
    ///
    /// An input that stands for no file, or for several data sets.
    pub fn find(inputs: &[PathBuf]) -> Result<Self, DataError> {
        let (places, left_out) = find(inputs)?;
        Ok(Self {
            paths: places.iter().map(|place| place.path().to_owned()).collect(),
            places,
            left_out,
            parts: Vec::new(),
        })
    }

    /// The same files, of which these rows are read: the parts are of all files, in their order.
    #[must_use]
    pub fn with_parts(mut self, parts: Vec<Part>) -> Self {
        self.parts = parts;
        self
    }

    /// Which rows are read; none where all are.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What they are now, in order. Of objects it is what they were when they were found, and they are not read once they are
    /// something else.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.places.iter().map(fingerprint).collect()
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

    /// Bytes of all files; `None` where they are not known, or parts of files are read.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self.parts.is_empty() {
            true => self.places.iter().map(Place::bytes).sum(),
            false => None,
        }
    }

    /// Whether all are regular files, so that reading them never waits for someone to write.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.places.iter().all(Place::is_regular)
    }
}

fn fingerprint(place: &Place) -> Fingerprint {
    let written = |path: &Path| {
        let written = fs::metadata(path).ok()?.modified().ok()?;
        let since = written.duration_since(UNIX_EPOCH).ok()?;
        Some(since.as_nanos().to_string())
    };
    let bytes = place.bytes();
    Fingerprint {
        name: place.path().display().to_string(),
        bytes,
        version: match place {
            Place::Path(path) => bytes.and_then(|_| written(path)),
            #[cfg(feature = "object-store")]
            Place::Object(object) => object.tag().map(str::to_owned),
        },
    }
}

fn find(inputs: &[PathBuf]) -> Result<(Vec<Place>, Vec<PathBuf>), DataError> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    let mut remote = of_urls(inputs, &mut left_out)?.into_iter();
    for input in inputs {
        if is_url(input) {
            files.extend(remote.next().into_iter().flatten());
        } else if input.is_dir() {
            let found = of_folder(input, &mut left_out)?;
            files.extend(found.into_iter().map(Place::Path));
        } else if input == Path::new("-") || fs::symlink_metadata(input).is_ok() {
            files.push(Place::Path(input.clone()));
        } else {
            files.extend(of_pattern(input)?.into_iter().map(Place::Path));
        }
    }
    let is_stdin = |file: &&Place| file.path() == Path::new("-");
    if files.iter().filter(is_stdin).count() > 1 {
        return Err(DataError::NoFiles {
            input: "-".into(),
            why: "standard input can be read once".into(),
        });
    }
    Ok((files, left_out))
}

/// Whether an input is the URL of an object, or of something else that is not here.
fn is_url(input: &Path) -> bool {
    let text = input.to_str().unwrap_or_default();
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.len() > 1
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+');
    is_scheme && fs::symlink_metadata(input).is_err()
}

/// For each URL among the inputs, the objects that it stands for.
#[cfg(feature = "object-store")]
fn of_urls(inputs: &[PathBuf], left_out: &mut Vec<PathBuf>) -> Result<Vec<Vec<Place>>, DataError> {
    let urls: Vec<&str> = inputs
        .iter()
        .filter(|input| is_url(input))
        .filter_map(|input| input.to_str())
        .collect();
    let unknown = |url: &&&str| !worldpm_ort_stores::is_url(Path::new(url));
    if let Some(url) = urls.iter().find(unknown) {
        return Err(unreadable_url(url));
    }
    let found = worldpm_ort_stores::find(urls.iter().copied())?;
    let places = |(url, found): (&str, Found)| match found {
        Found::Object(object) => Ok(vec![object]),
        Found::Matches(objects) => Ok(objects),
        Found::Folder(objects, folders) => {
            let (files, others): (Vec<Object>, Vec<Object>) = objects
                .into_iter()
                .filter(|object| !object.name().starts_with(['.', '_']))
                .partition(|object| Format::of_name(Path::new(object.name())).0.is_some());
            if files.is_empty() {
                let why = nothing_in_folder(folders, others.len(), "URL");
                let input = url.to_owned();
                return Err(DataError::NoFiles { input, why });
            }
            left_out.extend(others.iter().map(|object| PathBuf::from(object.url())));
            Ok(files)
        }
        _ => Ok(Vec::new()),
    };
    let mut found: Vec<_> = urls
        .into_iter()
        .zip(found)
        .map(places)
        .collect::<Result<_, _>>()?;
    let place = |objects: &mut Vec<Object>| objects.drain(..).map(Place::Object).collect();
    Ok(found.iter_mut().map(place).collect())
}

#[cfg(not(feature = "object-store"))]
fn of_urls(inputs: &[PathBuf], _: &mut Vec<PathBuf>) -> Result<Vec<Vec<Place>>, DataError> {
    match inputs.iter().find(|input| is_url(input)) {
        Some(url) => Err(unreadable_url(&url.display().to_string())),
        None => Ok(Vec::new()),
    }
}

fn unreadable_url(url: &str) -> DataError {
    let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
    let why = match cfg!(feature = "object-store") {
        true => {
            "objects are read of s3://, gs://, az:// and abfss://; download it, or give it as standard input, as in \
             curl ... | worldpm-ort score"
        }
        false => {
            "objects of stores are not read by this build, which is without the feature `object-store`"
        }
    };
    DataError::NoFiles {
        input: format!("{scheme}://..."),
        why: why.to_owned(),
    }
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
        return Err(DataError::NoFiles {
            input: folder.display().to_string(),
            why: nothing_in_folder(folders, others, "DIR"),
        });
    }
    files.sort();
    left_out.sort();
    Ok(files)
}

/// Why a folder stands for no files, with so many folders and other files in it.
fn nothing_in_folder(folders: usize, others: usize, folder: &str) -> String {
    let names = "no file in it has a name that ends as those of data sets do, such as .jsonl or .parquet.gz";
    let pattern = format!("name one, or give a pattern, as in '{folder}/**/*.parquet'");
    match (folders, others) {
        (0, _) => names.to_owned(),
        (_, 0) => format!("there are only folders in it: {pattern}"),
        _ => format!("{names}, and its folders are not looked into: {pattern}"),
    }
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
        let relative = |file: &Place| {
            let file = file.path().strip_prefix(folder).unwrap();
            file.display().to_string()
        };
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
