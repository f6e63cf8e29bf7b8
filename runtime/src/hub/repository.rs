//! The name of a model or a data set on a hub.

use std::{fmt, str::FromStr};

use super::HubError;

/// The branch that is meant when no revision is given.
const DEFAULT_REVISION: &str = "main";
/// The hub's own limit for an owner and for a name.
const MAX_PART: usize = 96;

/// What a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Model,
    DataSet,
}

impl Kind {
    /// What its addresses and its folders in the cache are named after.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::DataSet => "datasets",
        }
    }

    /// What stands before its name in the addresses of its pages and files.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::DataSet => "datasets/",
        }
    }
}

/// A repository on a hub, at a revision: `OWNER/NAME` or `OWNER/NAME@REVISION`. It is a model's, unless [`Repository::data_set`]
/// says otherwise.
///
/// ```
/// # use worldpm_ort_runtime as worldpm_ort;
/// # use worldpm_ort::hub::Repository;
/// let repository: Repository = "Qwen/WorldPM-72B@main".parse()?;
/// assert_eq!(repository.id(), "Qwen/WorldPM-72B");
/// assert_eq!(repository.revision(), "main");
/// # Ok::<(), worldpm_ort::hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    kind: Kind,
    id: String,
    revision: String,
}

impl Repository {
    /// `OWNER/NAME`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A branch, a tag, or a commit; `main` by default.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The repository of a data set that has this name.
    #[must_use]
    pub fn data_set(self) -> Self {
        Self {
            kind: Kind::DataSet,
            ..self
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The same repository at another revision.
    ///
    /// # Errors
    /// [`HubError::Setting`] when no branch, tag or commit can have that name.
    pub fn at(self, revision: &str) -> Result<Self, HubError> {
        if !is_revision(revision) {
            return Err(HubError::Setting {
                setting: "revision".to_owned(),
                problem: format!("`{revision}` cannot be the name of a branch, tag or commit"),
            });
        }
        Ok(Self {
            revision: revision.to_owned(),
            ..self
        })
    }

    /// Whether the revision is a commit, which never changes.
    pub(super) fn is_pinned(&self) -> bool {
        is_commit(&self.revision)
    }
}

impl FromStr for Repository {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let fail = |problem| HubError::Name {
            text: text.to_owned(),
            problem,
        };
        let (id, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        let Some((owner, name)) = id.split_once('/') else {
            return Err(fail("it has no owner, as in Qwen/WorldPM-72B"));
        };
        if name.contains('/') {
            return Err(fail("it has more than one `/`"));
        }
        if !is_part(owner) || !is_part(name) {
            return Err(fail(
                "owner and name are made of letters, digits, `.`, `_` and `-`, start and end with none of `.` and \
                 `-`, have no `--` or `..`, and at most 96 characters",
            ));
        }
        if !is_revision(revision) {
            return Err(fail(
                "what follows the `@` cannot be a branch, tag or commit",
            ));
        }
        Ok(Self {
            kind: Kind::Model,
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.revision != DEFAULT_REVISION {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// The hub's rule, as in `huggingface_hub`'s `validate_repo_id`.
fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_PART).contains(&part.len())
        && part.chars().all(allowed)
        && !part.starts_with(['.', '-'])
        && !part.ends_with(['.', '-'])
        && !part.contains("--")
        && !part.contains("..")
}

/// Git's rules for names, as far as they keep a revision inside the folder `refs`.
fn is_revision(revision: &str) -> bool {
    !revision.is_empty()
        && revision
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && c != '\\')
        && revision
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(".."))
}

/// Whether this is a whole Git commit hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            ("Qwen/WorldPM-72B", "main"),
            ("Qwen/WorldPM-72B@refs/pr/3", "refs/pr/3"),
            (
                "a/b.c_d-e@0123456789012345678901234567890123456789",
                "0123456789012345678901234567890123456789",
            ),
        ];
        for (text, revision) in cases {
            let repository: Repository = text.parse().unwrap();
            assert_eq!(repository.revision(), revision);
            assert_eq!(text.split('@').next().unwrap(), repository.id());
        }
    }

    #[test]
    fn no_names() {
        let long = format!("a/{}", "b".repeat(97));
        let texts = [
            "",
            "gpt2",
            "/a/b",
            "a/b/c",
            "./a/b",
            "../b",
            "a/",
            "/b",
            "a b/c",
            "a/b--c",
            "a/..",
            "a/b.",
            "-a/b",
            "a/b@",
            "a/b@../x",
            "a/b@x//y",
            "a/b@x y",
            "a/b@.hidden",
            &long,
        ];
        for text in texts {
            let error = text.parse::<Repository>().unwrap_err();
            assert!(matches!(error, HubError::Name { .. }), "{text}");
        }
    }
}
