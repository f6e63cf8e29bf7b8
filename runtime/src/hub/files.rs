//! Which files of a repository a model needs.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path};

use worldpm_ort_bundle::{
    checkpoint_files::{CONFIG_FILE, INDEX_FILE, WeightsChoice, choose_weights, indexed_files},
    text_files::{self, TOKENIZER},
};

/// The configurations of a model and of an adapter.
const CONFIGS: [&str; 2] = [CONFIG_FILE, "adapter_config.json"];

/// The small files that a repository with these files has.
pub(super) fn text_files(listed: &BTreeSet<String>) -> Vec<String> {
    let configs = CONFIGS.iter().filter(|name| listed.contains(**name));
    let configs = configs.map(|name| (*name).to_owned());
    configs.chain(text_files::listed(listed).cloned()).collect()
}

/// Where the weights are in a repository with these files, or why there are none to use.
pub(super) fn weights(listed: &BTreeSet<String>) -> Result<WeightsChoice, String> {
    choose_weights(listed).map_err(|reason| reason.to_string())
}

/// The names in an index.
pub(super) fn indexed(snapshot: &Path) -> Result<BTreeSet<String>, String> {
    indexed_files(&snapshot.join(INDEX_FILE)).map_err(|error| error.to_string())
}

/// The first file that a snapshot lacks, when it is not a whole model.
pub(super) fn missing(snapshot: &Path) -> Result<Option<String>, String> {
    let lacks = |name: &str| !snapshot.join(name).exists();
    let names = match fs::read_dir(snapshot) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", snapshot.display())),
    };
    let [_, adapter_config] = CONFIGS;
    let is_adapter = names.contains(adapter_config) && !names.contains(CONFIG_FILE);
    let choice = match choose_weights(&names) {
        Ok(choice) => choice,
        Err(_) if is_adapter => WeightsChoice::Adapter,
        Err(_) => WeightsChoice::Single,
    };
    let mut needed: BTreeSet<String> = match choice {
        WeightsChoice::Adapter => BTreeSet::new(),
        WeightsChoice::Single | WeightsChoice::Sharded => {
            [CONFIG_FILE, TOKENIZER].map(str::to_owned).into()
        }
    };
    match choice {
        WeightsChoice::Sharded => needed.extend(indexed(snapshot)?),
        one => {
            needed.insert(one.file().to_owned());
        }
    }
    Ok(needed.into_iter().find(|name| lacks(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_is_needed() {
        let listed = listed(&[
            "README.md",
            ".gitattributes",
            "config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "model.safetensors",
            "pytorch_model.bin",
            "logo.png",
            "onnx/model.onnx",
            "original/consolidated.00.pth",
            "model-q4.gguf",
        ]);
        assert_eq!(
            text_files(&listed),
            ["config.json", "chat_template.jinja", "tokenizer.json"]
        );
        assert_eq!(weights(&listed), Ok(WeightsChoice::Single));
    }

    #[test]
    fn every_file_of_the_text_and_no_other() {
        let text = [
            "added_tokens.json",
            "additional_chat_templates/rag.jinja",
            "additional_chat_templates/tool_use.jinja",
            "chat_template.jinja",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        let mut names = listed(&text);
        for other in [
            "chat_template.json",
            "tokenizer.model",
            "vocab.json",
            "additional_chat_templates/deeper/x.jinja",
            "additional_chat_templates/notes.txt",
            "sub/tokenizer.json",
        ] {
            names.insert(other.to_owned());
        }
        assert_eq!(text_files(&names), text);
    }

    #[test]
    fn kinds_of_weights() {
        let index = listed(&[
            "config.json",
            "model.safetensors.index.json",
            "model.safetensors",
        ]);
        assert_eq!(weights(&index), Ok(WeightsChoice::Single));
        let index = listed(&["config.json", "model.safetensors.index.json"]);
        assert_eq!(weights(&index), Ok(WeightsChoice::Sharded));
        let adapter = listed(&["adapter_config.json", "adapter_model.safetensors"]);
        assert_eq!(weights(&adapter), Ok(WeightsChoice::Adapter));
        let cases: &[(&[&str], &str)] = &[
            (&["config.json", "pytorch_model.bin"], "pytorch_model.bin"),
            (&["config.json", "README.md"], "holds no weights"),
            (&["model.safetensors"], "config.json"),
        ];
        for (names, part) in cases {
            assert!(
                weights(&listed(names)).unwrap_err().contains(part),
                "{names:?}"
            );
        }
    }
}
