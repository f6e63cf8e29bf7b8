//! Reads the text files of a checkpoint in a process of its own, with limits, before the program itself does.
//!
//! The tokenizer library was not made for files that someone damaged on purpose: some make it abort, or allocate until
//! memory ends, which no caught panic stops.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::common::outcome::Status;
use crate::{
    Conversation,
    text::{ChatEncoder, TextOptions},
};

#[derive(Debug, clap::Args)]
pub(crate) struct CheckTextArgs {
    /// The directory of the files
    pub(crate) directory: PathBuf,
}

/// Address space of the process, in bytes. Gemma's tokenizer, which is the largest, takes 1 GB.
const MEMORY: u64 = 8 << 30;
/// Its processor time, in seconds.
const SECONDS: u64 = 120;

/// What the hidden command does: reads the files, and takes a conversation through them. What they are refused for is
/// said where it counts, so it is no failure here.
pub(crate) fn run(args: &CheckTextArgs) -> Result<Status> {
    limit();
    let options = TextOptions::default().with_system_marker(false);
    if let Ok(encoder) = ChatEncoder::open_with(&args.directory, options) {
        let texts = [
            ("Tips for better sleep?", "Keep a regular bedtime."),
            (
                "aA1 !  \n\u{e9}e\u{301}\u{6f22}\u{1f319}\u{627}",
                "\u{2581}\u{ac}\u{fb01}\t``''",
            ),
        ];
        for (prompt, response) in texts {
            let _ = encoder.conversation_ids(&Conversation::exchange(prompt, response));
            let _ = encoder.encode(prompt);
        }
    }
    Ok(Status::Done)
}

#[cfg(unix)]
fn limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for (resource, wanted) in [
        (Resource::As, MEMORY),
        (Resource::Cpu, SECONDS),
        (Resource::Core, 0),
    ] {
        let Rlimit { current, maximum } = getrlimit(resource);
        let current = Some(current.map_or(wanted, |current| current.min(wanted)));
        // A system that refuses a lower limit has none to give.
        let _ = setrlimit(resource, Rlimit { current, maximum });
    }
}

#[cfg(not(unix))]
fn limit() {}

/// Has a process of its own read the text files in `directory`.
///
/// # Errors
/// When that process is ended from outside.
pub(crate) fn in_own_process(directory: &Path) -> Result<()> {
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let output = Command::new(program)
        .arg("check-text")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("a process to read the tokenizer in cannot be started")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().rev().find(|line| !line.trim().is_empty());
    bail!(
        "{}: the tokenizer or the chat template cannot be read within {} GiB of memory and {SECONDS} s, or makes its \
         library abort ({}{}); fetch tokenizer.json and the template again",
        directory.display(),
        MEMORY >> 30,
        output.status,
        said.map_or_else(String::new, |said| format!(": {said}")),
    )
}
