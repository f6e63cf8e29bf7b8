//! Whether nobody else can change what a path leads to.
//!
//! A library is code: one that is found and not named must be in a place that only its user and the administrator can
//! write to, and so must every folder and link on the way there.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;
const ROOT: u32 = 0;
const GROUP_MAY_WRITE: u32 = 0o020;
const OTHERS_MAY_WRITE: u32 = 0o002;
/// In such a folder anyone may make files, and only their owners remove them.
const STICKY: u32 = 0o1000;

/// Users that can make this program do what they want anyway.
#[derive(Clone, Debug)]
pub(super) struct Owners(Vec<u32>);

impl Owners {
    /// The administrator, who runs the program, and the owner of its file.
    pub(super) fn of(executable: Option<&Path>) -> Self {
        let mut owners = vec![ROOT, rustix::process::geteuid().as_raw()];
        owners.extend(executable.and_then(|path| Some(path.metadata().ok()?.uid())));
        Self(owners)
    }

    fn include(&self, metadata: &Metadata) -> bool {
        self.0.contains(&metadata.uid())
    }

    /// Why others can change what this is the metadata of.
    fn problem(&self, path: &Path, metadata: &Metadata) -> Option<String> {
        if !self.include(metadata) {
            return Some(format!(
                "{} belongs to another user (id {})",
                path.display(),
                metadata.uid()
            ));
        }
        // A link's own mode means nothing.
        if metadata.is_symlink() || !others_can_write(metadata) {
            return None;
        }
        Some(format!(
            "others can write to {} (mode {:o})",
            path.display(),
            metadata.mode() & 0o7777
        ))
    }
}

/// Follows an absolute path to its end. `Err` says which part of it others can change.
pub(super) fn resolve(path: &Path, owners: &Owners) -> Result<PathBuf, String> {
    let mut here = PathBuf::from("/");
    let mut rest = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let folder = read(&here)?;
        let entry = here.join(&part);
        let metadata = read(&entry)?;
        // What lies beside the end, such as a provider's library, is loaded too: there no stranger may add files.
        let only_adds = folder.mode() & STICKY != 0 && !rest.is_empty();
        let stays = only_adds && owners.include(&folder) && owners.include(&metadata);
        if let Some(problem) = owners.problem(&here, &folder).filter(|_| !stays) {
            return Err(problem);
        }
        if !metadata.is_symlink() {
            here = entry;
            continue;
        }
        if let Some(problem) = owners.problem(&entry, &metadata) {
            return Err(problem);
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(format!("{} leads through too many links", path.display()));
        }
        let target = fs::read_link(&entry).map_err(|e| format!("{}: {e}", entry.display()))?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        rest.extend(parts(&target));
    }
    match owners.problem(&here, &read(&here)?) {
        Some(problem) => Err(problem),
        None => Ok(here),
    }
}

fn read(path: &Path) -> Result<Metadata, String> {
    fs::symlink_metadata(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The parts of a path, the first one at the end.
fn parts(path: &Path) -> Vec<OsString> {
    let named = |part: &Component<'_>| !matches!(part, Component::RootDir | Component::CurDir);
    let parts = path.components().filter(named);
    parts
        .rev()
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

fn others_can_write(metadata: &Metadata) -> bool {
    let mode = metadata.mode();
    mode & OTHERS_MAY_WRITE != 0
        || (mode & GROUP_MAY_WRITE != 0 && !has_private_group(metadata.uid(), metadata.gid()))
}

/// Whether a user is alone in a group, as systems make one for every user.
fn has_private_group(user: u32, group: u32) -> bool {
    user != ROOT
        && user == group
        && fs::read_to_string("/etc/group").is_ok_and(|groups| is_private(&groups, group))
}

fn is_private(groups: &str, group: u32) -> bool {
    let id = group.to_string();
    let mut entries = groups.lines().map(|line| line.split(':'));
    entries
        .find_map(|mut fields| {
            let name = fields.next()?;
            let found = fields.nth(1)? == id;
            let mut members = fields.next()?.trim().split(',').filter(|m| !m.is_empty());
            found.then(|| members.all(|member| member == name))
        })
        .unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// `folder/inner/file`, which nobody else can write to.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("folder/inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
        mode(&dir.path().join("folder"), 0o755);
        mode(&inner, 0o755);
        mode(&inner.join("file"), 0o644);
        let file = inner.join("file");
        (dir, file)
    }

    #[test]
    fn modes_on_the_way() {
        // In the order folder, inner, file.
        let cases = [
            ([0o755, 0o755, 0o644], None),
            ([0o700, 0o700, 0o600], None),
            ([0o777, 0o755, 0o644], Some("folder (mode 777)")),
            ([0o755, 0o777, 0o644], Some("inner (mode 777)")),
            ([0o755, 0o755, 0o666], Some("file (mode 666)")),
            ([0o755, 0o755, 0o646], Some("file (mode 646)")),
            ([0o1777, 0o755, 0o644], None),
            ([0o755, 0o1777, 0o644], Some("inner (mode 1777)")),
            ([0o1777, 0o777, 0o644], Some("inner (mode 777)")),
        ];
        for (modes, problem) in cases {
            let (dir, file) = place();
            let folder = dir.path().join("folder");
            for (path, bits) in [&folder, &folder.join("inner"), &file]
                .into_iter()
                .zip(modes)
            {
                mode(path, bits);
            }
            let found = resolve(&file, &Owners::of(None));
            match problem {
                None => assert_eq!(found.unwrap(), file.canonicalize().unwrap(), "{modes:?}"),
                Some(part) => assert!(found.clone().unwrap_err().contains(part), "{found:?}"),
            }
        }
    }

    #[test]
    fn links_are_followed_and_both_ends_count() {
        let (dir, file) = place();
        let owners = Owners::of(None);
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        let links = [
            (dir.path().join("absolute"), file.clone()),
            (
                dir.path().join("relative"),
                "folder/../folder/inner/file".into(),
            ),
            (open.join("link"), file.clone()),
        ];
        for (link, target) in &links {
            symlink(target, link).unwrap();
            assert_eq!(
                resolve(link, &owners).unwrap(),
                file.canonicalize().unwrap()
            );
        }
        mode(&open, 0o777);
        assert!(
            resolve(&open.join("link"), &owners)
                .unwrap_err()
                .contains("open (mode 777)")
        );
        mode(&open, 0o1777);
        assert!(resolve(&open.join("link"), &owners).is_err());
        mode(file.parent().unwrap(), 0o777);
        assert!(
            resolve(&links[0].0, &owners)
                .unwrap_err()
                .contains("inner (mode 777)")
        );

        let circle = dir.path().join("circle");
        symlink(&circle, &circle).unwrap();
        assert!(
            resolve(&circle, &owners)
                .unwrap_err()
                .contains("too many links")
        );
    }

    #[test]
    fn owners_on_the_way() {
        let (_dir, file) = place();
        let stranger = Owners(vec![ROOT, file.metadata().unwrap().uid().wrapping_add(1)]);
        let found = resolve(&file, &stranger);
        // The administrator owns every file of a test that they run.
        assert_eq!(
            found.is_ok(),
            file.metadata().unwrap().uid() == ROOT,
            "{found:?}"
        );
        let nobody = Owners(vec![u32::MAX]);
        assert!(
            resolve(&file, &nobody)
                .unwrap_err()
                .contains("belongs to another user")
        );
        assert!(resolve(Path::new("/no/such/file"), &Owners::of(None)).is_err());
    }

    #[test]
    fn private_groups() {
        let groups = "root:x:0:\nann:x:1000:\nbob:x:1001:bob\nteam:x:1002:ann,bob\nann2:x:1003:ann";
        for (group, private) in [
            (1000, true),
            (1001, true),
            (1002, false),
            (1003, false),
            (7, false),
        ] {
            assert_eq!(is_private(groups, group), private, "{group}");
        }
    }
}
