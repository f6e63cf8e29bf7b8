//! The files that say how a conversation becomes tokens: the one list of them, for downloads, exports and bundles.
//!
//! It is what `transformers` reads for a fast tokenizer: `tokenizer.json`, `tokenizer_config.json`,
//! `special_tokens_map.json`, `added_tokens.json`, `chat_template.jinja` and `additional_chat_templates/*.jinja`.
//! `chat_template.json` belongs to processors of images, and is read for no tokenizer.

mod class;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde_json::Value;

pub use class::TokenizerClass;

use crate::{
    checkpoint_files::CONFIG_FILE,
    error::{Error, Result},
    files,
    hash::sha256_hex,
    manifest::{Text, TextFile},
};

/// The tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// Its settings, and often the chat template.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The names of special tokens, in checkpoints that are older than `added_tokens_decoder`.
pub const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
/// Tokens with their ids, in those checkpoints.
pub const ADDED_TOKENS: &str = "added_tokens.json";
/// The chat template.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// The folder of templates with names.
const MORE_TEMPLATES: &str = "additional_chat_templates";

const NAMES: [&str; 5] = [
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS_MAP,
    ADDED_TOKENS,
    CHAT_TEMPLATE,
];

/// The name of the template in a file of this name, for a template with a name.
///
/// In a bundle for Triton the folder is part of the name, since every folder there is a model.
fn template_name(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(MORE_TEMPLATES)?;
    let file = rest.strip_prefix(['/', '.'])?;
    file.strip_suffix(".jinja").filter(|_| {
        let plain = |c: char| c != '/' && c != '\\' && c != '\0';
        file.chars().all(plain)
    })
}

/// Whether a file of this name is one of the list.
#[must_use]
pub fn is_text_file(name: &str) -> bool {
    NAMES.contains(&name) || template_name(name).is_some()
}

/// The files of the list among those with these names.
pub fn listed(names: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    names.iter().filter(|name| is_text_file(name))
}

/// The text files of a checkpoint or of a bundle, in memory: what is checked is what is used.
#[derive(Clone, Debug)]
pub struct TextFiles {
    dir: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
    class: TokenizerClass,
    notes: Vec<String>,
}

impl TextFiles {
    /// Reads those that the checkpoint in `dir` has.
    ///
    /// A file may be a link within the directory, or into a Hugging Face cache; one that leads elsewhere is refused,
    /// since whatever it leads to would become part of a bundle.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read, [`Error::Tokenizer`] for a link that leads out of the checkpoint and
    /// for a Git LFS pointer.
    pub fn of_checkpoint(dir: &Path) -> Result<Self> {
        let mut files = Self::read(dir)?;
        let json = |bytes: Option<Vec<u8>>| -> Value {
            bytes
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default()
        };
        let model = json(read_inside(dir, CONFIG_FILE)?);
        let config = json(files.get(TOKENIZER_CONFIG).map(<[u8]>::to_vec));
        let outline = class::Outline::of(files.get(TOKENIZER).unwrap_or_default());
        (files.class, files.notes) = class::resolve(&config, &model, &outline);
        Ok(files)
    }

    /// As [`TextFiles::of_checkpoint`], without what needs a model's configuration.
    fn read(dir: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let names = NAMES.into_iter().map(str::to_owned);
        for name in names.chain(more_templates(dir)?) {
            if let Some(bytes) = read_inside(dir, &name)? {
                files.insert(name, bytes);
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            files,
            class: TokenizerClass::default(),
            notes: Vec::new(),
        })
    }

    /// Reads those that a manifest lists from its bundle in `dir`, and nothing else.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], naming the file, for one that is missing, has changed since the export, or is not of the
    /// list.
    pub fn of_bundle(dir: &Path, text: &Text) -> Result<Self> {
        let mut files = BTreeMap::new();
        for TextFile { name, sha256 } in &text.files {
            let path = dir.join(name);
            let fault = |problem: String| {
                Err(Error::Tokenizer {
                    path: path.clone(),
                    problem,
                })
            };
            if !is_text_file(name) {
                return fault("is listed in the manifest, and is no file of a tokenizer".into());
            }
            let bytes = match files::read_limited(&path, files::MAX_TEXT_BYTES) {
                Ok(bytes) => bytes,
                Err(error) => {
                    return fault(format!("a file of the bundle cannot be read: {error}"));
                }
            };
            if sha256_hex(&bytes) != *sha256 {
                return fault(
                    "has changed since the bundle was exported (its SHA-256 differs from the manifest's); export the \
                     checkpoint again"
                        .into(),
                );
            }
            files.insert(name.clone(), bytes);
        }
        Ok(Self {
            dir: dir.to_owned(),
            files,
            class: text.tokenizer_class,
            notes: Vec::new(),
        })
    }

    /// The directory that they were read from.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The content of a file; `None` when it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Every file: its name and its content, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let files = self.files.iter();
        files.map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The templates that have names: the name, the file and its content.
    pub fn named_templates(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        self.files.iter().filter_map(|(file, bytes)| {
            Some((template_name(file)?, file.as_str(), bytes.as_slice()))
        })
    }

    /// The class with which `transformers` 5 would load the tokenizer.
    #[must_use]
    pub fn class(&self) -> TokenizerClass {
        self.class
    }

    /// What a user should know of how these files are read, each in a sentence.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Adds a sentence to [`TextFiles::notes`].
    pub fn add_note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Names and SHA-256 of the files, as a manifest lists them.
    #[must_use]
    pub fn described(&self) -> Vec<TextFile> {
        let described = self.files.iter().map(|(name, bytes)| TextFile {
            name: name.clone(),
            sha256: sha256_hex(bytes),
        });
        described.collect()
    }

    /// Whether what an export needs is there: a tokenizer and a chat template.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], naming what is missing.
    pub fn require(&self) -> Result<()> {
        let fault = |name: &str, problem: String| {
            Err(Error::Tokenizer {
                path: self.dir.join(name),
                problem,
            })
        };
        if self.get(TOKENIZER).is_none() {
            return fault(
                TOKENIZER,
                "is missing; a bundle needs the checkpoint's fast tokenizer".into(),
            );
        }
        let mut has_template = self.get(CHAT_TEMPLATE).is_some();
        for name in [TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP] {
            let Some(bytes) = self.get(name) else {
                continue;
            };
            match serde_json::from_slice::<Value>(bytes) {
                Ok(config) => has_template |= !config["chat_template"].is_null(),
                Err(error) => return fault(name, format!("is not JSON: {error}")),
            }
        }
        if !has_template {
            return fault(
                CHAT_TEMPLATE,
                format!(
                    "is missing, and {TOKENIZER_CONFIG} has no chat_template; put the model's chat template there"
                ),
            );
        }
        Ok(())
    }
}

/// The names of the templates that have names, with their folder.
fn more_templates(dir: &Path) -> Result<Vec<String>> {
    let folder = dir.join(MORE_TEMPLATES);
    let fault = |source| Error::io("read the directory", &folder, source);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(fault(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(fault)?.file_name();
        let name = format!("{MORE_TEMPLATES}/{}", name.to_string_lossy());
        if is_text_file(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Reads a file that a checkpoint may have.
fn read_inside(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let fault = |problem: String| Error::Tokenizer {
        path: path.clone(),
        problem,
    };
    let io = |source: io::Error| Error::io("read", &path, source);
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(fault(
                "is a link to a file that does not exist: the download is incomplete".into(),
            ));
        }
        Err(source) => return Err(io(source)),
    };
    if !may_hold(&dir.canonicalize().map_err(io)?, &real) {
        return Err(fault(format!(
            "is a link to `{}`, outside of the checkpoint: put the file itself there",
            real.display()
        )));
    }
    let bytes = files::read_limited(&real, files::MAX_TEXT_BYTES).map_err(io)?;
    if files::is_lfs_pointer(&bytes) {
        return Err(fault(files::LFS_PROBLEM.into()));
    }
    Ok(Some(bytes))
}

/// Whether a file of the checkpoint in `dir` may be the one at `real`. Both are resolved.
///
/// In a Hugging Face cache, `models--OWNER--NAME/snapshots/REVISION` has links to `models--OWNER--NAME/blobs`, and the
/// newest `huggingface_hub` keeps the blobs of all models in one folder `blobs` beside them.
fn may_hold(dir: &Path, real: &Path) -> bool {
    let named = |path: &Path, name: &str| path.file_name().is_some_and(|n| n == name);
    let snapshots = dir.parent().filter(|parent| named(parent, "snapshots"));
    let repository = snapshots.and_then(Path::parent);
    let shared = repository
        .and_then(Path::parent)
        .map(|cache| cache.join("blobs"));
    let own = [Some(dir), repository, shared.as_deref()];
    let cached = || {
        real.ancestors().any(|place| {
            let of_model = place
                .parent()
                .and_then(Path::file_name)
                .is_some_and(|name| name.to_string_lossy().starts_with("models--"));
            of_model && (named(place, "blobs") || named(place, "snapshots"))
        })
    };
    own.into_iter().flatten().any(|root| real.starts_with(root)) || cached()
}

#[cfg(test)]
mod tests;
