//! A hub's list of a commit's files, for what its answer about a single file does not say.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

use super::http::Client;

/// A hub's description of a repository with a thousand files has 100 KB.
pub(super) const MAX_DESCRIPTION: u64 = 64 << 20;

/// The hub has a thousand files on a page.
const MAX_PAGES: usize = 200;

/// What the list says of a file.
#[derive(Clone, Debug)]
pub(super) struct TreeEntry {
    /// Bytes.
    pub(super) size: u64,
    /// Its SHA-256 for a large file, Git's hash for a small one.
    pub(super) etag: String,
}

/// The list, asked for when it is first needed. A server may have none.
#[derive(Default)]
pub(super) struct Tree(OnceLock<BTreeMap<String, TreeEntry>>);

#[derive(Deserialize)]
struct Listed {
    path: String,
    #[serde(default)]
    size: u64,
    oid: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

impl Tree {
    pub(super) fn find(&self, client: &Client<'_>, commit: &str, file: &str) -> Option<TreeEntry> {
        let files = self.0.get_or_init(|| list(client, commit));
        files.get(file).cloned()
    }
}

/// All pages of the list, as far as they come.
fn list(client: &Client<'_>, commit: &str) -> BTreeMap<String, TreeEntry> {
    let what = format!("list of files of {}", client.repository);
    let mut files = BTreeMap::new();
    let mut limit = MAX_DESCRIPTION;
    let mut next = Some(client.tree_url(commit));
    for _ in 0..MAX_PAGES {
        let Some(url) = next else { break };
        let Ok((text, after)) = client.repeat(&url, || client.get_page(&url, limit, &what)) else {
            break;
        };
        limit = limit.saturating_sub(text.len() as u64);
        files.extend(read(&text));
        next = after;
    }
    files
}

/// The files in a list; none where it makes no sense.
fn read(text: &[u8]) -> BTreeMap<String, TreeEntry> {
    let listed: Vec<Listed> = serde_json::from_slice(text).unwrap_or_default();
    let entry = |listed: Listed| {
        let (etag, size) = match listed.lfs {
            Some(large) => (large.oid, large.size),
            None => (listed.oid?, listed.size),
        };
        Some((listed.path, TreeEntry { size, etag }))
    };
    listed.into_iter().filter_map(entry).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_files() {
        let text = br#"[
            {"type": "directory", "path": "onnx", "oid": "a", "size": 0},
            {"type": "file", "path": "config.json", "oid": "b", "size": 7},
            {"type": "file", "path": "model.safetensors", "oid": "c", "size": 130,
             "lfs": {"oid": "d", "size": 5000, "pointerSize": 130}}
        ]"#;
        let files = read(text);
        let entry = |name: &str| files.get(name).map(|e| (e.size, e.etag.as_str())).unwrap();
        assert_eq!(entry("config.json"), (7, "b"));
        assert_eq!(entry("model.safetensors"), (5000, "d"));
        for nonsense in [&b"{}"[..], b"", b"<html>", b"[1]"] {
            assert!(read(nonsense).is_empty());
        }
    }
}
