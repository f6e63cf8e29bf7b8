//! What `--model` names when it is not a bundle, with the command that makes one.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use worldpm_ort_bundle::checkpoint_files::CONFIG_FILE;

const MANIFEST: &str = worldpm_ort_bundle::manifest::FILE_NAME;
const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Names that are listed of a directory; the others are counted.
const LISTED: usize = 5;
/// Files that are taken for models, by the ends of their names.
const FILES: [(&str, &str); 9] = [
    (".gguf", "a model for llama.cpp"),
    (".onnx", "a graph alone"),
    (".safetensors", "weights alone"),
    (".bin", "weights that PyTorch saved"),
    (".pt", "weights that PyTorch saved"),
    (".pth", "weights that PyTorch saved"),
    (".h5", "weights that Keras saved"),
    (".zip", "an archive"),
    (".tar.gz", "an archive"),
];

/// Fails when `model` cannot be a bundle, and says what it is and what to do. What is wrong with a bundle is found later.
pub(crate) fn check(model: &Path) -> Result<()> {
    match problem(model, &replaced) {
        Some(problem) => bail!(problem),
        None => Ok(()),
    }
}

/// The same for a command that looks at checkpoints too.
pub(crate) fn check_either(directory: &Path) -> Result<()> {
    match directory.join(CONFIG_FILE).exists() {
        true => Ok(()),
        false => check(directory),
    }
}

/// Why `model` is no bundle; `again` is the command for the bundle that takes its place.
pub(crate) fn problem(model: &Path, again: &dyn Fn(&Path, &str) -> String) -> Option<String> {
    let shown = model.display();
    let first = |checkpoint: &str, what: String| {
        let name = Path::new(checkpoint.split('@').next().unwrap_or_default());
        let name = name.file_name().unwrap_or(OsStr::new("model"));
        let bundle = format!("{}-bundle", name.to_string_lossy());
        let export = format!(
            "worldpm-ort export --checkpoint {} --out {}",
            quoted(checkpoint),
            quoted(&bundle)
        );
        let again = again(model, &bundle);
        format!("{what}\n  {export}\nand then\n  {again}")
    };
    if model.join(MANIFEST).symlink_metadata().is_ok() {
        return None;
    }
    let Ok(metadata) = model.metadata() else {
        if model.symlink_metadata().is_ok() {
            return Some(format!("{shown} is a link that leads nowhere"));
        }
        let nowhere = format!("there is no directory {shown}, so no {MANIFEST} in it");
        return Some(match model.to_str().filter(|text| is_hub_name(text)) {
            Some(name) => first(
                name,
                format!(
                    "{nowhere}. If it is a model on the hub, a bundle has to be made of it first:"
                ),
            ),
            None => {
                format!("{nowhere}: name the directory of a bundle that `worldpm-ort export` made")
            }
        });
    };
    if !metadata.is_dir() {
        return Some(of_file(model, &first));
    }
    let entries = match fs::read_dir(model) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())),
        Err(error) => return Some(format!("{shown} cannot be read: {error}")),
    };
    let mut entries: Vec<PathBuf> = entries.collect();
    entries.sort();
    if let Some(repository) = cached(model) {
        let what = format!(
            "{shown} is where downloads of a model are kept, not a bundle. Make a bundle of it first:"
        );
        return Some(first(&repository, what));
    }
    for (file, what) in [
        (CONFIG_FILE, "a checkpoint"),
        (ADAPTER_CONFIG, "an adapter"),
    ] {
        if model.join(file).exists() {
            let what = format!(
                "{shown} is {what} (it has {file} and no {MANIFEST}), and a bundle is needed. Export it first:"
            );
            return Some(first(&model.to_string_lossy(), what));
        }
    }
    let below = |file: &str| {
        let with = entries.iter().filter(|entry| entry.join(file).is_file());
        with.map(|entry| entry.display().to_string()).collect()
    };
    let (bundles, checkpoints): (Vec<String>, Vec<String>) = (below(MANIFEST), below(CONFIG_FILE));
    if !bundles.is_empty() {
        return Some(format!(
            "{shown} is no bundle (it has no {MANIFEST}), but holds bundles; name the one that is meant: {}",
            listed(&bundles)
        ));
    }
    if let Some(checkpoint) = checkpoints.first() {
        let what = format!(
            "{shown} is no bundle (it has no {MANIFEST}), but holds checkpoints: {}. Export one first:",
            listed(&checkpoints)
        );
        return Some(first(checkpoint, what));
    }
    if entries.is_empty() {
        return Some(format!(
            "{shown} is empty: it has no {MANIFEST}; name the directory of a bundle that `worldpm-ort export` made"
        ));
    }
    let names = entries.iter().filter_map(|entry| entry.file_name());
    let names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    Some(format!(
        "{shown} is no bundle (it has no {MANIFEST}) and no checkpoint (no {CONFIG_FILE}); it holds {}. Name the directory \
         of a bundle that `worldpm-ort export` made",
        listed(&names)
    ))
}

/// What a file is where a directory is expected.
fn of_file(model: &Path, first: &dyn Fn(&str, String) -> String) -> String {
    let shown = model.display();
    let folder = model
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    if folder.join(MANIFEST).exists() {
        return format!(
            "{shown} is a file of a bundle: name the bundle's directory, {}",
            folder.display()
        );
    }
    let lower = name.to_lowercase();
    let kind = FILES.iter().find(|(end, _)| lower.ends_with(end));
    let what = kind.map_or("no directory", |(_, what)| what);
    if folder.join(CONFIG_FILE).exists() {
        let what = format!(
            "{shown} is a file of a checkpoint ({what}), and a bundle is needed. Export the checkpoint first:"
        );
        return first(&folder.to_string_lossy(), what);
    }
    format!(
        "{shown} is {what}, not the directory of a bundle with its {MANIFEST}. A bundle is made of a checkpoint as \
         `transformers` saves it ({CONFIG_FILE}, safetensors, tokenizer): worldpm-ort export --checkpoint DIR_OR_NAME --out \
         DIR"
    )
}

/// Whether a text can be the name of a model on the hub, `OWNER/NAME` or `OWNER/NAME@REVISION`.
fn is_hub_name(text: &str) -> bool {
    let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let parts: Vec<&str> = name.split('/').collect();
    matches!(parts.as_slice(), [owner, name] if is_part(owner) && is_part(name))
        && !revision.is_empty()
}

/// The model whose folder of the download cache this is: `models--OWNER--NAME`.
fn cached(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?.strip_prefix("models--")?;
    let repository = name.replacen("--", "/", 1);
    (folder.join("snapshots").is_dir() && is_hub_name(&repository)).then_some(repository)
}

fn listed(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(LISTED));
    let more = match more.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// The command that was given, with the bundle in place of `model`.
pub(crate) fn replaced(model: &Path, bundle: &str) -> String {
    let named = model.as_os_str();
    let joined = |arg: &OsStr| {
        let (option, value) = arg.to_str()?.split_once('=')?;
        (option.starts_with("--") && OsStr::new(value) == named)
            .then(|| format!("{option}={}", quoted(bundle)))
    };
    let args = env::args_os().skip(1).map(|arg| match joined(&arg) {
        Some(arg) => arg,
        None if arg == named => quoted(bundle),
        None => quoted(&arg.to_string_lossy()),
    });
    ["worldpm-ort".to_owned()]
        .into_iter()
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:,=@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Makes files, and says what is wrong with `model` there.
    fn said(files: &[&str], model: &str) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match file.ends_with('/') {
                true => fs::create_dir_all(path).unwrap(),
                false => fs::write(path, "").unwrap(),
            }
        }
        let again = |_: &Path, bundle: &str| format!("again with {bundle}");
        let text = problem(&dir.path().join(model), &again)?;
        Some(text.replace(dir.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn what_is_no_bundle() {
        let export =
            "worldpm-ort export --checkpoint DIR/m --out m-bundle\nand then\n  again with m-bundle";
        let cases: &[(&[&str], &str, &[&str])] = &[
            (
                &["m/config.json", "m/model.safetensors"],
                "m",
                &["DIR/m is a checkpoint", export],
            ),
            (
                &["m/adapter_config.json"],
                "m",
                &["DIR/m is an adapter", export],
            ),
            (
                &["m/config.json", "m/model.safetensors"],
                "m/model.safetensors",
                &["weights alone", export],
            ),
            (
                &["m/config.json"],
                "m/config.json",
                &["a file of a checkpoint", export],
            ),
            (
                &["b/manifest.json", "b/x.onnx"],
                "b/x.onnx",
                &["the bundle's directory, DIR/b"],
            ),
            (
                &["b/manifest.json"],
                "b/manifest.json",
                &["the bundle's directory, DIR/b"],
            ),
            (
                &["m.gguf"],
                "m.gguf",
                &["a model for llama.cpp", "worldpm-ort export"],
            ),
            (&["m.ONNX"], "m.ONNX", &["a graph alone"]),
            (
                &["pytorch_model.bin"],
                "pytorch_model.bin",
                &["that PyTorch saved"],
            ),
            (
                &["notes.txt"],
                "notes.txt",
                &["no directory", "worldpm-ort export"],
            ),
            (&["e/"], "e", &["DIR/e is empty", "manifest.json"]),
            (
                &["all/b/manifest.json", "all/a/manifest.json", "all/c/x"],
                "all",
                &["name the one that is meant: DIR/all/a, DIR/all/b"],
            ),
            (
                &["all/a/config.json", "all/b/config.json"],
                "all",
                &[
                    "DIR/all/a, DIR/all/b",
                    "--checkpoint DIR/all/a --out a-bundle",
                ],
            ),
            (
                &["models--Qwen--WorldPM-72B/snapshots/0/config.json"],
                "models--Qwen--WorldPM-72B",
                &["--checkpoint Qwen/WorldPM-72B --out WorldPM-72B-bundle"],
            ),
            (
                &["d/1", "d/2", "d/3", "d/4", "d/5", "d/6", "d/7"],
                "d",
                &["no config.json", "1, 2, 3, 4, 5 and 2 more"],
            ),
            (
                &[],
                "no where",
                &["there is no directory DIR/no where", "manifest.json"],
            ),
        ];
        for (files, model, parts) in cases {
            let text = said(files, model).unwrap();
            for part in *parts {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        // Whatever is wrong with a bundle is found when it is opened.
        assert_eq!(said(&["b/manifest.json", "b/config.json"], "b"), None);
    }

    #[test]
    fn hub_names() {
        let again = |_: &Path, bundle: &str| format!("again with {bundle}");
        for (name, out) in [("Qwen/WorldPM-72B", "WorldPM-72B"), ("a/b@main", "b")] {
            let text = problem(Path::new(name), &again).unwrap();
            let export = format!("worldpm-ort export --checkpoint {name} --out {out}-bundle");
            assert!(
                text.contains(&export) && text.contains("on the hub"),
                "{text}"
            );
        }
        for name in [
            "gpt2", "./a/b", "../a", "/a/b", "a/b/c", "a//b", "a/b@", "a b/c", "",
        ] {
            let text = problem(Path::new(name), &again).unwrap_or_default();
            assert!(!text.contains("on the hub"), "{name}: {text}");
        }
    }

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [
            ("/a/b-c_1.2", "/a/b-c_1.2"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
