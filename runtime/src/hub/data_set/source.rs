//! A commit of a repository, of the hub or of the cache: the names of its files, and what is brought of them.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::super::{
    DownloadProgress, HubError, HubOptions, Repository,
    bring::{Description, bring, describe_repository, instead},
    cache::{Cache, fault},
    error::is_unwritable,
    http::Client,
    tree::Tree,
};

/// The most of a card that is read.
const MOST_TEXT: u64 = 16 << 20;

pub(super) struct Source<'a> {
    repository: &'a Repository,
    options: &'a HubOptions,
    cache: Cache,
    /// Absent where the cache stands in for the hub.
    client: Option<Client<'a>>,
    tree: Tree,
    pub(super) commit: String,
    /// All files of the commit.
    pub(super) listed: BTreeSet<String>,
    pub(super) warning: Option<String>,
}

impl<'a> Source<'a> {
    pub(super) fn open(
        repository: &'a Repository,
        options: &'a HubOptions,
    ) -> Result<Self, HubError> {
        if options.offline {
            return Self::cached(repository, options);
        }
        let client = Client::new(options, repository)?;
        let reason = match describe_repository(&client) {
            Ok(Description { sha, siblings }) => {
                let names = siblings.into_iter().map(|file| file.rfilename);
                return Ok(Self {
                    repository,
                    options,
                    cache: Cache::new(&options.cache, repository),
                    client: Some(client),
                    tree: Tree::default(),
                    commit: sha,
                    listed: names.filter(|name| is_inside(name)).collect(),
                    warning: None,
                });
            }
            Err(error @ (HubError::Unreachable { .. } | HubError::RateLimited { .. })) => error,
            Err(error) => return Err(error),
        };
        let Ok(source) = Self::cached(repository, options) else {
            return Err(reason);
        };
        let said = instead(repository, &source.commit, &reason);
        let warnings = [Some(said), source.warning];
        let warnings: Vec<_> = warnings.into_iter().flatten().collect();
        Ok(Self {
            warning: Some(warnings.join("; ")),
            ..source
        })
    }

    /// What the cache has.
    fn cached(repository: &'a Repository, options: &'a HubOptions) -> Result<Self, HubError> {
        let cache = Cache::new(&options.cache, repository);
        let commit = cache.commit_of(repository.revision())?;
        let commit = commit.ok_or_else(|| offline(repository, options, "it is not"))?;
        let (listed, warning) = match cache.listing(&commit)? {
            Some(listed) => (listed, None),
            None if !cache.snapshot(&commit).is_dir() => {
                let problem = format!("commit {commit} is not");
                return Err(offline(repository, options, &problem));
            }
            None => {
                let mut files = BTreeSet::new();
                let folder = cache.snapshot(&commit);
                list(&folder, &folder, &mut files)?;
                let warning = format!(
                    "warning: {repository}: another program downloaded what the cache has of it, and that this is all of it \
                     cannot be known without the hub"
                );
                (files, Some(warning))
            }
        };
        Ok(Self {
            repository,
            options,
            cache,
            client: None,
            tree: Tree::default(),
            commit,
            listed,
            warning,
        })
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> PathBuf {
        self.cache.snapshot(&self.commit)
    }

    /// Brings files, unless they are there.
    pub(super) fn bring(
        &self,
        files: &[String],
        progress: &(dyn Fn(DownloadProgress) + Sync),
    ) -> Result<(), HubError> {
        let Some(client) = &self.client else {
            let folder = self.folder();
            let missing = files.iter().find(|file| !folder.join(file).exists());
            return match missing {
                None => Ok(()),
                Some(file) => {
                    let problem = format!("`{file}` is not");
                    Err(offline(self.repository, self.options, &problem))
                }
            };
        };
        let (cache, tree) = (&self.cache, &self.tree);
        bring(client, cache, tree, &self.commit, files, progress).map(drop)
    }

    /// The first of some files that the hub does not have. Of the cache this is not known.
    pub(super) fn lost<'f>(&self, files: &'f [String]) -> Option<&'f String> {
        let mut files = files.iter().filter(|_| self.client.is_some());
        files.find(|file| !self.listed.contains(*file))
    }

    /// A small file of text.
    pub(super) fn text(&self, file: &str) -> Result<String, HubError> {
        self.bring(&[file.to_owned()], &|_| {})?;
        let path = self.folder().join(file);
        let unreadable = |source| fault(&path, "read it", source);
        if fs::metadata(&path).map_err(unreadable)?.len() > MOST_TEXT {
            return Err(HubError::Content {
                repository: self.repository.to_string(),
                problem: format!("`{file}` is larger than a card can be"),
            });
        }
        let bytes = fs::read(&path).map_err(unreadable)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Notes which commit is meant, and what its files are, for when there is no hub.
    pub(super) fn keep(&self) -> Result<(), HubError> {
        if self.client.is_none() {
            return Ok(());
        }
        let kept = self.cache.set_listing(&self.commit, &self.listed);
        let kept = kept.and_then(|()| match self.repository.is_pinned() {
            true => Ok(()),
            false => self
                .cache
                .set_commit(self.repository.revision(), &self.commit),
        });
        match kept {
            // The files are there all the same.
            Err(HubError::Cache { source, .. }) if is_unwritable(&source) => Ok(()),
            kept => kept,
        }
    }
}

/// Whether a name is one of a file inside the repository.
fn is_inside(name: &str) -> bool {
    name.split('/')
        .all(|part| !part.is_empty() && part != "." && part != "..")
}

fn offline(repository: &Repository, options: &HubOptions, problem: &str) -> HubError {
    HubError::Offline {
        repository: repository.to_string(),
        problem: problem.to_owned(),
        cache: options.cache.clone(),
    }
}

fn list(root: &Path, folder: &Path, files: &mut BTreeSet<String>) -> Result<(), HubError> {
    let unreadable = |source| fault(folder, "list it", source);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            list(root, &path, files)?;
        } else if path.exists()
            && let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str)
        {
            files.insert(name.to_owned());
        }
    }
    Ok(())
}
