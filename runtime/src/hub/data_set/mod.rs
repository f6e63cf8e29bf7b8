//! Data sets of a hub: which files are the split of one that is wanted, and those files in the cache.

mod card;
mod layout;
mod pattern;
mod slice;
mod source;

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr};

use super::{DownloadProgress, HubError, HubOptions, Repository};
use card::Config;
use layout::{Found, Split};
pub use slice::SplitSlice;
use source::Source;

/// Where the hub keeps what it has converted to Parquet.
const CONVERSION: &str = "refs/convert/parquet";
/// The config of a data set that has no others.
const DEFAULT_CONFIG: &str = "default";
const README: &str = "README.md";
/// A file that may say the same, and counts more.
const STANDALONE: &str = ".huggingface.yaml";
/// The most configs or splits that an error lists.
const LISTED: usize = 20;

/// A data set on a hub, `OWNER/NAME`, `OWNER/NAME:CONFIG` or `OWNER/NAME@REVISION:CONFIG`.
///
/// ```
/// # use worldpm_ort_runtime as worldpm_ort;
/// use worldpm_ort::hub::DataSetName;
///
/// let name: DataSetName = "nvidia/HelpSteer3:preference".parse()?;
/// assert_eq!(name.repository.id(), "nvidia/HelpSteer3");
/// assert_eq!(name.config.as_deref(), Some("preference"));
/// # Ok::<(), worldpm_ort::hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSetName {
    /// The repository, at its revision.
    pub repository: Repository,
    /// Which of its configs. Default: the one that its card says is the default, or the only one.
    pub config: Option<String>,
}

impl FromStr for DataSetName {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let (repository, config) = match text.split_once(':') {
            Some((repository, config)) => (repository, Some(config.to_owned())),
            None => (text, None),
        };
        if config.as_deref() == Some("") {
            return Err(HubError::Name {
                text: text.to_owned(),
                problem: "nothing follows the `:`, where the name of a config stands",
            });
        }
        let repository: Repository = repository.parse()?;
        Ok(Self {
            repository: repository.data_set(),
            config,
        })
    }
}

impl fmt::Display for DataSetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        match &self.config {
            Some(config) => write!(f, ":{config}"),
            None => Ok(()),
        }
    }
}

/// A split of a data set, in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataSetFiles {
    /// Its files, in order.
    pub files: Vec<PathBuf>,
    /// The commit that they are of.
    pub commit: String,
    /// Its config.
    pub config: String,
    /// The splits whose files these are, with the rows of them that are wanted, where not all are.
    pub splits: Vec<String>,
    /// The same for whoever reads the files.
    pub parts: Vec<SplitPart>,
    /// What is to be said of them, each in a sentence.
    pub notes: Vec<String>,
}

/// Files of a split, and which of its rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitPart {
    /// The name of the split.
    pub split: String,
    /// How many of the [files](DataSetFiles::files) are its: those that follow on the ones of the parts before.
    pub files: usize,
    /// Which of their rows; `None` for all.
    pub slice: Option<SplitSlice>,
}

/// Downloads the files of a split of a data set, unless the cache has them; of no split, the only one; of several with `+`
/// between them, one after another. A split may be a part of one, as `datasets` has them (`train[:10%]`): its files are
/// downloaded whole, and the [slice](SplitSlice) says which rows of them are wanted.
///
/// Its card (`README.md`) says which files these are, or their names do, as with `datasets`. Where none has a format that is
/// read here, Parquet files come from the hub's own conversion. Without a hub, the cache stands in as in
/// [`download`](super::download).
///
/// # Errors
/// Any [`HubError`]; [`HubError::DataSet`] where it has no such config or split, several and none was named, or nothing that
/// can be read.
pub fn download_data_set(
    name: &DataSetName,
    split: Option<&str>,
    options: &HubOptions,
    progress: &(dyn Fn(DownloadProgress) + Sync),
) -> Result<DataSetFiles, HubError> {
    let fail = |problem: String| HubError::DataSet {
        data_set: name.to_string(),
        problem,
    };
    let converted = name.repository.clone().at(CONVERSION)?;
    let source = Source::open(&name.repository, options)?;
    let mut notes: Vec<String> = source.warning.iter().cloned().collect();
    let configs = configs(&source, &fail)?;
    let config = choose_config(name, &source, configs).map_err(&fail)?;
    let found = layout::of_config(&source.listed, &config)
        .map_err(|problem| fail(format!("the card is wrong: {problem}")))?;
    if !config.others.is_empty() {
        notes.push(format!(
            "note: the card of {} says how files are read ({}), which is not heeded",
            name.repository.id(),
            config.others.join(", ")
        ));
    }
    let (source, config, found, partial) = match found {
        Found::Splits(splits) => (source, config.name, splits, Vec::new()),
        Found::Unreadable(what) => {
            let no_conversion = |why: String| {
                fail(format!(
                    "it has no files in a format that is read here ({what}), and {why}; formats that are read: Parquet, Arrow, \
                     JSON, CSV"
                ))
            };
            let converted = match Source::open(&converted, options) {
                Err(HubError::NotFound { .. }) => {
                    return Err(no_conversion(
                        "the hub has not converted it to Parquet".into(),
                    ));
                }
                Err(HubError::Offline { .. }) => {
                    return Err(no_conversion(
                        "the cache has no conversion to Parquet".into(),
                    ));
                }
                converted => converted?,
            };
            let (config, splits, partial) =
                choose_conversion(name, &converted).map_err(no_conversion)?;
            source.keep()?;
            notes.extend(converted.warning.iter().cloned());
            notes.push(format!(
                "note: {} has no files in a format that is read here ({what}): the hub's conversion to Parquet is read",
                name.repository.id()
            ));
            (converted, config, splits, partial)
        }
    };
    let (parts, files) = choose_splits(&wanted_splits(split)?, found).map_err(fail)?;
    let mut splits = parts.iter().map(|part| &part.split);
    if let Some(split) = splits.find(|split| partial.contains(*split)) {
        notes.push(format!(
            "warning: the hub has converted the first rows of `{split}` only, since it is large: the others are not read"
        ));
    }
    let wanted: Vec<_> = {
        let mut wanted = files.clone();
        wanted.sort();
        wanted.dedup();
        wanted
    };
    if let Some(lost) = source.lost(&wanted) {
        return Err(fail(format!(
            "the card names `{lost}`, which the repository does not have"
        )));
    }
    source.bring(&wanted, progress)?;
    source.keep()?;
    let folder = source.folder();
    Ok(DataSetFiles {
        files: files.iter().map(|file| folder.join(file)).collect(),
        commit: source.commit,
        config,
        splits: match split {
            Some(split) => split.split('+').map(|one| one.trim().to_owned()).collect(),
            None => parts.iter().map(|part| part.split.clone()).collect(),
        },
        parts,
        notes,
    })
}

/// What the card says.
fn configs(
    source: &Source<'_>,
    fail: &impl Fn(String) -> HubError,
) -> Result<Vec<Config>, HubError> {
    let wrong = |file: &str, problem: String| fail(format!("{file}: {problem}"));
    if source.listed.contains(STANDALONE) {
        let text = source.text(STANDALONE)?;
        let configs = card::configs_of(&text).map_err(|problem| wrong(STANDALONE, problem))?;
        if !configs.is_empty() {
            return Ok(configs);
        }
    }
    if !source.listed.contains(README) {
        return Ok(Vec::new());
    }
    card::configs(&source.text(README)?).map_err(|problem| wrong(README, problem))
}

/// The config that is wanted. Where the card has none, a folder may be one.
fn choose_config(
    name: &DataSetName,
    source: &Source<'_>,
    configs: Vec<Config>,
) -> Result<Config, String> {
    let names = || listed(configs.iter().map(|config| config.name.as_str()));
    let Some(wanted) = &name.config else {
        if configs.is_empty() {
            return Ok(Config {
                name: DEFAULT_CONFIG.to_owned(),
                ..Config::default()
            });
        }
        let is_default = |config: &&Config| {
            configs.len() == 1 || config.name == DEFAULT_CONFIG || config.is_default
        };
        let mut defaults = configs.iter().filter(is_default);
        return match (defaults.next(), defaults.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(one), Some(other)) => Err(format!(
                "its card has two default configs, `{}` and `{}`: name one, as in {}:{}",
                one.name,
                other.name,
                name.repository.id(),
                one.name
            )),
            (None, _) => Err(format!(
                "it has several configs, and none is the default: name one, as in {}:{}. They are {}",
                name.repository.id(),
                configs[0].name,
                names()
            )),
        };
    };
    if let Some(config) = configs.iter().find(|config| config.name == *wanted) {
        return Ok(config.clone());
    }
    if !configs.is_empty() {
        return Err(format!("it has no config `{wanted}`; it has {}", names()));
    }
    if wanted == DEFAULT_CONFIG {
        return Ok(Config {
            name: wanted.clone(),
            ..Config::default()
        });
    }
    let inside = format!("{wanted}/");
    match source.listed.iter().any(|file| file.starts_with(&inside)) {
        true => Ok(Config {
            name: wanted.clone(),
            folder: Some(wanted.clone()),
            ..Config::default()
        }),
        // The hub's conversion may have it.
        false if is_unreadable(&source.listed) => Ok(Config {
            name: wanted.clone(),
            ..Config::default()
        }),
        false => Err(format!(
            "it has no config `{wanted}`: its card names none, and there is no folder of that name; leave it out"
        )),
    }
}

fn is_unreadable(listed: &BTreeSet<String>) -> bool {
    let found = layout::of_config(listed, &Config::default());
    matches!(found, Ok(Found::Unreadable(_)))
}

/// Of the hub's conversion: the config, its splits, and which of these are not whole.
fn choose_conversion(
    name: &DataSetName,
    source: &Source<'_>,
) -> Result<(String, Vec<Split>, Vec<String>), String> {
    let mut configs = layout::of_conversion(&source.listed);
    let names = listed(configs.iter().map(|(config, ..)| config.as_str()));
    let wanted = |config: &str| match &name.config {
        Some(wanted) => wanted == config,
        None => config == DEFAULT_CONFIG,
    };
    if let Some(at) = configs.iter().position(|(config, ..)| wanted(config)) {
        return Ok(configs.swap_remove(at));
    }
    match (configs.len(), &name.config) {
        (0, _) => Err("the hub's conversion to Parquet holds no files".to_owned()),
        (1, None) => Ok(configs.swap_remove(0)),
        (_, None) => Err(format!(
            "the hub's conversion to Parquet has several configs: name one, as in {}:{}. They are {names}",
            name.repository.id(),
            configs[0].0
        )),
        (_, Some(wanted)) => Err(format!(
            "the hub's conversion to Parquet has no config `{wanted}`; it has {names}"
        )),
    }
}

/// The splits that are wanted, and their files.
fn choose_splits(
    wanted: &[(&str, Option<SplitSlice>)],
    splits: Vec<Split>,
) -> Result<(Vec<SplitPart>, Vec<String>), String> {
    let names = || listed(splits.iter().map(|(split, _)| split.as_str()));
    let chosen: Vec<(&Split, Option<SplitSlice>)> = match (wanted, splits.as_slice()) {
        ([], [one]) => vec![(one, None)],
        ([], []) => return Err("it has no splits".to_owned()),
        ([], [first, ..]) => {
            return Err(format!(
                "it has several splits: name one, as in --split {}. They are {}",
                first.0,
                names()
            ));
        }
        (wanted, _) => {
            let find = |(name, slice): &(&str, Option<SplitSlice>)| {
                let found = splits.iter().find(|(split, _)| split == name);
                let found = found.map(|found| (found, slice.clone()));
                found.ok_or_else(|| format!("it has no split `{name}`; it has {}", names()))
            };
            wanted.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    if let Some(((empty, _), _)) = chosen.iter().find(|((_, files), _)| files.is_empty()) {
        return Err(format!("its split `{empty}` has no files"));
    }
    let part = |((split, files), slice): &(&Split, Option<SplitSlice>)| SplitPart {
        split: split.clone(),
        files: files.len(),
        slice: slice.clone(),
    };
    let parts = chosen.iter().map(part).collect();
    let files = chosen.iter().flat_map(|((_, files), _)| files.clone());
    Ok((parts, files.collect()))
}

/// The splits that are asked for by name.
fn wanted_splits(text: Option<&str>) -> Result<Vec<(&str, Option<SplitSlice>)>, HubError> {
    let names = text.into_iter().flat_map(|text| text.split('+'));
    names.map(slice::parse).collect()
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let mut text = names.take(LISTED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, id, revision, config) in [
            ("a/b", "a/b", "main", None),
            ("a/b:c", "a/b", "main", Some("c")),
            ("a/b@v1:c d:e", "a/b", "v1", Some("c d:e")),
            ("a/b@refs/pr/1", "a/b", "refs/pr/1", None),
        ] {
            let name: DataSetName = text.parse().unwrap();
            assert_eq!(name.repository.id(), id);
            assert_eq!(name.repository.revision(), revision);
            assert_eq!(name.config.as_deref(), config);
            assert_eq!(name.to_string(), text);
        }
        for text in ["", "a", "a/b:", "a/b/c", ":c"] {
            assert!(text.parse::<DataSetName>().is_err(), "{text}");
        }
    }

    #[test]
    fn splits() {
        let splits = || -> Vec<Split> {
            let split = |name: &str| (name.to_owned(), vec![format!("{name}.csv")]);
            vec![split("train"), split("test"), ("none".to_owned(), vec![])]
        };
        let choose = |wanted, splits| choose_splits(&wanted_splits(wanted).unwrap(), splits);
        let files = |wanted| choose(wanted, splits()).map(|(_, files)| files);
        assert_eq!(files(Some("test")).unwrap(), ["test.csv"]);
        assert_eq!(
            files(Some("test+train")).unwrap(),
            ["test.csv", "train.csv"]
        );
        for (wanted, part) in [
            (None, "--split train. They are train, test, none"),
            (Some("dev"), "no split `dev`"),
            (Some("none"), "has no files"),
        ] {
            let error = files(wanted).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let (only, _) = choose(None, splits()[..1].to_vec()).unwrap();
        assert_eq!((only.len(), only[0].split.as_str()), (1, "train"));
        let (parts, files) = choose(Some("test[:5] + train[-1:]"), splits()).unwrap();
        assert_eq!(files, ["test.csv", "train.csv"]);
        assert!(
            parts
                .iter()
                .all(|part| part.files == 1 && part.slice.is_some())
        );
    }
}
