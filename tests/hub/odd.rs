//! A repository with one large file on a server whose answers are changed, and an empty cache.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use worldpm_ort::hub::{self, HubError, HubOptions, Snapshot};

use crate::{
    fixture::{ID, hash, noise},
    hub_server::{Answer, Fault, HubServer, Repository, Request},
};

const WEIGHTS: &str = "model.safetensors";
/// Bytes of the weights, and those of them that come before a cut.
pub(crate) const SIZE: usize = 1_500_000;
pub(crate) const CUT: usize = 900_000;
/// Requests for what files are, and for their bytes; the small ones are the hub's own.
pub(crate) const HEAD: &str = "HEAD /owner/model/resolve/";
pub(crate) const SMALL_HEAD: &str = "HEAD /api/resolve-cache/";
pub(crate) const SMALL: &str = "GET /api/resolve-cache/";
pub(crate) const LARGE: &str = "?signature";
pub(crate) const LIST: &str = "/tree/";

pub(crate) type Change = fn(&mut Answer, &Request);

pub(crate) struct Hub {
    pub(crate) folder: TempDir,
    pub(crate) cache: TempDir,
    pub(crate) server: HubServer,
}

impl Hub {
    pub(crate) fn new(changes: &[(&'static str, Change)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files() {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let server = HubServer::start(vec![Repository::of(ID, folder.path())]);
        for (part, change) in changes {
            server.fail(part, usize::MAX, Fault::Odd(*change));
        }
        Self {
            folder,
            cache: tempfile::tempdir().unwrap(),
            server,
        }
    }

    pub(crate) fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: self.server.endpoint(),
            backoff: Duration::from_millis(1),
            workers: 1,
            ..HubOptions::with_cache(self.cache.path())
        }
    }

    pub(crate) fn download(&self) -> Result<Snapshot, HubError> {
        hub::download(&ID.parse().unwrap(), &self.options(), &|_| {})
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.cache.path().join("models--owner--model/blobs")
    }

    /// The unfinished part of the weights.
    pub(crate) fn partial(&self) -> PathBuf {
        self.blobs()
            .join(format!("{}.incomplete", hash(&weights())))
    }

    /// What a part of the weights has become, and nothing else that is unfinished.
    pub(crate) fn kept(&self) -> Option<Vec<u8>> {
        let unfinished = fs::read_dir(self.blobs())
            .unwrap()
            .map(|e| e.unwrap().path());
        let unfinished: Vec<PathBuf> = unfinished.filter(|p| p.extension().is_some()).collect();
        assert!(
            unfinished.iter().all(|path| *path == self.partial()),
            "{unfinished:?}"
        );
        fs::read(self.partial()).ok()
    }

    pub(crate) fn leave(&self, bytes: &[u8]) {
        fs::create_dir_all(self.blobs()).unwrap();
        fs::write(self.partial(), bytes).unwrap();
    }

    pub(crate) fn check(&self, snapshot: &Snapshot) {
        for (name, bytes) in files() {
            assert!(
                fs::read(snapshot.path.join(name)).unwrap() == bytes,
                "{name}"
            );
        }
        assert_eq!(self.kept(), None);
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 4);
    }
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("chat_template.jinja", b"{{ messages }}".to_vec()),
        ("config.json", b"{}".to_vec()),
        (WEIGHTS, weights()),
        ("tokenizer.json", noise(5, 30_000)),
    ]
}

pub(crate) fn weights() -> Vec<u8> {
    noise(2, SIZE)
}

pub(crate) fn whole(answer: &mut Answer) {
    answer.body = weights();
}
