//! The command, as whoever runs it sees it.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{raw, served::bundle, support};

struct Process {
    child: Child,
    lines: Mutex<Receiver<String>>,
    socket: String,
}

impl Process {
    fn start(more: &[&str]) -> Self {
        Self::of(&bundle(), support::command(), more)
    }

    fn of(model: &Path, mut command: Command, more: &[&str]) -> Self {
        let model = format!("pm={}", model.display());
        command.args(["serve", "--port", "0", "--model", &model]);
        let mut child = command
            .args(more)
            .env("WORLDPM_API_KEY", "secret")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (line, lines) = channel();
        std::thread::spawn(move || stderr.lines().try_for_each(|read| line.send(read.unwrap())));
        let mut process = Self {
            child,
            lines: Mutex::new(lines),
            socket: String::new(),
        };
        let listening = process.wait_for("listening on http://");
        process.socket = listening.rsplit('/').next().unwrap().to_owned();
        let ready = b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let until = Instant::now() + Duration::from_secs(60);
        while raw::status(&raw::ask(&mut raw::connect(&process.socket), ready)) != Some(200) {
            assert!(Instant::now() < until, "never ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }

    /// The next line with a part.
    fn wait_for(&self, part: &str) -> String {
        let lines = self.lines.lock().unwrap();
        loop {
            let line = lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("nothing was told of {part}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let signalled = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(signalled.unwrap().success());
    }

    fn ask(&self, body: &Value) -> String {
        let Ok(mut stream) = std::net::TcpStream::connect(&self.socket) else {
            return String::new();
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let headers = ["authorization: Bearer secret"];
        let request = raw::request("/v1/score", &headers, body.to_string().as_bytes());
        raw::ask(&mut stream, &request)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn question() -> Value {
    json!({"prompt": "q", "response": "a"})
}

#[test]
fn sigterm_under_load_ends_in_good_order() {
    let mut process = Process::start(&[]);
    let answered = AtomicUsize::new(0);
    let ended = AtomicBool::new(false);
    let begun = std::thread::scope(|scope| {
        // One that takes a while, and many that do not.
        let long = scope.spawn(|| {
            let records: Vec<Value> = (0..4000)
                .map(|number| json!({"prompt": format!("question {number}"), "response": "a"}))
                .collect();
            process.ask(&json!({"records": records}))
        });
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let reply = process.ask(&question());
                    match raw::status(&reply) {
                        Some(200) => {
                            assert!(reply.ends_with('}'), "{reply}");
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        // Only what came too late has none.
                        Some(503) | None if ended.load(Ordering::SeqCst) => return,
                        other => panic!("{other:?}: {reply}"),
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        ended.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        process.signal("-TERM");
        let reply = long.join().unwrap();
        assert_eq!(raw::status(&reply), Some(200), "{reply}");
        assert_eq!(reply.matches("\"score\":").count(), 4000);
        begun
    });
    assert!(answered.into_inner() > 0);
    let status = process.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let mut process = Process::start(&[]);
    // A body that does not come: the server would wait for it.
    let mut stream = raw::connect(&process.socket);
    let head =
        "POST /v1/score HTTP/1.1\r\nhost: x\r\nx-api-key: secret\r\ncontent-length: 10\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    process.signal("-TERM");
    process.wait_for("ending");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(process.child.try_wait().unwrap(), None);
    let begun = Instant::now();
    process.signal("-TERM");
    let status = process.child.wait().unwrap();
    assert_eq!(status.signal(), Some(15), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Whoever does not finish its request holds the end up no longer than that.
#[test]
fn the_end_has_a_bound() {
    let mut process = Process::start(&["--drain-timeout", "1"]);
    let mut stream = raw::connect(&process.socket);
    let head =
        "POST /v1/score HTTP/1.1\r\nhost: x\r\nx-api-key: secret\r\ncontent-length: 10\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    process.signal("-TERM");
    let status = process.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begun.elapsed() > Duration::from_millis(900));
    // Its body could take 30 s.
    assert!(begun.elapsed() < Duration::from_secs(15));
}

/// A shell's limit of open files is not the server's of connections.
#[test]
fn connections_are_not_bound_by_the_soft_limit_of_files() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -Sn 50 && exec \"$0\" \"$@\""]);
    let command = support::command();
    shell.arg(command.get_program());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let process = Process::of(&bundle(), shell, &["--max-connections", "100"]);
    let held: Vec<_> = (0..80).map(|_| raw::connect(&process.socket)).collect();
    assert_eq!(raw::status(&process.ask(&question())), Some(200));
    drop(held);
}

#[test]
fn sighup_reloads() {
    let model = support::copy_of(&bundle());
    let process = Process::of(model.path(), support::command(), &["--reload", "beside"]);
    for _ in 0..2 {
        process.signal("-HUP");
        process.wait_for("model was reloaded");
        assert_eq!(raw::status(&process.ask(&question())), Some(200));
    }
    std::fs::write(model.path().join("manifest.json"), "{").unwrap();
    process.signal("-HUP");
    let told = process.wait_for("model was not reloaded");
    assert!(told.contains("stays in service: model `pm`: "), "{told}");
    assert!(told.contains("manifest.json"), "{told}");
    assert_eq!(raw::status(&process.ask(&question())), Some(200));
    let mut stream = raw::connect(&process.socket);
    let request = raw::request("/v1/score", &[], question().to_string().as_bytes());
    assert_eq!(raw::status(&raw::ask(&mut stream, &request)), Some(401));
}

/// A model that takes its time to load keeps no server from ending.
#[test]
fn sigterm_does_not_wait_for_a_reload() {
    let wide = [
        "--shape",
        "tiny",
        "--hidden-size",
        "1024",
        "--intermediate-size",
        "4096",
    ];
    let model = support::bundle(&wide, &["--end-token", ""]);
    let mut process = Process::of(&model, support::command(), &["--reload", "swap"]);
    let until = Instant::now() + Duration::from_secs(60);
    process.signal("-HUP");
    // Until the one before is let go, and the new one is not there.
    while raw::status(&process.ask(&question())) != Some(503) {
        assert!(Instant::now() < until, "no reload was seen");
    }
    let begun = Instant::now();
    process.signal("-TERM");
    let status = process.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}
