//! Which ONNX Runtime is loaded when none is named, and that none is that others could have put there.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use worldpm_ort::engine::OnnxRuntime;

use crate::support::{command, place::Place};

const NAME: &str = "libonnxruntime.so";

/// The library that the other tests use.
fn library() -> PathBuf {
    let runtime = OnnxRuntime::load(None, None).unwrap();
    runtime.path().canonicalize().unwrap()
}

impl Place {
    /// With a copy of the program in `bin`, which nothing else names a library for.
    fn with_program() -> Self {
        let place = Self::new();
        fs::create_dir(place.at("bin")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_worldpm-ort"), place.program()).unwrap();
        place
    }

    fn program(&self) -> PathBuf {
        self.at("bin/worldpm-ort")
    }

    /// A link to the library.
    fn put(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(library(), &path).unwrap();
        path
    }

    /// What `doctor` finds, as a level and a text.
    fn found(&self, variables: &[(&str, &Path)]) -> (String, String) {
        let mut own = Command::new(self.program());
        for (name, _) in std::env::vars_os() {
            own.env_remove(name);
        }
        let output = own
            .args(["doctor", "--json"])
            .current_dir("/")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let finding = findings
            .iter()
            .find(|finding| finding["check"] == "ONNX Runtime")
            .unwrap();
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        let shown = text("found") + &String::from_utf8_lossy(&output.stderr);
        (text("level"), shown)
    }

    #[track_caller]
    fn is_loaded(&self, path: &Path, variables: &[(&str, &Path)]) {
        let (level, text) = self.found(variables);
        assert_eq!(level, "ok", "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
}

#[test]
fn where_it_is_found() {
    let place = Place::with_program();
    let capi = "lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0";
    let folders = place.put("folders/libonnxruntime.so.1.32.0");
    let path = [("LD_LIBRARY_PATH", folders.parent().unwrap())];
    place.is_loaded(&folders, &path);
    let environment = place.at("venv");
    let package = place.put(&format!("venv/{capi}"));
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        place.is_loaded(&package, &[(name, &environment), path[0]]);
    }
    let hidden = place.put("bin/.onnxruntime/libonnxruntime.so");
    place.is_loaded(&hidden, &[("VIRTUAL_ENV", &environment), path[0]]);
    let beside = place.put("bin/libonnxruntime.so");
    place.is_loaded(&beside, &[("VIRTUAL_ENV", &environment)]);
    // The user's word counts before all of them.
    place.is_loaded(&folders, &[("ORT_DYLIB_PATH", &folders)]);
}

/// A library that says that it was loaded.
fn intruder(at: &Path) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    let source = at.with_extension("c");
    let code = r#"
        #include <stdio.h>
        __attribute__((constructor)) static void loaded(void) { fprintf(stderr, "INTRUDER\n"); }
    "#;
    fs::write(&source, code).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(at)
        .arg(&source)
        .status();
    assert!(made.unwrap().success());
}

#[test]
fn folders_above_the_program_are_not_searched() {
    let place = Place::with_program();
    intruder(&place.at(".onnxruntime").join(NAME));
    let (level, text) = place.found(&[]);
    // A system may have a library of its own.
    assert!(!text.contains("INTRUDER"), "{text}");
    if level == "error" {
        for part in [
            "no ONNX Runtime library found",
            "pip install onnxruntime",
            "pip download",
            "--ort-lib",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("make library"), "{text}");
    }
}

#[test]
fn what_others_can_write_to_is_not_loaded() {
    let open =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // The folder, the file, a folder above, and one where anybody may add files.
    let cases = [
        ("bin", 0o777),
        ("bin/libonnxruntime.so", 0o666),
        ("", 0o757),
        ("bin", 0o1777),
    ];
    for (name, mode) in cases {
        let place = Place::with_program();
        intruder(&place.at("bin").join(NAME));
        open(&place.at(name), mode);
        let (_, text) = place.found(&[]);
        assert!(!text.contains("INTRUDER"), "{text}");
        let problem = format!("others can write to {}", place.at(name).display());
        assert!(text.contains(problem.trim_end_matches('/')), "{text}");
    }
}

#[test]
fn a_name_that_is_no_file() {
    let place = Place::with_program();
    let library = place.put("lib/libonnxruntime.so.1.32.0");
    let cases = [
        (
            place.at("lib"),
            format!(
                "not a file but a folder; name the library in it, {}",
                library.display()
            ),
        ),
        (
            place.at("bin"),
            "not a file but a folder, and holds no libonnxruntime.so".to_owned(),
        ),
        (
            place.at("none"),
            "is not a file: there is nothing of that name".to_owned(),
        ),
        ("/dev/null".into(), "is not a file; name".to_owned()),
    ];
    for (path, part) in cases {
        let (level, text) = place.found(&[("ORT_DYLIB_PATH", &path)]);
        assert_eq!(level, "error");
        assert!(
            text.contains("ORT_DYLIB_PATH names") && text.contains(&part),
            "{text}"
        );
        let output = command()
            .args(["doctor", "--ort-lib"])
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&part), "{text}");
    }
}
