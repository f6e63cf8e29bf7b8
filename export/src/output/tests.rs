use std::{fs::File, os::unix::fs::PermissionsExt};

use super::*;

/// An output of ours holds the file `ours`, and perhaps `new` and `folder/new`.
const KIND: OutputKind = OutputKind {
    last: "ours",
    durable: true,
    owned: |dir| {
        let files = ["ours", "new", "folder/new"].map(PathBuf::from);
        dir.join("ours").exists().then(|| files.into())
    },
    hint: "it is not ours",
};

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn commit_makes_exactly_the_output() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("a/b/out");
    let staged = StagedDir::new(&out, KIND).unwrap();
    staged.write("file", "text").unwrap();
    assert!(!out.exists());
    staged.commit().unwrap();
    assert_eq!(names(out.parent().unwrap()), ["out"]);
    assert_eq!(fs::read_to_string(out.join("file")).unwrap(), "text");
}

#[test]
fn dropping_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let staged = StagedDir::new(&root.path().join("a/b/out"), KIND).unwrap();
    staged.write("file", "text").unwrap();
    drop(staged);
    assert!(names(root.path()).is_empty());
}

/// Where the file that comes last stands, all of it stands.
#[test]
fn the_last_file_is_never_half_there() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let staged = StagedDir::new(&out, KIND).unwrap();
    let part = staged.path().join("ours.part");
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = staged.write("ours", "text").unwrap_err().to_string();
    assert!(error.contains("ours.part: cannot write it"), "{error}");
    assert!(!staged.path().join("ours").exists());

    fs::remove_file(&part).unwrap();
    staged.write("ours", "text").unwrap();
    staged.commit().unwrap();
    assert_eq!(names(&out), ["ours"]);
}

#[test]
fn an_empty_directory_may_be_filled() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    fs::create_dir(&out).unwrap();
    StagedDir::new(&out.join("."), KIND)
        .unwrap()
        .commit()
        .unwrap();
    assert_eq!(names(root.path()), ["out"]);
}

#[test]
fn a_link_to_an_empty_directory_may_be_filled() {
    let root = tempfile::tempdir().unwrap();
    let (real, link) = (root.path().join("real"), root.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let staged = StagedDir::new(&link, KIND).unwrap();
    staged.write("file", "text").unwrap();
    staged.commit().unwrap();
    assert_eq!(names(&real), ["file"]);
}

#[test]
fn others_may_read_the_output() {
    let root = tempfile::tempdir().unwrap();
    let (plain, out) = (root.path().join("plain"), root.path().join("out"));
    fs::create_dir(&plain).unwrap();
    StagedDir::new(&out, KIND).unwrap().commit().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&out), mode(&plain));
}

#[test]
fn taken_and_impossible_places() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let full = root.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "").unwrap();
    let is_taken: fn(&Error) -> bool = |error| matches!(error, Error::OutputTaken { .. });
    let is_write: fn(&Error) -> bool = |error| matches!(error, Error::Write { .. });
    let is_other: fn(&Error) -> bool = |error| matches!(error, Error::Output { .. });
    let cases = [
        (file.clone(), is_taken, "not a directory"),
        (full.clone(), is_taken, "not empty"),
        (file.join("below"), is_write, "cannot"),
        (PathBuf::from("/"), is_taken, "not empty"),
        (root.path().join("new/.."), is_other, "has no name"),
    ];
    for (out, is_of_kind, part) in cases {
        let error = StagedDir::new(&out, KIND).unwrap_err();
        assert!(is_of_kind(&error), "{error:?}");
        assert!(error.to_string().contains(part), "{out:?}: {error}");
    }
    assert_eq!(names(&full), ["mine"]);
    assert_eq!(names(root.path()).len(), 2);
}

/// Not even root can make a directory in `/proc`.
#[cfg(target_os = "linux")]
#[test]
fn parent_that_cannot_be_written() {
    let error = StagedDir::new(Path::new("/proc/out"), KIND).unwrap_err();
    assert!(matches!(&error, Error::Write { path, .. } if path == Path::new("/proc")));
}

/// A directory in `root` with an output of ours in it.
fn ours(root: &Path) -> PathBuf {
    let out = root.join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("ours"), "old").unwrap();
    out
}

#[test]
fn ours_is_replaced_only_by_a_whole_one() {
    let root = tempfile::tempdir().unwrap();
    let out = ours(root.path());
    fs::set_permissions(&out, fs::Permissions::from_mode(0o750)).unwrap();
    drop(StagedDir::new(&out, KIND).unwrap());
    assert_eq!(fs::read_to_string(out.join("ours")).unwrap(), "old");

    let staged = StagedDir::new(&out, KIND).unwrap();
    fs::create_dir(staged.path().join("folder")).unwrap();
    staged.write("folder/new", "text").unwrap();
    staged.commit().unwrap();
    assert_eq!(names(&out), ["folder"]);
    assert_eq!(names(root.path()), ["out"]);
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
}

/// Whatever is in it, at whatever depth, and whenever it came.
#[test]
fn what_is_not_ours_is_never_replaced() {
    for (make, named) in [
        ("file:note", "note"),
        ("file:folder/note", "folder/note"),
        ("file:new/note", "new"),
        ("dir:empty", "empty"),
        ("dir:folder/new", "folder/new"),
        ("link:folder", "folder"),
        ("link:elsewhere", "elsewhere"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let out = ours(root.path());
        let (kind, name) = make.split_once(':').unwrap();
        let path = out.join(name);
        let put = || {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match kind {
                "file" => fs::write(&path, "mine").unwrap(),
                "dir" => fs::create_dir(&path).unwrap(),
                _ => std::os::unix::fs::symlink(root.path(), &path).unwrap(),
            }
        };
        let refused = |error: Error| {
            let message = error.to_string();
            assert!(message.contains(&format!("`{named}`")), "{make}: {message}");
            assert!(path.symlink_metadata().is_ok(), "{make}");
            assert_eq!(fs::read_to_string(out.join("ours")).unwrap(), "old");
            assert_eq!(names(root.path()), ["out"], "{make}");
        };
        let staged = StagedDir::new(&out, KIND).unwrap();
        staged.write("ours", "new").unwrap();
        put();
        refused(staged.commit().unwrap_err());
        refused(StagedDir::new(&out, KIND).unwrap_err());
    }
}

/// What a process that is killed leaves: its lock goes with it, its files stay.
fn kill(staged: StagedDir) -> PathBuf {
    let path = staged.path().to_owned();
    let journal = path.with_extension(format!("{}.lock", path.extension().unwrap().display()));
    let text = fs::read(&journal).unwrap();
    let keep = path.with_extension("keep");
    if path.exists() {
        fs::rename(&path, &keep).unwrap();
    }
    drop(staged);
    fs::write(journal, text).unwrap();
    if keep.exists() {
        fs::rename(keep, &path).unwrap();
    }
    path
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let staged = StagedDir::new(&out, KIND).unwrap();
    staged.write("file", "half").unwrap();
    staged.file("never made").unwrap();
    fs::create_dir(staged.path().join("folder")).unwrap();
    staged.write("folder/file", "half").unwrap();
    kill(staged);
    kill(StagedDir::new(&root.path().join("other"), KIND).unwrap());
    let alive = StagedDir::new(&out, KIND).unwrap();
    alive.write("file", "half").unwrap();
    let before = names(root.path()).len();

    StagedDir::new(&out, KIND).unwrap().commit().unwrap();
    // Those of the other output and of the process that lives.
    assert_eq!(before, 4);
    assert_eq!(names(root.path()).len(), 5);
    drop(alive);
    StagedDir::new(&root.path().join("other"), KIND)
        .unwrap()
        .commit()
        .unwrap();
    let mut left = names(root.path());
    left.sort();
    assert_eq!(left, ["other", "out"]);
}

/// Names prove nothing, and neither does a journal that is not of this directory.
#[test]
fn what_only_looks_like_ours_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let staged = StagedDir::new(&out, KIND).unwrap();
    staged.write("file", "half").unwrap();
    let left = kill(staged);
    // Its owner put something there.
    fs::write(left.join("thesis"), "precious").unwrap();
    let journal = names(root.path())
        .into_iter()
        .find(|name| name.ends_with(".lock"))
        .unwrap();
    let text = fs::read_to_string(root.path().join(&journal)).unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    for (lock, content) in [
        (".out.lock".to_owned(), ""),
        (".out.backup.lock".to_owned(), ""),
        (".out.backup2.lock".to_owned(), text.as_str()),
        (format!(".out.{id}.lock"), text.as_str()),
        (format!(".out.{id}0.lock"), ""),
        (format!(".other.{id}.lock"), text.as_str()),
    ] {
        let folder = root.path().join(lock.strip_suffix(".lock").unwrap());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "precious").unwrap();
        fs::write(root.path().join(lock), content).unwrap();
    }
    let foreign = format!(
        "{{\"format\":{{\"name\":\"other\",\"id\":\"{}\"}}}}\n{{\"new\":\"file\"}}\n",
        "f".repeat(32)
    );
    fs::write(
        root.path().join(format!(".out.{}.lock", "f".repeat(32))),
        foreign,
    )
    .unwrap();
    fs::create_dir(root.path().join(format!(".out.{}", "f".repeat(32)))).unwrap();
    let before = names(root.path());

    StagedDir::new(&out, KIND).unwrap().commit().unwrap();
    let after = names(root.path());
    for name in before {
        assert_eq!(after.contains(&name), name != journal, "{name}");
    }
    assert_eq!(names(&left), ["thesis"]);
}

/// A journal says what to remove, and what it says may have been written by anybody.
#[test]
fn a_journal_leads_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    let (out, mine) = (root.path().join("out"), root.path().join("mine"));
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("file"), "precious").unwrap();
    let staged = StagedDir::new(&out, KIND).unwrap();
    let absolute = mine.join("file");
    for name in ["../mine/file", absolute.to_str().unwrap(), "link/file", "."] {
        staged.file(name).unwrap();
    }
    std::os::unix::fs::symlink(&mine, staged.path().join("link")).unwrap();
    kill(staged);
    StagedDir::new(&out, KIND).unwrap().commit().unwrap();
    assert_eq!(names(&mine), ["file"]);
}

/// Nobody writes to it, and opening it must not wait for that.
#[test]
fn a_pipe_in_place_of_a_journal() {
    let root = tempfile::tempdir().unwrap();
    let name = format!(".out.{}.lock", "0".repeat(32));
    for name in [".out.x.lock", &name] {
        let made = std::process::Command::new("mkfifo")
            .arg(root.path().join(name))
            .status();
        assert!(made.unwrap().success());
    }
    let out = root.path().join("out");
    StagedDir::new(&out, KIND).unwrap().commit().unwrap();
    assert_eq!(names(root.path()).len(), 3);
}

#[test]
fn what_waited_aside_is_put_back() {
    let root = tempfile::tempdir().unwrap();
    let out = ours(root.path());
    let staged = StagedDir::new(&out, KIND).unwrap();
    staged.write("ours", "half").unwrap();
    // Killed between the two renames of a file system that cannot exchange.
    fs::rename(&out, staged.journal.aside()).unwrap();
    kill(staged);
    let staged = StagedDir::new(&out, KIND).unwrap();
    assert_eq!(fs::read_to_string(out.join("ours")).unwrap(), "old");
    drop(staged);
    assert_eq!(names(root.path()), ["out"]);
}

#[test]
fn stepping_aside_when_the_new_one_cannot_follow() {
    let root = tempfile::tempdir().unwrap();
    let out = ours(root.path());
    let (new, aside) = (root.path().join("new"), root.path().join("aside"));
    place::step_aside(&new, &out, &aside).unwrap_err();
    assert_eq!(names(&out), ["ours"]);
    fs::create_dir(&new).unwrap();
    place::step_aside(&new, &out, &aside).unwrap();
    assert!(names(&out).is_empty());
    assert_eq!(names(&aside), ["ours"]);
}

/// A directory that cannot be renamed is filled, and its last file comes last.
#[test]
fn filling_in_place() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    fs::create_dir(&out).unwrap();
    let stage = |parent: &Path| StagedDir {
        journal: {
            let journal = Journal::create(parent, "out").unwrap();
            fs::create_dir(journal.directory()).unwrap();
            journal
        },
        kind: KIND,
        out: out.clone(),
        parents: CreatedParents::default(),
        way: Way::Fill,
        committed: false,
    };
    let fill = |staged: &StagedDir| {
        fs::create_dir(staged.path().join("folder")).unwrap();
        for name in ["a", "folder/b", "ours", "z"] {
            staged.write(name, "text").unwrap();
        }
    };
    // Something of the same name came: nothing of it is touched, and nothing is left.
    let staged = stage(&out);
    fill(&staged);
    fs::write(out.join("z"), "mine").unwrap();
    let message = staged.commit().unwrap_err().to_string();
    assert!(message.contains("out"), "{message}");
    assert_eq!(names(&out), ["z"]);
    assert_eq!(fs::read_to_string(out.join("z")).unwrap(), "mine");
    fs::remove_file(out.join("z")).unwrap();

    // Killed when some of it had moved, and another file came to stand where one would have.
    let staged = stage(&out);
    fill(&staged);
    for name in ["a", "folder"] {
        let from = staged.path().join(name);
        let inode = from.symlink_metadata().unwrap().ino();
        staged.journal.note_moving(name, inode).unwrap();
        fs::rename(from, out.join(name)).unwrap();
    }
    staged.journal.note_moving("z", 1).unwrap();
    fs::write(out.join("z"), "mine").unwrap();
    kill(staged);
    journal::clean_up(&out, "out", &out, KIND.last);
    assert_eq!(names(&out), ["z"]);
    fs::remove_file(out.join("z")).unwrap();

    let staged = stage(&out);
    fill(&staged);
    staged.commit().unwrap();
    let mut left = names(&out);
    left.sort();
    assert_eq!(left, ["a", "folder", "ours", "z"]);
}

#[test]
fn the_root_of_a_volume() {
    assert!(place::is_mount_point(Path::new("/proc")));
    let root = tempfile::tempdir().unwrap();
    assert!(!place::is_mount_point(root.path()));
    assert!(!place::is_mount_point(Path::new("src")));
    let found = root.path().join("lost+found");
    fs::create_dir(&found).unwrap();
    assert_eq!(place::entries(root.path(), false).unwrap(), ["lost+found"]);
    assert!(place::entries(root.path(), true).unwrap().is_empty());
    File::create(found.join("file")).unwrap();
    assert_eq!(place::entries(root.path(), true).unwrap(), ["lost+found"]);
}
