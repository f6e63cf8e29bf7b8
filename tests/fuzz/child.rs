//! Runs the program as a child that is watched.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Most memory of a child that is in use, and most that it may ask for.
const MOST_RESIDENT: u64 = 1 << 30;
const MOST_ASKED_KB: u64 = 16 << 20;
/// Longest that a child may compute, or do nothing.
const MOST_SECONDS: f64 = 10.0;
const PAUSE: Duration = Duration::from_millis(3);

/// How a child ended that ended well.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Whether it said nothing at all. What `inspect`, `doctor` and `verify` find is on standard output.
    pub(crate) fn is_silent(&self) -> bool {
        self.stdout.trim_ascii().is_empty() && self.stderr.trim().is_empty()
    }
}

/// Starts the program in `place`. What it prints goes into files there, and the command into `run.sh`.
pub(crate) fn start(place: &Path, args: &[String], vars: &[(&str, String)], input: &[u8]) -> Child {
    let program = env!("CARGO_BIN_EXE_worldpm-ort");
    let quoted: Vec<String> = args
        .iter()
        .map(|arg| format!("'{}'", arg.replace('\'', "'\\''")))
        .collect();
    let mut script = OpenOptions::new()
        .create(true)
        .append(true)
        .open(place.join("run.sh"))
        .unwrap();
    writeln!(script, "\"$W\" {} <input", quoted.join(" ")).unwrap();
    fs::write(place.join("input"), input).unwrap();
    let file = |name: &str| Stdio::from(File::create(place.join(name)).unwrap());
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("ulimit -v {MOST_ASKED_KB}; exec \"$@\""),
            "sh",
            program,
        ])
        .args(args)
        .current_dir(place)
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env("HF_HOME", place.join("hf"))
        .envs(vars.iter().map(|(name, value)| (name, value)))
        .stdin(File::open(place.join("input")).unwrap())
        .stdout(file("stdout"))
        .stderr(file("stderr"));
    command.spawn().unwrap()
}

/// Runs the program to its end. An error says what it must not do and did.
pub(crate) fn run(
    place: &Path,
    args: &[String],
    vars: &[(&str, String)],
    input: &[u8],
) -> Result<Ended, String> {
    let mut child = start(place, args, vars, input);
    let problem = watch(&mut child);
    // It may have ended meanwhile.
    let _ = child.kill();
    let status = child.wait().unwrap();
    let stderr = String::from_utf8_lossy(&fs::read(place.join("stderr")).unwrap()).into_owned();
    let end: String = stderr
        .chars()
        .rev()
        .take(600)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let told = |problem: String| Err(format!("{}: {problem}: {end}", args.join(" ")));
    if let Some(problem) = problem {
        return told(problem);
    }
    match status.code() {
        None => told(format!("signal {}", status.signal().unwrap_or(0))),
        Some(code) if code > 2 || stderr.contains("panicked at") => told(format!("status {code}")),
        Some(code) => Ok(Ended {
            code,
            stdout: fs::read(place.join("stdout")).unwrap(),
            stderr,
        }),
    }
}

/// Waits for the end of a child that keeps the limits.
fn watch(child: &mut Child) -> Option<String> {
    let mut worked = (0.0, Instant::now());
    while child.try_wait().unwrap().is_none() {
        let proc = Path::new("/proc").join(child.id().to_string());
        let seconds = seconds(&fs::read_to_string(proc.join("stat")).unwrap_or_default());
        if seconds > worked.0 {
            worked = (seconds, Instant::now());
        }
        if seconds > MOST_SECONDS {
            return Some(format!("computed for {seconds} s"));
        }
        if worked.1.elapsed().as_secs_f64() > MOST_SECONDS {
            return Some(format!("did nothing for {MOST_SECONDS} s"));
        }
        let peak = peak(&fs::read_to_string(proc.join("status")).unwrap_or_default());
        if peak > MOST_RESIDENT {
            return Some(format!("took {peak} bytes of memory"));
        }
        thread::sleep(PAUSE);
    }
    None
}

/// Time that a process has computed, of `/proc/PID/stat`.
fn seconds(stat: &str) -> f64 {
    const TICKS: f64 = 100.0;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| {
        fields
            .split_whitespace()
            .nth(at)
            .and_then(|n| n.parse::<f64>().ok())
    };
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / TICKS
}

/// Most memory that was in use, of `/proc/PID/status`.
fn peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
