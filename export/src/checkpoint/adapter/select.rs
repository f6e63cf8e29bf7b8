//! Which modules an adapter is for, as `inject_adapter` of PEFT has it.

use regex::Regex;
use serde_json::Value;

use crate::{
    checkpoint::{fields::Fields, python_json::shown},
    error::Result,
};

/// All linear layers, as `target_modules`.
const ALL_LINEAR: &str = "all-linear";
/// What PEFT takes for these decoders when `target_modules` is null.
const DEFAULT_TARGETS: [&str; 2] = ["q_proj", "v_proj"];
/// The heads that PEFT saves whole when the task is to classify sequences.
const HEADS: [&str; 2] = ["classifier", "score"];
/// Where a layer's number stands in a module's name, when the file does not say.
const ANY_LAYERS: &str = r"^.*?\.[^.]*\.(?P<idx>\d+)\.";
/// Parts of a pattern that mean one thing in Python and another here.
const OTHER_MEANING: [&str; 5] = ["&&", "--", "~~", "[[", "(?x"];

/// `target_modules`, `exclude_modules`, `layers_to_transform`, `layers_pattern` and `modules_to_save`.
#[derive(Debug)]
pub(super) struct Selection {
    targets: Names,
    excluded: Names,
    /// Modules that are saved whole; they are never targets.
    saved: Vec<Regex>,
    /// The layers that are changed, where not all are, and where their number stands in a name.
    layers: Option<(Vec<u64>, Vec<Regex>)>,
}

#[derive(Debug)]
enum Names {
    /// The whole name matches.
    Pattern(Regex),
    /// A name is one of these, or ends with a dot and one.
    List(Vec<String>),
    AllLinear,
}

impl Selection {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config), naming the field that makes no sense.
    pub(super) fn read(fields: &Fields<'_>, modules_to_save: &[String]) -> Result<Self> {
        let targets = match names(fields, "target_modules")? {
            Some(Names::Pattern(_)) if is_all_linear(fields) => Names::AllLinear,
            Some(names) => names,
            None => Names::List(DEFAULT_TARGETS.map(str::to_owned).into()),
        };
        let heads = match fields.text("task_type")? {
            Some(_) => &HEADS[..],
            None => &[],
        };
        let heads = heads.iter().map(|head| (*head).to_owned());
        let saved = modules_to_save
            .iter()
            .cloned()
            .chain(heads)
            .map(|module| {
                let pattern = format!(r"^(?:(?:^|.*\.){module}(?:$|\..*))");
                regex(fields, "modules_to_save", &module, &pattern)
            })
            .collect::<Result<_>>()?;
        let layers = layers(fields)?;
        if layers.is_some() && !matches!(targets, Names::List(_)) {
            return Err(fields.error(
                "layers_to_transform",
                "has no meaning where `target_modules` is one text; PEFT refuses it too",
            ));
        }
        Ok(Self {
            targets,
            excluded: names(fields, "exclude_modules")?.unwrap_or(Names::List(Vec::new())),
            saved,
            layers,
        })
    }

    /// Whether the adapter has an update for a module; `is_linear` says whether that is a linear layer.
    pub(super) fn selects(&self, module: &str, is_linear: bool) -> bool {
        if self.excluded.contain(module) || self.saved.iter().any(|saved| saved.is_match(module)) {
            return false;
        }
        match &self.targets {
            Names::AllLinear => is_linear,
            Names::List(names) if names.iter().any(|name| name == module) => true,
            targets => targets.contain(module) && self.has_layer(module),
        }
    }

    fn has_layer(&self, module: &str) -> bool {
        let Some((layers, patterns)) = &self.layers else {
            return true;
        };
        let captures = patterns.iter().find_map(|pattern| pattern.captures(module));
        captures
            .and_then(|captures| captures.name("idx")?.as_str().parse().ok())
            .is_some_and(|layer| layers.contains(&layer))
    }
}

impl Names {
    fn contain(&self, module: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.is_match(module),
            Self::List(names) => names.iter().any(|name| {
                module
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
            Self::AllLinear => false,
        }
    }
}

fn is_all_linear(fields: &Fields<'_>) -> bool {
    let targets = fields.get("target_modules").and_then(Value::as_str);
    targets.is_some_and(|targets| targets.eq_ignore_ascii_case(ALL_LINEAR))
}

/// A list of names, or a pattern. An empty text or list of excluded modules is none, as Python has it.
fn names(fields: &Fields<'_>, name: &str) -> Result<Option<Names>> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(Some(Names::List(Vec::new()))),
        Some(Value::String(text)) => {
            let pattern = regex(fields, name, text, &format!("^(?:{text})$"))?;
            Ok(Some(Names::Pattern(pattern)))
        }
        Some(_) => fields
            .module_names(name)
            .map(|list| Some(Names::List(list))),
    }
}

fn layers(fields: &Fields<'_>) -> Result<Option<(Vec<u64>, Vec<Regex>)>> {
    let wrong = |value: &Value| {
        fields.error(
            "layers_to_transform",
            format!(
                "is {}; it must be a layer's number or a list of them",
                shown(value)
            ),
        )
    };
    let number = |value: &Value| value.as_u64().ok_or_else(|| wrong(value));
    let layers: Vec<u64> = match fields.get("layers_to_transform") {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().map(number).collect::<Result<_>>()?,
        Some(value) => vec![number(value)?],
    };
    let patterns: Vec<String> = match fields.get("layers_pattern") {
        None => Vec::new(),
        Some(Value::String(pattern)) if pattern.is_empty() => Vec::new(),
        Some(Value::String(pattern)) => vec![pattern.clone()],
        Some(_) => fields.module_names("layers_pattern")?,
    };
    if layers.is_empty() {
        return match patterns.is_empty() {
            true => Ok(None),
            false => Err(fields.error(
                "layers_pattern",
                "has no meaning without `layers_to_transform`; PEFT refuses it too",
            )),
        };
    }
    let patterns = match patterns.is_empty() {
        true => vec![regex(fields, "layers_pattern", "", ANY_LAYERS)?],
        false => patterns
            .iter()
            .map(|pattern| {
                let whole = format!(r"^(?:(?:^|.*?\.){pattern}\.(?P<idx>\d+)\.)");
                regex(fields, "layers_pattern", pattern, &whole)
            })
            .collect::<Result<_>>()?,
    };
    Ok(Some((layers, patterns)))
}

/// The pattern `given` of a field, as the whole expression `pattern`.
fn regex(fields: &Fields<'_>, name: &str, given: &str, pattern: &str) -> Result<Regex> {
    let refused = |problem: String| {
        fields.error(
            name,
            format!("`{given}` is no regular expression of a kind known here: {problem}"),
        )
    };
    if let Some(part) = OTHER_MEANING.iter().find(|part| given.contains(**part)) {
        return Err(refused(format!("`{part}` has another meaning in Python")));
    }
    Regex::new(pattern).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<Selection> {
        let fields = Fields {
            path: Path::new("adapter_config.json"),
            prefix: "",
            map: value.as_object().unwrap(),
        };
        let saved = fields.module_names("modules_to_save")?;
        Selection::read(&fields, &saved)
    }

    const MODULES: [&str; 9] = [
        "model.embed_tokens",
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.v_proj",
        "model.layers.0.mlp.up_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.self_attn.v_proj",
        "model.layers.1.mlp.up_proj",
        "model.layers.11.self_attn.q_proj",
        "score",
    ];

    /// Which of [`MODULES`] are selected is what `inspect_matched_modules` of PEFT 0.21 says of a model with them.
    #[test]
    fn selected_modules() {
        for (config, expected) in [
            (json!({}), vec![1, 2, 4, 5, 7]),
            (json!({"target_modules": ["q_proj"]}), vec![1, 4, 7]),
            (json!({"target_modules": ["proj"]}), vec![]),
            (
                json!({"target_modules": ["embed_tokens", "score"]}),
                vec![0, 8],
            ),
            (
                json!({"target_modules": ["embed_tokens", "score"], "task_type": "SEQ_CLS"}),
                vec![0],
            ),
            (
                json!({"target_modules": ["score", "mlp.up_proj"], "modules_to_save": ["score"]}),
                vec![3, 6],
            ),
            (
                json!({"target_modules": "all-linear"}),
                vec![1, 2, 3, 4, 5, 6, 7, 8],
            ),
            (
                json!({"target_modules": "All-Linear", "task_type": "SEQ_CLS"}),
                vec![1, 2, 3, 4, 5, 6, 7],
            ),
            (
                json!({"target_modules": r".*\.(q|v)_proj"}),
                vec![1, 2, 4, 5, 7],
            ),
            (json!({"target_modules": "q_proj"}), vec![]),
            (
                json!({"target_modules": ["q_proj", "up_proj"], "exclude_modules": ["up_proj"]}),
                vec![1, 4, 7],
            ),
            (
                json!({"target_modules": ["q_proj", "up_proj"], "exclude_modules": r".*\.1\..*"}),
                vec![1, 3, 7],
            ),
            (
                json!({"target_modules": ["q_proj"], "exclude_modules": ""}),
                vec![1, 4, 7],
            ),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": 1}),
                vec![4],
            ),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": [0, 11]}),
                vec![1, 7],
            ),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": []}),
                vec![1, 4, 7],
            ),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"}),
                vec![4],
            ),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["h", "layers"]}),
                vec![4],
            ),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["h"]}),
                vec![],
            ),
            (
                // A name that is given whole is taken whatever its layer.
                json!({"target_modules": ["model.layers.0.mlp.up_proj", "q_proj"], "layers_to_transform": [1]}),
                vec![3, 4],
            ),
            (
                json!({"target_modules": ["embed_tokens"], "layers_to_transform": [0]}),
                vec![],
            ),
            (json!({"target_modules": []}), vec![]),
        ] {
            let selection = read(&config).unwrap();
            let selected: Vec<usize> = (0..MODULES.len())
                .filter(|&at| selection.selects(MODULES[at], at != 0))
                .collect();
            assert_eq!(selected, expected, "{config}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (config, field) in [
            (json!({"target_modules": 3}), "target_modules"),
            (json!({"target_modules": [3]}), "target_modules"),
            (json!({"target_modules": "(?!x).*"}), "target_modules"),
            (json!({"target_modules": "[a--b]"}), "target_modules"),
            (json!({"exclude_modules": {"a": 1}}), "exclude_modules"),
            (json!({"exclude_modules": "("}), "exclude_modules"),
            (json!({"layers_to_transform": "all"}), "layers_to_transform"),
            (json!({"layers_to_transform": [-1]}), "layers_to_transform"),
            (
                json!({"target_modules": "all-linear", "layers_to_transform": 1}),
                "layers_to_transform",
            ),
            (json!({"layers_pattern": "layers"}), "layers_pattern"),
            (
                json!({"layers_to_transform": 1, "layers_pattern": "("}),
                "layers_pattern",
            ),
            (json!({"modules_to_save": ["("]}), "modules_to_save"),
        ] {
            let error = read(&config).unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{config}: {error}");
        }
    }
}
