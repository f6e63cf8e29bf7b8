//! What the integration tests share: the command, and small checkpoints and bundles made with it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod place;
pub mod tensors;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

macro_rules! small {
    ($($more:literal),*) => {
        &[
            "--shape", "tiny", "--hidden-size", "64", "--intermediate-size", "96", "--num-attention-heads", "2",
            "--num-key-value-heads", "1", "--head-dim", "32", "--num-hidden-layers", "2", $($more),*
        ]
    };
}

/// Flags of `synth` for a checkpoint of two narrow layers; in one file, or in several.
pub const SMALL: &[&str] = small!();
pub const SMALL_SINGLE: &[&str] = small!("--single-file");
pub const SMALL_SHARDED: &[&str] = small!("--shard-bytes", "100000");

/// The command under test.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worldpm-ort"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HF_") {
            command.env_remove(name);
        }
    }
    // No test asks a real hub.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9");
    command
}

/// Runs the command and returns what came out.
pub fn run(args: &[&str]) -> Output {
    command().args(args).output().unwrap()
}

/// Starts the command, with a pipe to each of its standard streams.
pub fn spawn(args: &[&str]) -> Child {
    command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the command with `input` on standard input.
pub fn run_with_input(args: &[&str], input: &[u8]) -> Output {
    use std::io::Write;
    let mut child = spawn(args);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that fails early closes the pipe.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Runs the command, which must succeed.
pub fn run_ok(args: &[&str]) -> Output {
    let output = run(args);
    assert!(
        output.status.success(),
        "worldpm-ort {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A checkpoint made with `synth`, kept between test runs under the flags it was made with.
pub fn checkpoint(flags: &[&str]) -> PathBuf {
    cached("checkpoint", flags, |out| synth(out, flags))
}

/// A bundle of `checkpoint(synth_flags)` exported with `flags`, kept like it. Probes are not scored, which
/// would load the model, unless the flags ask for it.
pub fn bundle(synth_flags: &[&str], flags: &[&str]) -> PathBuf {
    let checkpoint = checkpoint(synth_flags);
    let key: Vec<&str> = [synth_flags, &["|"], flags].concat();
    cached("bundle", &key, |out| export(&checkpoint, out, flags))
}

/// A checkpoint or bundle that is removed when this is dropped: for tests that go through many, which would fill the
/// disk.
pub struct Passing {
    path: PathBuf,
    _parent: tempfile::TempDir,
}

impl Passing {
    /// As [`checkpoint`].
    pub fn checkpoint(flags: &[&str]) -> Self {
        Self::make(|out| synth(out, flags))
    }

    /// As [`bundle`], of this checkpoint.
    pub fn bundle(checkpoint: &Path, flags: &[&str]) -> Self {
        Self::make(|out| export(checkpoint, out, flags))
    }

    fn make(make: impl FnOnce(&Path)) -> Self {
        let parent = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = parent.path().join("made");
        make(&path);
        Self {
            path,
            _parent: parent,
        }
    }
}

impl std::ops::Deref for Passing {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

fn synth(out: &Path, flags: &[&str]) {
    let mut args = vec!["synth", "--out", out.to_str().unwrap()];
    args.extend(flags);
    run_ok(&args);
}

/// Exports a checkpoint; without scores for the probes, as [`bundle`].
pub fn export(checkpoint: &Path, out: &Path, flags: &[&str]) {
    let mut args = vec!["export", "--checkpoint", checkpoint.to_str().unwrap()];
    args.extend(["--out", out.to_str().unwrap()]);
    if !flags.contains(&"--probes") {
        args.extend(["--probes", "off"]);
    }
    args.extend(flags);
    run_ok(&args);
}

/// A copy of a directory, to spoil.
pub fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_files(dir, copy.path());
    copy
}

/// Copies the files of a directory into another one.
pub fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The files of a directory.
pub fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Exit status 1 or 2, and these words in the error.
pub fn expect_failure(name: &str, output: &Output, parts: &[&str]) {
    let message = stderr(output);
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{name}: {:?}: {message}",
        output.status
    );
    assert!(!message.contains("panicked"), "{name}: {message}");
    assert!(message.contains("error: "), "{name}: {message}");
    for part in parts {
        assert!(message.contains(part), "{name}: no {part:?} in: {message}");
    }
}

/// The second of the weight files of [`SMALL_SHARDED`]: it holds no embedding, so it is small.
pub fn second_shard(dir: &Path) -> PathBuf {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_second = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(SECOND_SHARD)
    };
    paths.into_iter().find(is_second).unwrap()
}

/// How the name of that file begins.
pub const SECOND_SHARD: &str = "model-00002-of-";

pub fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The manifest of a bundle.
pub fn manifest(bundle: &Path) -> serde_json::Value {
    read_json(&bundle.join("manifest.json"))
}

/// Changes a JSON file.
pub fn edit_json(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = read_json(path);
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Makes a directory once per version of the command. One test at a time: others wait, and find it there.
fn cached(kind: &str, flags: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let hash = |hash: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = fs::File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();

    let binary = Path::new(env!("CARGO_BIN_EXE_worldpm-ort"));
    let built = binary.metadata().unwrap().modified().unwrap();
    let all = place.join("made");
    let root = all.join(hash(&|hasher| built.hash(hasher)));
    if !root.exists() {
        // What earlier builds of the command made is of no more use.
        let _ = fs::remove_dir_all(&all);
        fs::create_dir_all(&root).unwrap();
    }
    let path = root.join(hash(&|hasher| (kind, flags).hash(hasher)));
    if !path.exists() {
        make(&path);
        share_tokenizer(&path, &all.join("tokenizer.json"));
    }
    path
}

/// Hundreds of folders have the same tokenizer, of 7 MB: they share one file.
fn share_tokenizer(dir: &Path, shared: &Path) {
    let own = dir.join("tokenizer.json");
    if !shared.exists() {
        fs::copy(&own, shared).unwrap();
    }
    if fs::read(&own).unwrap() == fs::read(shared).unwrap() {
        fs::remove_file(&own).unwrap();
        fs::hard_link(shared, &own).unwrap();
    }
}

/// The JSON lines of standard output.
pub fn lines(output: &Output) -> Vec<serde_json::Value> {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The most memory that a process has had in use, in kilobytes; `None` once it has ended.
#[cfg(target_os = "linux")]
pub fn peak_kilobytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
