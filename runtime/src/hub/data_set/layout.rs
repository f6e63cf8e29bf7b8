//! Which files of a repository are which split of a data set: by its card, by their names, or as the hub's conversion to
//! Parquet lays them out. The rules are those of `datasets`, so that the same rows come in the same order.

use std::collections::{BTreeMap, BTreeSet};

use super::{card::Config, pattern::Pattern};

/// Files that are no data, unless a pattern ends with their name.
const IGNORED: [&str; 6] = [
    "README.md",
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dummy_data.zip",
    "dataset_dict.json",
];

/// Splits that are recognised by words in the names of files and folders.
const WORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

const SHARDS: &str = "[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*";
const SEPARATORS: &str = "[-._ 0-9]";

/// Endings of names with the format that they stand for, of formats that are read here. The first ones win where there are
/// as many files of one as of another.
const READ: [(&str, &str); 7] = [
    ("parquet", "parquet"),
    ("arrow", "arrow"),
    ("jsonl", "json"),
    ("json", "json"),
    ("csv", "csv"),
    ("ndjson", "json"),
    ("tsv", "csv"),
];

/// Endings of formats that `datasets` reads, and this does not.
const NOT_READ: [&str; 46] = [
    "txt",
    "conll",
    "conllu",
    "tar",
    "xml",
    "hdf5",
    "h5",
    "eval",
    "toml",
    "md",
    "lance",
    "tsfile",
    "vortex",
    "geoparquet",
    "gpq",
    "zip",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "webp",
    "bmp",
    "tif",
    "tiff",
    "wav",
    "mp3",
    "flac",
    "ogg",
    "opus",
    "m4a",
    "mp4",
    "mkv",
    "avi",
    "mov",
    "webm",
    "pdf",
    "nii",
    "fa",
    "fasta",
    "fna",
    "fq",
    "fastq",
    "gb",
    "pdb",
    "cif",
    "mmcif",
];

/// Files that describe others, such as pictures.
const METADATA: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// A split, and its files in order.
pub(super) type Split = (String, Vec<String>);

/// What was found of one config.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Splits(Vec<Split>),
    /// No file has a format that is read; what there is instead.
    Unreadable(String),
}

/// The splits of a config that a card describes. `Err`: what is wrong with the card.
pub(super) fn of_config(listed: &BTreeSet<String>, config: &Config) -> Result<Found, String> {
    let folder = config.folder.as_deref().unwrap_or_default();
    let named;
    let patterns = match &config.files {
        Some(files) => files,
        None => match conventional(listed, folder)? {
            Some(found) => {
                named = found;
                &named
            }
            None => return Ok(Found::Unreadable(endings(listed))),
        },
    };
    let mut splits = Vec::new();
    for (split, patterns) in patterns {
        if !is_split(split) {
            return Err(format!("`{split}` cannot be the name of a split"));
        }
        let mut files = Vec::new();
        for text in patterns {
            let matched = resolve(listed, folder, text)?;
            let matched = matched.into_iter().filter(|file| is_allowed(file));
            let before = files.len();
            files.extend(matched.cloned());
            if files.len() == before && !text.contains(['*', '?', '[']) {
                // Only who wants it misses it.
                files.push(whole(folder, text));
            }
        }
        splits.push((split.clone(), files));
    }
    Ok(of_one_format(splits, config.files.is_none(), listed))
}

/// Whether a text can be the name of a split.
pub(super) fn is_split(name: &str) -> bool {
    let is_word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    name.split('.').all(is_word)
}

/// The files of each split of a config, and which of the splits have their first rows only.
type Converted<'f> = (BTreeMap<&'f str, Vec<String>>, BTreeSet<&'f str>);

/// The splits of the hub's conversion to Parquet, by config: `CONFIG/SPLIT/0000.parquet`, where `SPLIT` may begin with
/// `partial-`. With each config, which of its splits have their first rows only.
pub(super) fn of_conversion(listed: &BTreeSet<String>) -> Vec<(String, Vec<Split>, Vec<String>)> {
    let mut configs: BTreeMap<&str, Converted<'_>> = BTreeMap::new();
    for file in listed.iter().filter(|file| file.ends_with(".parquet")) {
        let mut parts = file.split('/');
        let (Some(config), Some(folder), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (splits, partial) = configs.entry(config).or_default();
        let split = folder.strip_prefix("partial-").unwrap_or(folder);
        if split != folder {
            partial.insert(split);
        }
        splits.entry(split).or_default().push(file.clone());
    }
    let owned = |(config, (splits, partial)): (&str, Converted<'_>)| {
        let mut splits: Vec<_> = splits
            .into_iter()
            .map(|(split, files)| (split.to_owned(), files))
            .collect();
        splits.sort_by_key(|(split, _)| order(split));
        let partial = partial.into_iter().map(str::to_owned).collect();
        (config.to_owned(), splits, partial)
    };
    configs.into_iter().map(owned).collect()
}

/// `train`, `validation` and `test` come before others.
fn order(split: &str) -> usize {
    let known = WORDS.iter().position(|(known, _)| *known == split);
    known.unwrap_or(WORDS.len())
}

/// The patterns of the files below a folder whose names say which split they are; `None` where there are no files.
fn conventional(listed: &BTreeSet<String>, folder: &str) -> Result<Option<Vec<Split>>, String> {
    let mut names = BTreeSet::new();
    for file in resolve(listed, folder, &format!("data/*-{SHARDS}"))? {
        let split = shard_of(base_name(file)).unwrap_or_default();
        if !is_split(split) {
            return Err(format!(
                "`{file}` is named as a part of the split `{split}`, which cannot be the name of a split"
            ));
        }
        names.insert(split);
    }
    if !names.is_empty() {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|name| order(name));
        let pattern = |name: &str| (name.to_owned(), vec![format!("data/{name}-{SHARDS}")]);
        return Ok(Some(names.into_iter().map(pattern).collect()));
    }
    let in_folders = |word: &str| {
        vec![
            format!("**/{word}/**"),
            format!("**/{word}{SEPARATORS}*/**"),
            format!("**/*{SEPARATORS}{word}/**"),
            format!("**/*{SEPARATORS}{word}{SEPARATORS}*/**"),
        ]
    };
    let in_names = |word: &str| {
        vec![
            format!("**/{word}{SEPARATORS}*"),
            format!("**/*{SEPARATORS}{word}{SEPARATORS}*"),
        ]
    };
    for patterns in [&in_folders as &dyn Fn(&str) -> Vec<String>, &in_names] {
        let mut splits = Vec::new();
        for (split, words) in WORDS {
            let patterns: Vec<_> = words.iter().flat_map(|word| patterns(word)).collect();
            let mut is_there = false;
            for pattern in &patterns {
                is_there |= !resolve(listed, folder, pattern)?.is_empty();
            }
            if is_there {
                splits.push((split.to_owned(), patterns));
            }
        }
        if !splits.is_empty() {
            return Ok(Some(splits));
        }
    }
    let all = || vec![("train".to_owned(), vec!["**".to_owned()])];
    Ok((!resolve(listed, folder, "**")?.is_empty()).then(all))
}

/// The name of the split in `SPLIT-00000-of-00001.parquet`.
fn shard_of(name: &str) -> Option<&str> {
    let is_digits = |text: Option<&str>| {
        text.is_some_and(|text| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut ends = name.rmatch_indices("-of-");
    ends.find_map(|(at, _)| {
        let (before, after) = (&name[..at], &name[at + 4..]);
        let (split, shard) = before.rsplit_once('-')?;
        (is_digits(Some(shard)) && is_digits(after.get(..5))).then_some(split)
    })
}

/// The files that a pattern means, in order.
fn resolve<'l>(
    listed: &'l BTreeSet<String>,
    folder: &str,
    text: &str,
) -> Result<Vec<&'l String>, String> {
    let whole = whole(folder, text);
    let leaves = text.starts_with('/') || whole.split('/').any(|part| part == "..");
    if text.contains("://") || leaves {
        return Err(format!(
            "it names `{text}`, which is not a file of the repository: name its files with --input"
        ));
    }
    let pattern = Pattern::new(&whole).ok_or_else(|| {
        format!("`{text}` is not a pattern: `**` stands for whole folders, as in data/**/*.csv")
    })?;
    let is_data = |file: &&String| {
        base_name(&whole) == base_name(file) || !IGNORED.contains(&base_name(file))
    };
    Ok(listed
        .iter()
        .filter(|file| pattern.matches(file))
        .filter(is_data)
        .collect())
}

/// A pattern seen from the root of the repository.
fn whole(folder: &str, text: &str) -> String {
    let text = text.trim_start_matches("./");
    match folder {
        "" => text.to_owned(),
        folder => format!("{folder}/{text}"),
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The endings of a file's name, each without its dot.
fn endings_of(file: &str) -> impl Iterator<Item = &str> {
    base_name(file).split('.').skip(1)
}

fn is_allowed(file: &str) -> bool {
    let is_known =
        |ending: &str| READ.iter().any(|(read, _)| *read == ending) || NOT_READ.contains(&ending);
    endings_of(file).any(is_known)
}

/// The splits with their files of one format. Where the names of files decided on their splits, files of others are left out.
fn of_one_format(splits: Vec<Split>, by_names: bool, listed: &BTreeSet<String>) -> Found {
    let formats: Vec<_> = splits.iter().map(|(_, files)| format_of(files)).collect();
    let first = formats.first().copied().flatten();
    let (Some(format), true) = (first, formats.iter().all(|format| *format == first)) else {
        return Found::Unreadable(endings(listed));
    };
    let is_own = |file: &String| {
        let mut endings = endings_of(file);
        !by_names
            || endings.any(|ending| {
                READ.iter()
                    .any(|(read, of)| *read == ending && *of == format)
            })
    };
    let own = |(split, files): Split| (split, files.into_iter().filter(is_own).collect());
    Found::Splits(splits.into_iter().map(own).collect())
}

/// The format that most of the files have, where it is read.
fn format_of(files: &[String]) -> Option<&'static str> {
    let mut counts: BTreeMap<(bool, String), usize> = BTreeMap::new();
    for file in files {
        let is_metadata = METADATA.contains(&base_name(file));
        for ending in endings_of(file) {
            *counts
                .entry((!is_metadata, ending.to_ascii_lowercase()))
                .or_default() += 1;
        }
    }
    let place = |ending: &str| READ.iter().take(5).position(|(read, _)| *read == ending);
    let rank = |((is_data, ending), count): &((bool, String), usize)| {
        let place = place(ending).map_or(0, |place| READ.len() - place);
        (*is_data, *count, place, ending.clone())
    };
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(rank);
    let known = counts.iter().rev().find_map(|((_, ending), _)| {
        let read = READ.iter().find(|(read, _)| read == ending);
        match read {
            Some((_, format)) => Some(Some(*format)),
            None => NOT_READ.contains(&ending.as_str()).then_some(None),
        }
    });
    known.flatten()
}

/// The endings of all files, the most frequent first.
fn endings(listed: &BTreeSet<String>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in listed {
        if let Some((_, ending)) = base_name(file).rsplit_once('.')
            && !IGNORED.contains(&base_name(file))
            && !base_name(file).starts_with('.')
        {
            *counts.entry(ending).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = counts.iter().take(5);
    let shown: Vec<_> = shown
        .map(|(ending, count)| match count {
            1 => format!("1 file .{ending}"),
            count => format!("{count} files .{ending}"),
        })
        .collect();
    match shown.is_empty() {
        true => "no files of data".to_owned(),
        false => shown.join(", "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn listed(files: &[&str]) -> BTreeSet<String> {
        files.iter().map(|file| (*file).to_owned()).collect()
    }

    fn splits(files: &[&str]) -> Vec<(String, Vec<String>)> {
        match of_config(&listed(files), &Config::default()).unwrap() {
            Found::Splits(splits) => splits,
            Found::Unreadable(what) => panic!("{what}"),
        }
    }

    fn said(splits: &[(String, Vec<String>)]) -> String {
        let split = |(name, files): &(String, Vec<String>)| format!("{name}: {}", files.join(" "));
        splits.iter().map(split).collect::<Vec<_>>().join("; ")
    }

    /// What `datasets` 5.2 makes of such folders.
    #[test]
    fn by_names() {
        let cases: &[(&[&str], &str)] = &[
            (
                &[
                    "README.md",
                    "data/test-00000-of-00001.parquet",
                    "data/train-00001-of-00002-0af3.parquet",
                    "data/train-00000-of-00002-1be4.parquet",
                    "data/extra-00000-of-00001.parquet",
                    "train.csv",
                ],
                "train: data/train-00000-of-00002-1be4.parquet data/train-00001-of-00002-0af3.parquet; \
                 test: data/test-00000-of-00001.parquet; extra: data/extra-00000-of-00001.parquet",
            ),
            (
                &[
                    "train/b.jsonl",
                    "train/a.jsonl",
                    "valid/x.jsonl",
                    "other.jsonl",
                ],
                "train: train/a.jsonl train/b.jsonl; validation: valid/x.jsonl",
            ),
            (
                &["train.jsonl.gz", "my-test.jsonl.gz", "notes.txt"],
                "train: train.jsonl.gz; test: my-test.jsonl.gz",
            ),
            (&["b.csv", "a.csv", "c.tsv"], "train: a.csv b.csv c.tsv"),
            (&["a.json", "b.parquet"], "train: b.parquet"),
            (&["metadata.jsonl", "x.csv"], "train: x.csv"),
            (&[".hidden.csv", "__x__/y.csv", "x.csv"], "train: x.csv"),
        ];
        for (files, expected) in cases {
            assert_eq!(said(&splits(files)), *expected, "{files:?}");
        }
    }

    #[test]
    fn unreadable() {
        for (files, part) in [
            (&["a.txt", "b.txt", "c.csv"][..], "2 files .txt"),
            (&["README.md", ".gitattributes", "set.py"], "1 file .py"),
            (
                &["train/a.png", "train/b.png", "test/metadata.csv"],
                "2 files .png",
            ),
            (&["README.md"], "no files of data"),
            (&["train/a.csv", "test/a.json"], "1 file .csv"),
        ] {
            let found = of_config(&listed(files), &Config::default()).unwrap();
            assert!(
                matches!(&found, Found::Unreadable(what) if what.contains(part)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn by_the_card() {
        let listed = listed(&["a/x.csv", "a/y.csv", "b/train.csv", "b/test.csv", "c.json"]);
        let mut config = Config {
            name: "c".to_owned(),
            folder: Some("b".to_owned()),
            ..Config::default()
        };
        let found = |config: &Config| match of_config(&listed, config)? {
            Found::Splits(splits) => Ok(said(&splits)),
            Found::Unreadable(what) => Err(what),
        };
        assert_eq!(
            found(&config).unwrap(),
            "train: b/train.csv; test: b/test.csv"
        );
        config.folder = None;
        let mut files = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|text| (*text).to_owned()).collect();
            config.files = Some(vec![("train".to_owned(), patterns)]);
            found(&config)
        };
        assert_eq!(
            files(&["b/*", "a/y.csv", "none/*"]).unwrap(),
            "train: b/test.csv b/train.csv a/y.csv"
        );
        assert_eq!(files(&["no.csv"]).unwrap(), "train: no.csv");
        for (pattern, part) in [
            ("**x", "whole folders"),
            ("https://elsewhere/x.csv", "not a file of the repository"),
            ("../x.csv", "not a file of the repository"),
        ] {
            let error = files(&[pattern]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn conversions() {
        let found = of_conversion(&listed(&[
            ".gitattributes",
            "default/test/0000.parquet",
            "default/partial-train/0001.parquet",
            "default/partial-train/0000.parquet",
            "other/train/0000.parquet",
        ]));
        assert_eq!(found.len(), 2);
        let (config, splits, partial) = &found[0];
        assert_eq!(
            (config.as_str(), said(splits).as_str()),
            (
                "default",
                "train: default/partial-train/0000.parquet default/partial-train/0001.parquet; \
                 test: default/test/0000.parquet"
            )
        );
        assert_eq!(partial, &["train"]);
    }
}
