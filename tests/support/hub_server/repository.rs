//! A repository, made from a folder, and its answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::answer::{Answer, Fault, Request};

/// Files of at least this size are large ones, as are all safetensors files.
const LARGE: usize = 1 << 20;

pub(super) struct Stored {
    path: PathBuf,
    size: usize,
    large: bool,
    pub(super) etag: String,
}

/// A repository, made from a folder.
pub struct Repository {
    pub(super) id: String,
    /// What stands in its addresses: `models` or `datasets`.
    pub(super) kind: &'static str,
    revision: &'static str,
    pub commit: String,
    pub(super) files: BTreeMap<String, Stored>,
    /// A token that its files need, and whether it is gated rather than private.
    pub(super) access: Option<(String, bool)>,
}

impl Repository {
    /// `id` with the files of `folder`.
    pub fn of(id: &str, folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut all = Sha1::new();
        let mut entries = Vec::new();
        list(folder, &mut entries);
        entries.sort();
        for path in entries {
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let bytes = fs::read(&path).unwrap();
            let large = bytes.len() >= LARGE || name.ends_with(".safetensors");
            let etag = match large {
                true => hex(&Sha256::digest(&bytes)),
                false => {
                    let head = format!("blob {}\0", bytes.len());
                    hex(&Sha1::new_with_prefix(head).chain_update(&bytes).finalize())
                }
            };
            all.update(format!("{name} {etag}\n"));
            let stored = Stored {
                path,
                size: bytes.len(),
                large,
                etag,
            };
            files.insert(name, stored);
        }
        Self {
            id: id.to_owned(),
            kind: "models",
            revision: "main",
            commit: hex(&all.finalize()),
            files,
            access: None,
        }
    }

    /// A data set with the files of `folder`.
    pub fn data_set(id: &str, folder: &Path) -> Self {
        let kind = "datasets";
        Self {
            kind,
            ..Self::of(id, folder)
        }
    }

    /// The same, at another revision than `main`.
    pub fn at(self, revision: &'static str) -> Self {
        Self { revision, ..self }
    }

    /// The same, for those who have the token only.
    pub fn private(self, token: &str) -> Self {
        let access = Some((token.to_owned(), false));
        Self { access, ..self }
    }

    /// The same, for those who have the token and accepted its terms.
    pub fn gated(self, token: &str) -> Self {
        let access = Some((token.to_owned(), true));
        Self { access, ..self }
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Repository {
    pub(super) fn answer(
        &self,
        parts: &[&str],
        request: &Request,
        fault: &Option<Fault>,
        large: SocketAddr,
    ) -> Answer {
        let known = |revision: &str| self.knows(revision);
        let no_revision = || Answer::error(404, "RevisionNotFound", "Invalid rev id");
        match parts {
            ["api"] => Answer::json(&self.description()),
            ["api", "revision", revision] if known(revision) => Answer::json(&self.description()),
            ["api", "tree", revision, folder @ ..] if known(revision) => {
                let is_deep = !request.path.contains("recursive=false");
                self.tree(&folder.join("/"), is_deep)
            }
            ["api", "paths-info", revision] if known(revision) => self.paths(&request.body),
            ["api", ..] => no_revision(),
            ["resolve", revision, ..] if !known(revision) => no_revision(),
            ["resolve" | "cached", _, file @ ..] => match self.files.get(&file.join("/")) {
                None => Answer::error(404, "EntryNotFound", "Entry not found"),
                Some(stored) if parts[0] == "cached" => {
                    let mut answer = body(stored, request, fault);
                    answer.headers.push(("X-Repo-Commit", self.commit.clone()));
                    answer
                }
                Some(stored) => self.redirect(&file.join("/"), stored, large),
            },
            _ => Answer::error(404, "EntryNotFound", "Entry not found"),
        }
    }

    fn description(&self) -> serde_json::Value {
        let siblings: Vec<_> = self.files.keys().map(|f| json!({"rfilename": f})).collect();
        json!({"id": self.id, "modelId": self.id, "sha": self.commit, "private": false, "gated": false,
            "disabled": false, "downloads": 0, "likes": 0, "tags": [], "siblings": siblings})
    }

    pub(super) fn knows(&self, revision: &str) -> bool {
        let revision = revision.replace("%2F", "/");
        revision == self.revision || revision == self.commit
    }

    /// What is below a folder, at any depth or directly.
    fn tree(&self, folder: &str, is_deep: bool) -> Answer {
        let inside = match folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let mut folders = BTreeSet::new();
        let mut entries = Vec::new();
        for (name, stored) in &self.files {
            let Some(rest) = name.strip_prefix(&inside) else {
                continue;
            };
            let deeper = rest.match_indices('/').map(|(at, _)| &rest[..at]);
            folders.extend(deeper.take(if is_deep { usize::MAX } else { 1 }));
            if is_deep || !rest.contains('/') {
                entries.push(file_entry(name, stored));
            }
        }
        if entries.is_empty() && folders.is_empty() && !folder.is_empty() {
            return Answer::error(404, "EntryNotFound", "Entry not found");
        }
        let folder_entry = |folder: &str| folder_entry(&format!("{inside}{folder}"));
        entries.extend(folders.into_iter().map(folder_entry));
        Answer::json(&entries.into())
    }

    /// Those of the paths in a form that are there.
    fn paths(&self, form: &[u8]) -> Answer {
        let form = String::from_utf8_lossy(form).replace("%2F", "/");
        let paths = form
            .split('&')
            .filter_map(|field| field.strip_prefix("paths="));
        let entry = |path: &str| match self.files.get(path) {
            Some(stored) => Some(file_entry(path, stored)),
            None => {
                let inside = format!("{path}/");
                let is_folder = self.files.keys().any(|name| name.starts_with(&inside));
                is_folder.then(|| folder_entry(path))
            }
        };
        Answer::json(&paths.filter_map(entry).collect())
    }

    fn redirect(&self, file: &str, stored: &Stored, large: SocketAddr) -> Answer {
        let commit = ("X-Repo-Commit", self.commit.clone());
        if stored.large {
            let location = format!("http://{large}/{}?signature=%2F1", stored.etag);
            let headers = vec![
                ("Location", location),
                ("X-Linked-Size", stored.size.to_string()),
                ("X-Linked-Etag", format!("\"{}\"", stored.etag)),
                commit,
            ];
            return Answer::new(302, headers);
        }
        let (kind, id) = (self.kind, &self.id);
        let location = format!("/api/resolve-cache/{kind}/{id}/{}/{file}", self.commit);
        Answer::new(307, vec![("Location", location), commit])
    }
}

fn file_entry(name: &str, stored: &Stored) -> serde_json::Value {
    let mut entry = json!({"type": "file", "path": name, "size": stored.size, "oid": stored.etag});
    if stored.large {
        entry["oid"] = json!("0".repeat(40));
        entry["lfs"] = json!({"oid": stored.etag, "size": stored.size, "pointerSize": 135});
    }
    entry
}

fn folder_entry(name: &str) -> serde_json::Value {
    json!({"type": "directory", "path": name, "size": 0, "oid": "0".repeat(40)})
}

/// The bytes of a file, or the range of them that was asked for.
pub(super) fn body(stored: &Stored, request: &Request, fault: &Option<Fault>) -> Answer {
    let bytes = fs::read(&stored.path).unwrap();
    let mut headers = vec![("ETag", format!("\"{}\"", stored.etag))];
    let from = request
        .range
        .as_deref()
        .filter(|_| !matches!(fault, Some(Fault::NoRange)))
        .map(|range| {
            range
                .trim_start_matches("bytes=")
                .split('-')
                .next()
                .unwrap()
        })
        .map(|from| from.parse::<usize>().unwrap());
    let (status, body) = match from {
        None => (200, bytes),
        Some(from) if from >= bytes.len() => (416, vec![]),
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            headers.push(("Content-Range", range));
            (206, bytes[from..].to_vec())
        }
    };
    Answer {
        status,
        headers,
        body,
        ..Answer::default()
    }
}
