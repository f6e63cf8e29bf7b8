//! A folder of files like a checkpoint's, a server on loopback that has it, and an empty cache.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use worldpm_ort::hub::{self, HubError, HubOptions, Snapshot};

use crate::hub_server::{Fault, HubServer, Repository};

pub(crate) const ID: &str = "owner/model";
pub(crate) const SHARD: &str = "model-00002-of-00002.safetensors";
/// Requests for the description of a file, and for bytes.
pub(crate) const SHARD_HEAD: &str = "HEAD /owner/model/resolve/";
pub(crate) const BYTES: &str = "GET /";

/// The three together.
pub(crate) struct Hub {
    pub(crate) folder: TempDir,
    pub(crate) cache: TempDir,
    pub(crate) server: HubServer,
    pub(crate) commit: String,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self::with(|repository| repository)
    }

    pub(crate) fn with(change: impl FnOnce(Repository) -> Repository) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files() {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let repository = change(Repository::of(ID, folder.path()));
        let commit = repository.commit.clone();
        Self {
            folder,
            cache: tempfile::tempdir().unwrap(),
            server: HubServer::start(vec![repository]),
            commit,
        }
    }

    pub(crate) fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: self.server.endpoint(),
            backoff: Duration::from_millis(1),
            ..HubOptions::with_cache(self.cache.path())
        }
    }

    pub(crate) fn download(&self) -> Result<Snapshot, HubError> {
        self.download_with(&self.options())
    }

    pub(crate) fn download_with(&self, options: &HubOptions) -> Result<Snapshot, HubError> {
        hub::download(&ID.parse().unwrap(), options, &|_| {})
    }

    pub(crate) fn fail(&self, part: &'static str, times: usize, fault: Fault) {
        self.server.fail(part, times, fault);
    }

    pub(crate) fn snapshot(&self) -> PathBuf {
        self.cached(&format!("snapshots/{}", self.commit))
    }

    /// A path in the repository's folder of the cache.
    pub(crate) fn cached(&self, path: &str) -> PathBuf {
        self.cache.path().join("models--owner--model").join(path)
    }

    /// The blob of the second shard.
    pub(crate) fn blob(&self) -> PathBuf {
        let target = fs::read_link(self.snapshot().join(SHARD)).unwrap();
        self.cached("blobs").join(target.file_name().unwrap())
    }

    pub(crate) fn incomplete(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.cached("blobs")) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some()).collect()
    }

    /// Every file is there and whole.
    pub(crate) fn check(&self) {
        for name in NEEDED {
            let there = fs::read(self.snapshot().join(name)).unwrap();
            assert!(
                there == fs::read(self.folder.path().join(name)).unwrap(),
                "{name}"
            );
        }
        assert_eq!(
            fs::read_to_string(self.cached("refs/main")).unwrap(),
            self.commit
        );
        assert_eq!(self.incomplete(), [] as [PathBuf; 0]);
    }
}

pub(crate) const NEEDED: [&str; 6] = [
    "chat_template.jinja",
    "config.json",
    "model-00001-of-00002.safetensors",
    SHARD,
    "model.safetensors.index.json",
    "tokenizer.json",
];

pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    let index = serde_json::json!({"weight_map": {
        "a": "model-00001-of-00002.safetensors", "b": SHARD, "c": SHARD
    }});
    vec![
        ("README.md", b"# Model".to_vec()),
        ("chat_template.jinja", b"{{ messages }}".to_vec()),
        ("config.json", b"{}".to_vec()),
        ("model-00001-of-00002.safetensors", noise(1, 300_000)),
        (SHARD, noise(2, 3_000_000)),
        (
            "model.safetensors.index.json",
            serde_json::to_vec(&index).unwrap(),
        ),
        ("model.gguf", noise(3, 1000)),
        ("pytorch_model.bin", noise(4, 1000)),
        ("tokenizer.json", noise(5, 1_200_000)),
    ]
}

/// Bytes that no two places share.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The SHA-256 of bytes.
pub(crate) fn hash(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
