//! A server on loopback that speaks the Hugging Face hub's protocol, as far as downloads of models and data sets need it,
//! and that can be made to fail.
//!
//! As the real hub does, it redirects small files to another path of its own, and large files to another server (here
//! another port) that takes no token.

#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

mod answer;
mod repository;

use std::{
    io::{BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use answer::{drip, read_request};
use repository::body;

pub use answer::{Answer, Fault, Framing, Request};
pub use repository::Repository;

/// A fault for the requests whose `METHOD /path` contains a text.
#[derive(Clone, Debug)]
struct Planned {
    part: &'static str,
    times: usize,
    fault: Fault,
}

/// A running server. It ends with the process.
#[derive(Clone)]
pub struct HubServer {
    state: Arc<State>,
}

struct State {
    repositories: Vec<Repository>,
    hub: SocketAddr,
    large: SocketAddr,
    faults: Mutex<Vec<Planned>>,
    log: Mutex<Vec<Request>>,
}

impl HubServer {
    pub fn start(repositories: Vec<Repository>) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let large = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(State {
            repositories,
            hub: hub.local_addr().unwrap(),
            large: large.local_addr().unwrap(),
            faults: Mutex::default(),
            log: Mutex::default(),
        });
        for (listener, is_large) in [(hub, false), (large, true)] {
            let state = state.clone();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let state = state.clone();
                    thread::spawn(move || {
                        // The client may go away at any time.
                        let _ = state.converse(stream.unwrap(), is_large);
                    });
                }
            });
        }
        Self { state }
    }

    /// Its address, for `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.state.hub)
    }

    /// The next `times` requests whose `METHOD /path` contains `part` fail in this way.
    pub fn fail(&self, part: &'static str, times: usize, fault: Fault) -> &Self {
        let planned = Planned { part, times, fault };
        self.state.faults.lock().unwrap().push(planned);
        self
    }

    /// No request fails any more.
    pub fn forget_faults(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// What was asked for until now, and forgets it.
    pub fn take_log(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.log.lock().unwrap())
    }

    /// Waits for the end of the process.
    pub fn wait(&self) {
        thread::sleep(Duration::MAX);
    }
}

impl State {
    fn converse(&self, stream: TcpStream, large: bool) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = read_request(&mut reader, large)? {
            self.log.lock().unwrap().push(request.clone());
            let fault = self.fault(&request);
            if !self.reply(&stream, &request, fault)? {
                return stream.shutdown(Shutdown::Both);
            }
        }
        Ok(())
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let line = format!("{} {}", request.method, request.path);
        let mut faults = self.faults.lock().unwrap();
        let planned = faults
            .iter_mut()
            .find(|planned| planned.times > 0 && line.contains(planned.part))?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    /// Answers; whether the connection goes on.
    fn reply(
        &self,
        mut stream: &TcpStream,
        request: &Request,
        fault: Option<Fault>,
    ) -> std::io::Result<bool> {
        let mut answer = match &fault {
            Some(Fault::Status(status, headers)) => Answer::new(*status, headers.clone()),
            Some(Fault::Body(body)) => Answer {
                status: 200,
                body: body.clone(),
                ..Answer::default()
            },
            _ if request.large => self.large_file(request, &fault),
            _ => self.hub(request, &fault),
        };
        if let Some(Fault::Announce(size)) = fault {
            for (name, value) in &mut answer.headers {
                if *name == "X-Linked-Size" {
                    *value = size.to_string();
                }
            }
        }
        if let Some(Fault::Etag(etag)) = &fault {
            for (name, value) in &mut answer.headers {
                if *name == "X-Linked-Etag" {
                    *value = etag.clone();
                }
            }
        }
        if let Some(Fault::Odd(change)) = &fault {
            change(&mut answer, request);
        }
        let length = match fault {
            Some(Fault::Announce(size)) if answer.status == 200 => size as usize,
            _ => answer.body.len(),
        };
        let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if matches!(fault, Some(Fault::NoLength)) {
            answer.framing = Framing::Close;
        }
        let has_own = answer
            .headers
            .iter()
            .any(|(name, _)| *name == "Content-Length");
        let without_length = answer.framing == Framing::Close;
        head += &match answer.framing {
            Framing::Close => "Connection: close\r\n\r\n".to_owned(),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            Framing::Length if has_own => "\r\n".to_owned(),
            Framing::Length => format!("Content-Length: {length}\r\n\r\n"),
        };
        drip(stream, head.as_bytes(), answer.drip_head)?;
        if request.method == "HEAD" {
            return Ok(!without_length);
        }
        if answer.framing == Framing::Chunked {
            let sent = answer.cut.unwrap_or(answer.body.len());
            for chunk in answer.body[..sent].chunks(5000) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                drip(stream, chunk, answer.drip_body)?;
                stream.write_all(b"\r\n")?;
            }
            if answer.cut.is_none() {
                stream.write_all(b"0\r\n\r\n")?;
            }
            return Ok(answer.cut.is_none());
        }
        let sent = match fault {
            _ if answer.cut.is_some() => answer.cut.unwrap().min(answer.body.len()),
            Some(Fault::Cut(bytes) | Fault::Stall(bytes)) => bytes.min(answer.body.len()),
            _ => answer.body.len(),
        };
        drip(stream, &answer.body[..sent], answer.drip_body)?;
        stream.flush()?;
        if matches!(fault, Some(Fault::Stall(_))) {
            thread::sleep(Duration::from_secs(600));
        }
        Ok(sent == answer.body.len() && !without_length)
    }

    /// The server of large files, by their hash. Like the storage behind the real hub, it refuses a token.
    fn large_file(&self, request: &Request, fault: &Option<Fault>) -> Answer {
        if request.authorization.is_some() {
            return Answer::new(400, vec![]);
        }
        let hash = request.path.trim_start_matches('/').split('?').next();
        let mut stored = self.repositories.iter().flat_map(|r| r.files.values());
        match stored.find(|stored| Some(stored.etag.as_str()) == hash) {
            Some(stored) => body(stored, request, fault),
            None => Answer::new(404, vec![]),
        }
    }

    fn hub(&self, request: &Request, fault: &Option<Fault>) -> Answer {
        let path = request.path.split('?').next().unwrap();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let no_repository = || Answer::error(404, "RepoNotFound", "Repository not found");
        let (kind, id, rest) = match parts.as_slice() {
            ["api", "resolve-cache", kind, owner, name, rest @ ..] => {
                (*kind, (owner, name), [&["cached"], rest].concat())
            }
            [
                "api",
                kind @ ("models" | "datasets"),
                owner,
                name,
                rest @ ..,
            ] => (*kind, (owner, name), [&["api"], rest].concat()),
            ["datasets", owner, name, rest @ ..] => ("datasets", (owner, name), rest.to_vec()),
            [owner, name, rest @ ..] => ("models", (owner, name), rest.to_vec()),
            _ => return no_repository(),
        };
        let id = format!("{}/{}", id.0, id.1);
        let is_meant = |r: &&Repository| r.kind == kind && r.id == id;
        let mut revisions = self.repositories.iter().filter(is_meant);
        let Some(first) = revisions.clone().next() else {
            return no_repository();
        };
        let revision = match rest.as_slice() {
            ["api", _, revision, ..] | ["resolve" | "cached", revision, ..] => *revision,
            _ => "main",
        };
        let repository = revisions.find(|r| r.knows(revision)).unwrap_or(first);
        if let Some((token, gated)) = &repository.access
            && request.authorization != Some(format!("Bearer {token}"))
        {
            return match (gated, &request.authorization) {
                (true, Some(_)) => Answer::error(403, "GatedRepo", "Access is restricted"),
                (true, None) => Answer::error(401, "GatedRepo", "Access is restricted"),
                // It does not say whether there is such a repository.
                (false, _) => Answer::error(401, "RepoNotFound", "Invalid username or password."),
            };
        }
        repository.answer(&rest, request, fault, self.large)
    }
}
