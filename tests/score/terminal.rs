//! What is printed on standard error: on terminals of all widths, without one, and as much as was asked for.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::spawn,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::support;

const RECORDS: &str = "{\"id\": 1, \"prompt\": \"Why?\", \"response\": \"So.\"}\n\
                       {\"id\": 2, \"prompt\": \"Why not?\", \"response\": \"So not.\"}\n";

/// Records are read and scored in windows of 512.
const THREE_WINDOWS: usize = 1536;

fn bundle() -> String {
    let bundle = support::bundle(&["--shape", "tiny"], &[]);
    bundle.to_str().unwrap().to_owned()
}

/// Both ends of a terminal.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(
        name,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap();
    (ours.into(), theirs)
}

/// What the terminal is sent, while it comes.
fn screen(mut terminal: File) -> Receiver<String> {
    let (part, parts) = channel();
    spawn(move || {
        let mut buffer = [0; 4096];
        // When its last user has gone, a terminal answers with an error.
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if part.send(text).is_err() {
                return;
            }
        }
    });
    parts
}

/// `score` of what comes on standard input, with a terminal of so many columns for standard error.
fn on_terminal(columns: u16, flags: &[&str]) -> (Child, Receiver<String>) {
    let (ours, theirs) = terminal(columns);
    let child = support::command()
        .args(["score", "--model", &bundle()])
        .args(flags)
        .env("NO_COLOR", "1")
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(theirs)
        .spawn()
        .unwrap();
    (child, screen(ours))
}

fn wait_for(shown: &Receiver<String>, part: &str) -> String {
    let mut all = String::new();
    while !all.contains(part) {
        let more = shown.recv_timeout(Duration::from_secs(120));
        all.push_str(&more.unwrap_or_else(|_| panic!("no {part:?} in {all:?}")));
    }
    all
}

/// The lines that a terminal shows, without what moves its cursor.
fn lines(sent: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = sent.chars();
    while let Some(next) = rest.next() {
        match next {
            '\u{1b}' => {
                let code: String = rest.by_ref().take_while(|c| !c.is_alphabetic()).collect();
                assert!(!code.contains(';'), "a colour: {code:?}");
                text.push('\n');
            }
            '\r' => text.push('\n'),
            other => text.push(other),
        }
    }
    text.lines().map(str::to_owned).collect()
}

#[test]
fn progress_fits_the_terminal() {
    for (columns, parts, missing) in [
        (
            100,
            &["1024 records", "a second", "tokens/s", "% computed"][..],
            &[][..],
        ),
        (46, &["1024 records", "tokens/s"], &["a second", "computed"]),
        (20, &["1024 records"], &["tokens/s", "a second"]),
    ] {
        let (mut child, shown) = on_terminal(columns, &[]);
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(RECORDS.repeat(THREE_WINDOWS / 2).as_bytes())
            .unwrap();
        // More does not come, so that two windows are scored and the last one is waited for.
        let mut sent = wait_for(&shown, "1024 records");
        sent.push_str(&shown.recv_timeout(Duration::from_secs(60)).unwrap());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let scored = String::from_utf8(output.stdout).unwrap();
        assert_eq!(scored.lines().count(), THREE_WINDOWS);

        let lines = lines(&sent);
        let of_progress: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("1024 records"))
            .collect();
        assert!(!of_progress.is_empty(), "{sent:?}");
        for line in of_progress {
            assert!(line.chars().count() <= usize::from(columns), "{line:?}");
            assert!(parts.iter().all(|part| line.contains(part)), "{line:?}");
            assert!(!missing.iter().any(|part| line.contains(part)), "{line:?}");
        }
    }
}

#[test]
fn a_quiet_terminal_shows_nothing() {
    let (mut child, shown) = on_terminal(80, &["--quiet"]);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(RECORDS.as_bytes())
        .unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    let sent: String = shown.iter().collect();
    assert_eq!(sent, "");
}

fn piped(flags: &[&str], records: &str) -> Output {
    let model = bundle();
    let args = [flags, &["score", "--model", &model]].concat();
    support::run_with_input(&args, records.as_bytes())
}

#[test]
fn quiet_leaves_what_is_wrong() {
    let usual = piped(&[], RECORDS);
    let quiet = piped(&["--quiet"], RECORDS);
    assert_eq!(quiet.stdout, usual.stdout);
    assert!(!usual.stderr.is_empty());
    assert_eq!(String::from_utf8(quiet.stderr).unwrap(), "");

    let records = RECORDS.to_owned() + "{\"id\": 3}\n";
    let failed = piped(&["-q"], &records);
    support::expect_failure("quiet", &failed, &["error: standard input", "3"]);
    let model = bundle();
    let args = ["score", "-q", "--keep-going", "--model", &model];
    let kept = support::run_with_input(&args, records.as_bytes());
    assert_eq!(kept.status.code(), Some(1));
    let said = String::from_utf8(kept.stderr).unwrap();
    assert_eq!(
        said,
        "1 records could not be scored; their lines in the output say why\n"
    );

    let both = support::run(&["score", "-q", "-v", "--model", &model]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn verbose_says_what_the_model_does() {
    let output = piped(&["-v"], RECORDS);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    for part in [
        "tokenise conversations=2",
        "plan conversations=2",
        "stage stage=0",
        " ms\n",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}
