//! What a data set's card says of its files: the field `configs` of the YAML at the beginning of `README.md`.

use saphyr_parser::{Event, Parser};

/// A part of a data set that has its own files, as its card describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) is_default: bool,
    /// The folder that its files are in.
    pub(super) folder: Option<String>,
    /// Its splits with their patterns, where they are named.
    pub(super) files: Option<Vec<(String, Vec<String>)>>,
    /// What else is said of how its files are to be read.
    pub(super) others: Vec<String>,
}

/// Fields of a config that change nothing in the rows that are read here.
const KNOWN: [&str; 8] = [
    "config_name",
    "data_dir",
    "data_files",
    "default",
    "description",
    "drop_labels",
    "features",
    "version",
];

/// The most values within values.
const MOST_DEPTH: usize = 64;

/// A value of YAML, as far as a card needs it: all scalars are texts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(fields) = self else { return None };
        // Of equal keys the last counts, as in Python.
        let mut found = fields.iter().rev().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value)
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text, or a list of texts.
    fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::Text(text) => Some(vec![text.clone()]),
            Self::List(items) => items
                .iter()
                .map(|item| item.text().map(str::to_owned))
                .collect(),
            Self::Map(_) => None,
        }
    }
}

/// The configs of a card, in its order; none where it names none.
pub(super) fn configs(readme: &str) -> Result<Vec<Config>, String> {
    match front_matter(readme) {
        Some(yaml) => configs_of(yaml),
        None => Ok(Vec::new()),
    }
}

/// The configs of a file of YAML alone.
pub(super) fn configs_of(yaml: &str) -> Result<Vec<Config>, String> {
    let value = read(yaml)?;
    let Some(configs) = value.as_ref().and_then(|value| value.get("configs")) else {
        return Ok(Vec::new());
    };
    match configs {
        Value::List(configs) => configs.iter().map(config).collect(),
        Value::Text(text) if text.is_empty() => Ok(Vec::new()),
        _ => Err("`configs` must be a list".to_owned()),
    }
}

/// What stands between the first line, `---`, and the next such line.
fn front_matter(readme: &str) -> Option<&str> {
    let text = readme.strip_prefix('\u{feff}').unwrap_or(readme);
    let rest = text.trim_start().strip_prefix("---")?;
    let rest = &rest[rest.find('\n')? + 1..];
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(&rest[..at]);
        }
        at += line.len();
    }
    None
}

fn config(value: &Value) -> Result<Config, String> {
    let name = value.get("config_name").and_then(Value::text);
    let name = name.ok_or("each of its `configs` must have a `config_name`")?;
    let files = value.get("data_files").map(|files| {
        splits(files).ok_or_else(|| {
            format!(
                "`data_files` of its config `{name}` must be a pattern, a list of patterns, or a list of {{split, path}}"
            )
        })
    });
    let folder = value.get("data_dir").and_then(Value::text);
    let Value::Map(fields) = value else {
        return Err("each of its `configs` must be a mapping".to_owned());
    };
    let others = fields.iter().map(|(field, _)| field);
    Ok(Config {
        name: name.to_owned(),
        is_default: value
            .get("default")
            .and_then(Value::text)
            .is_some_and(is_true),
        folder: folder.map(|folder| folder.trim_matches('/').to_owned()),
        files: files.transpose()?,
        others: others
            .filter(|field| !KNOWN.contains(&field.as_str()))
            .cloned()
            .collect(),
    })
}

fn is_true(text: &str) -> bool {
    ["true", "yes", "on"].contains(&text.to_ascii_lowercase().as_str())
}

fn splits(files: &Value) -> Option<Vec<(String, Vec<String>)>> {
    if let Some(patterns) = files.texts() {
        return Some(vec![("train".to_owned(), patterns)]);
    }
    let Value::List(items) = files else {
        return None;
    };
    let mut splits: Vec<(String, Vec<String>)> = Vec::new();
    for item in items {
        let split = item.get("split")?.text()?.to_owned();
        if splits.iter().any(|(known, _)| *known == split) {
            return None;
        }
        splits.push((split, item.get("path")?.texts()?));
    }
    Some(splits)
}

/// Reads the first document. Nothing is expanded, so that it is no larger than its text.
fn read(yaml: &str) -> Result<Option<Value>, String> {
    // The values that are open, with the key that waits for its value in a mapping.
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    for event in Parser::new_from_str(yaml) {
        let (event, span) = event.map_err(|error| format!("it is not valid YAML: {error}"))?;
        let line = span.start.line();
        let mut done = match event {
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            Event::Alias(_) => {
                return Err(format!("line {line}: an alias, which is not read here"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == MOST_DEPTH => {
                return Err(format!("line {line}: values within too many values"));
            }
            Event::SequenceStart(..) => {
                open.push((Value::List(Vec::new()), None));
                continue;
            }
            Event::MappingStart(..) => {
                open.push((Value::Map(Vec::new()), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((value, _)) => value,
                None => continue,
            },
            Event::DocumentEnd => return Ok(None),
            _ => continue,
        };
        match open.last_mut() {
            None => return Ok(Some(done)),
            Some((Value::List(items), _)) => items.push(done),
            Some((Value::Map(fields), key)) => match key.take() {
                Some(key) => fields.push((key, done)),
                // A key that is no text names no field that is looked for.
                None => {
                    let text = match &mut done {
                        Value::Text(text) => std::mem::take(text),
                        Value::List(_) | Value::Map(_) => String::new(),
                    };
                    *key = Some(text);
                }
            },
            Some((Value::Text(_), _)) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cards() {
        let readme = "---\n\
            license: mit\n\
            configs:\n\
            - config_name: en\n  default: true\n  data_files:\n\
            \x20 - split: train\n    path: 'data/train-*'\n\
            \x20 - split: test\n    path: [a.csv, b.csv]\n\
            - config_name: 2024\n  data_dir: old/\n  sep: ;\n\
            - config_name: one\n  data_files: '*.jsonl'\n\
            - config_name: more\n  data_files: [x.csv, y/*]\n\
            ---\n# Title\n---\nno: {yaml\n";
        let found = configs(readme).unwrap();
        let names: Vec<_> = found.iter().map(|config| config.name.as_str()).collect();
        assert_eq!(names, ["en", "2024", "one", "more"]);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert!(found[0].is_default && !found[1].is_default);
        assert_eq!(
            found[0].files,
            Some(vec![
                ("train".to_owned(), texts(&["data/train-*"])),
                ("test".to_owned(), texts(&["a.csv", "b.csv"])),
            ])
        );
        assert_eq!(found[1].folder.as_deref(), Some("old"));
        assert_eq!(
            (&found[1].files, &found[1].others),
            (&None, &texts(&["sep"]))
        );
        assert_eq!(
            found[2].files,
            Some(vec![("train".to_owned(), texts(&["*.jsonl"]))])
        );
        assert_eq!(
            found[3].files,
            Some(vec![("train".to_owned(), texts(&["x.csv", "y/*"]))])
        );
        for none in [
            "",
            "# Title",
            "---\nlicense: mit\n---\n",
            "---\nlicense: mit",
            "---\n---\n",
        ] {
            assert_eq!(configs(none).unwrap(), [], "{none}");
        }
        assert_eq!(
            configs("\u{feff}---\r\nconfigs:\r\n- config_name: a\r\n---\r\n")
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn wrong_cards() {
        let deep = format!("x: {}{}", "[".repeat(100), "]".repeat(100));
        for (yaml, part) in [
            ("configs: 7", "must be a list"),
            ("configs: [{a: b}]", "config_name"),
            ("configs: [{config_name: a, data_files: {x: y}}]", "`a`"),
            (
                "configs: [{config_name: a, data_files: [{split: x}]}]",
                "`a`",
            ),
            ("a: [", "not valid YAML"),
            ("a: &x [1]\nb: *x", "line 2"),
            (&deep, "too many"),
        ] {
            let error = configs_of(yaml).unwrap_err();
            assert!(error.contains(part), "{yaml}: {error}");
        }
    }
}
