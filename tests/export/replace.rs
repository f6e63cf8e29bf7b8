//! `export` over what stands there: a whole bundle is at the name at every moment, and what is not ours is never touched.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use worldpm_ort::Bundle;

use crate::support::{self, command, run, run_ok, stderr};

const SHAPE: &[&str] = &["--shape", "tiny", "--seed", "5"];

fn export_arguments<'a>(checkpoint: &'a Path, out: &'a Path, flags: &[&'a str]) -> Vec<&'a str> {
    let [checkpoint, out] = [checkpoint, out].map(|path| path.to_str().unwrap());
    let fixed = ["export", "--checkpoint", checkpoint, "--out", out];
    [&fixed[..], &["--probes", "off"], flags].concat()
}

/// Every file below `dir`, by its path.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(
                    path.strip_prefix(dir).unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                );
            }
        }
    }
    files
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What looks like what an export leaves, and is not.
#[test]
fn neighbours_are_kept() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    for (folder, lock) in [
        (".b.backup", ".b.lock"),
        (".b.thesis", ".b.thesis.lock"),
        (
            ".b.0123456789abcdef0123456789abcdef",
            ".b.0123456789abcdef0123456789abcdef.lock",
        ),
        (".replaced-abc", ".replaced-abc.lock"),
    ] {
        fs::create_dir(place.path().join(folder)).unwrap();
        fs::write(place.path().join(folder).join("thesis.txt"), "precious").unwrap();
        fs::write(place.path().join(lock), "").unwrap();
    }
    let pipe = place.path().join(".b.x.lock");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let before = names(place.path());
    let out = place.path().join("b");
    for _ in 0..2 {
        run_ok(&export_arguments(&checkpoint, &out, &[]));
        let after = names(place.path());
        assert!(before.iter().all(|name| after.contains(name)), "{after:?}");
        assert_eq!(after.len(), before.len() + 1);
    }
    assert_eq!(
        tree(&place.path().join(".b.backup"))
            .into_values()
            .next()
            .unwrap(),
        b"precious"
    );
}

#[test]
fn a_bundle_with_more_in_it_than_a_bundle_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let checkpoint = place.path().join("ck");
    let out = place.path().join("b");
    run_ok(&[&["synth", "--out", checkpoint.to_str().unwrap()], SHAPE].concat());
    run_ok(&export_arguments(&checkpoint, &out, &[]));
    let refused = |checkpoint: &Path, flags: &[&str], named: &str| {
        let before = tree(place.path());
        let output = run(&export_arguments(checkpoint, &out, flags));
        assert_eq!(output.status.code(), Some(1));
        let message = stderr(&output);
        assert!(message.contains(named), "{message}");
        assert!(tree(place.path()) == before, "{named}");
    };
    for (name, named) in [
        ("notes.txt", "`notes.txt`"),
        (".hidden", "`.hidden`"),
        ("folder/notes.txt", "`folder`"),
    ] {
        let path = out.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        refused(&checkpoint, &[], named);
        fs::remove_file(&path).unwrap();
    }
    fs::remove_dir(out.join("folder")).unwrap();
    // The checkpoint itself, as it is or as what links to it.
    let inside = out.join("hf");
    fs::rename(&checkpoint, &inside).unwrap();
    for flags in [&[][..], &["--weights", "hardlink"], &["--weights", "copy"]] {
        refused(&inside, flags, "hf");
    }
    fs::rename(&inside, &checkpoint).unwrap();
    run_ok(&export_arguments(
        &checkpoint,
        &out,
        &["--weights", "hardlink"],
    ));
    let weights = names(&checkpoint)
        .into_iter()
        .filter(|name| name.ends_with(".safetensors"));
    for name in weights {
        fs::remove_file(checkpoint.join(&name)).unwrap();
        std::os::unix::fs::symlink(out.join(&name), checkpoint.join(&name)).unwrap();
    }
    refused(&checkpoint, &[], "of which the bundle is made");
}

/// All that an export writes is known as its own, in every layout.
#[test]
fn every_layout_is_replaced() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir_in(checkpoint.parent().unwrap()).unwrap();
    let out = place.path().join("b");
    for flags in [
        &["--stages", "2", "--weights", "hardlink"][..],
        &[
            "--layout",
            "triton",
            "--weights",
            "hardlink",
            "--stages",
            "2",
        ],
        &[
            "--layout",
            "kserve",
            "--weights",
            "hardlink",
            "--model-name",
            "a-stage-01",
        ],
        &["--layout", "triton", "--weights", "hardlink"],
        &["--weights", "reference"],
    ] {
        run_ok(&export_arguments(&checkpoint, &out, flags));
        Bundle::open(&out, None).unwrap();
        assert_eq!(names(place.path()), ["b"], "{flags:?}");
    }
    // With the reference scores of its probes.
    fs::write(out.join("probes.json"), "{}").unwrap();
    run_ok(&export_arguments(&checkpoint, &out, &[]));
    assert!(!out.join("probes.json").exists());
}

/// Whenever it is killed, and whoever looks meanwhile.
#[test]
fn a_bundle_stands_there_at_every_moment() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir_in(checkpoint.parent().unwrap()).unwrap();
    let out = place.path().join("b");
    let begun = Instant::now();
    run_ok(&export_arguments(&checkpoint, &out, &["--stages", "1"]));
    let whole = begun.elapsed();
    fs::create_dir(place.path().join(".b.mine")).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let stop = AtomicBool::new(false);
    let mut killed = 0;
    let opened = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut opened = 0;
            while !stop.load(Ordering::Relaxed) {
                Bundle::open(&out, None).unwrap();
                opened += 1;
            }
            opened
        });
        for round in 0..60 {
            let weights = if round % 3 == 0 {
                "hardlink"
            } else {
                "reference"
            };
            let stages = if round % 2 == 0 { "2" } else { "1" };
            let mut child = command()
                .args(export_arguments(
                    &checkpoint,
                    &out,
                    &["--stages", stages, "--weights", weights],
                ))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(whole.mul_f64(random.f64() * 1.2));
            let _ = child.kill();
            killed += usize::from(!child.wait().unwrap().success());
            if reader.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(opened > 0 && killed > 0, "{opened} opened, {killed} killed");
    run_ok(&export_arguments(&checkpoint, &out, &[]));
    assert_eq!(names(place.path()), [".b.mine", "b"]);
}

/// A directory beside which nothing can be made is filled, as the root of a volume is (`tests/volume.rs`). Root may write
/// anywhere, so the export is somebody else's there.
#[test]
fn a_directory_beside_which_nothing_can_be_made_is_filled() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    const NOBODY: u32 = 65534;
    let place = tempfile::tempdir().unwrap();
    let (parent, checkpoint) = (place.path().join("parent"), place.path().join("ck"));
    let (out, program) = (parent.join("b"), place.path().join("worldpm-ort"));
    fs::create_dir_all(&out).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_worldpm-ort"), &program).unwrap();
    run_ok(&[&["synth", "--out", checkpoint.to_str().unwrap()], SHAPE].concat());
    let is_root = fs::metadata(place.path()).unwrap().uid() == 0;
    if is_root {
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&out, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o555)).unwrap();
    let export = |weights| {
        let mut command = Command::new(if is_root {
            Path::new("setpriv")
        } else {
            &program
        });
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            command.arg(&program);
        }
        command.args(export_arguments(&checkpoint, &out, &["--weights", weights]));
        command.current_dir(place.path()).output().unwrap()
    };
    let made = export("copy");
    assert!(made.status.success(), "{}", stderr(&made));
    Bundle::open(&out, None).unwrap();
    assert_eq!(names(&parent), ["b"]);
    let before = tree(&out);
    assert!(
        before
            .keys()
            .all(|path| !path.to_string_lossy().contains(".lock"))
    );
    // It cannot be replaced in one step there.
    let refused = export("reference");
    assert_eq!(refused.status.code(), Some(1));
    let message = stderr(&refused);
    assert!(message.contains(parent.to_str().unwrap()), "{message}");
    assert!(tree(&out) == before);
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).unwrap();
}

/// An export that waits for nothing that is ahead of it.
#[test]
fn two_exports_at_once() {
    let checkpoint = support::checkpoint(SHAPE);
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("b");
    run_ok(&export_arguments(&checkpoint, &out, &[]));
    let children: Vec<_> = ["1", "2", "3", "4"]
        .into_iter()
        .map(|stages| {
            let arguments = export_arguments(&checkpoint, &out, &["--stages", stages]);
            command()
                .args(arguments)
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        child.wait().unwrap();
        Bundle::open(&out, None).unwrap();
    }
    thread::sleep(Duration::from_millis(10));
    assert_eq!(names(place.path()), ["b"]);
}
