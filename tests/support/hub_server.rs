//! A server on loopback that speaks the Hugging Face hub's protocol, as far as downloads of models and data sets need it,
//! and that can be told to fail.
//!
//! As the real hub does, it redirects small files to another path of its own, and large files to another server (here
//! another port) that takes no token.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Files of at least this size are large ones, as are all safetensors files.
const LARGE: usize = 1 << 20;

/// What the server does to some requests instead of answering them well.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Stall(usize),
    /// The file is announced with this size.
    Announce(u64),
    /// These bytes are sent, without a range.
    Body(Vec<u8>),
    /// The body has no length, and ends when the connection does.
    NoLength,
    /// Ranges are not known.
    NoRange,
    /// The tag that the file is announced with.
    Etag(String),
    /// The answer is changed before it is sent.
    Odd(fn(&mut Answer, &Request)),
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    #[default]
    Length,
    /// By the end of the connection.
    Close,
    /// In chunks of a few thousand bytes.
    Chunked,
}

/// A fault for the requests whose `METHOD /path` contains a text.
#[derive(Clone, Debug)]
struct Planned {
    part: &'static str,
    times: usize,
    fault: Fault,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// Whether it came to the server of large files.
    pub large: bool,
    pub body: Vec<u8>,
}

struct Stored {
    path: PathBuf,
    size: usize,
    large: bool,
    etag: String,
}

/// A repository, made from a folder.
pub struct Repository {
    id: String,
    /// What stands in its addresses: `models` or `datasets`.
    kind: &'static str,
    revision: &'static str,
    pub commit: String,
    files: BTreeMap<String, Stored>,
    /// A token that its files need, and whether it is gated rather than private.
    access: Option<(String, bool)>,
}

impl Repository {
    /// `id` with the files of `folder`.
    pub fn of(id: &str, folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut all = Sha1::new();
        let mut entries = Vec::new();
        list(folder, &mut entries);
        entries.sort();
        for path in entries {
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let bytes = fs::read(&path).unwrap();
            let large = bytes.len() >= LARGE || name.ends_with(".safetensors");
            let etag = match large {
                true => hex(&Sha256::digest(&bytes)),
                false => {
                    let head = format!("blob {}\0", bytes.len());
                    hex(&Sha1::new_with_prefix(head).chain_update(&bytes).finalize())
                }
            };
            all.update(format!("{name} {etag}\n"));
            let stored = Stored {
                path,
                size: bytes.len(),
                large,
                etag,
            };
            files.insert(name, stored);
        }
        Self {
            id: id.to_owned(),
            kind: "models",
            revision: "main",
            commit: hex(&all.finalize()),
            files,
            access: None,
        }
    }

    /// A data set with the files of `folder`.
    pub fn data_set(id: &str, folder: &Path) -> Self {
        let kind = "datasets";
        Self {
            kind,
            ..Self::of(id, folder)
        }
    }

    /// The same, at another revision than `main`.
    pub fn at(self, revision: &'static str) -> Self {
        Self { revision, ..self }
    }

    /// The same, for those who have the token only.
    pub fn private(self, token: &str) -> Self {
        let access = Some((token.to_owned(), false));
        Self { access, ..self }
    }

    /// The same, for those who have the token and accepted its terms.
    pub fn gated(self, token: &str) -> Self {
        let access = Some((token.to_owned(), true));
        Self { access, ..self }
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// An answer before faults.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// Bytes of the body after which the connection ends.
    pub cut: Option<usize>,
    /// A pause after every byte of the head, or of the body.
    pub drip_head: Option<Duration>,
    pub drip_body: Option<Duration>,
}

impl Answer {
    /// Leaves a header out.
    pub fn without(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Sets a header, in place of the one that is there.
    pub fn with(&mut self, name: &'static str, value: impl ToString) {
        self.without(name);
        self.headers.push((name, value.to_string()));
    }

    fn new(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self {
            status,
            headers,
            ..Self::default()
        }
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let headers = vec![
            ("X-Error-Code", code.to_owned()),
            ("X-Error-Message", message.to_owned()),
        ];
        Self::new(status, headers)
    }

    fn json(value: &serde_json::Value) -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: serde_json::to_vec(value).unwrap(),
            ..Self::default()
        }
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

impl Repository {
    fn answer(
        &self,
        parts: &[&str],
        request: &Request,
        fault: &Option<Fault>,
        large: SocketAddr,
    ) -> Answer {
        let known = |revision: &str| self.knows(revision);
        let no_revision = || Answer::error(404, "RevisionNotFound", "Invalid rev id");
        match parts {
            ["api"] => Answer::json(&self.description()),
            ["api", "revision", revision] if known(revision) => Answer::json(&self.description()),
            ["api", "tree", revision, folder @ ..] if known(revision) => {
                let is_deep = !request.path.contains("recursive=false");
                self.tree(&folder.join("/"), is_deep)
            }
            ["api", "paths-info", revision] if known(revision) => self.paths(&request.body),
            ["api", ..] => no_revision(),
            ["resolve", revision, ..] if !known(revision) => no_revision(),
            ["resolve" | "cached", _, file @ ..] => match self.files.get(&file.join("/")) {
                None => Answer::error(404, "EntryNotFound", "Entry not found"),
                Some(stored) if parts[0] == "cached" => {
                    let mut answer = body(stored, request, fault);
                    answer.headers.push(("X-Repo-Commit", self.commit.clone()));
                    answer
                }
                Some(stored) => self.redirect(&file.join("/"), stored, large),
            },
            _ => Answer::error(404, "EntryNotFound", "Entry not found"),
        }
    }

    fn description(&self) -> serde_json::Value {
        let siblings: Vec<_> = self.files.keys().map(|f| json!({"rfilename": f})).collect();
        json!({"id": self.id, "modelId": self.id, "sha": self.commit, "private": false, "gated": false,
            "disabled": false, "downloads": 0, "likes": 0, "tags": [], "siblings": siblings})
    }

    fn knows(&self, revision: &str) -> bool {
        let revision = revision.replace("%2F", "/");
        revision == self.revision || revision == self.commit
    }

    /// What is below a folder, at any depth or directly.
    fn tree(&self, folder: &str, is_deep: bool) -> Answer {
        let inside = match folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let mut folders = BTreeSet::new();
        let mut entries = Vec::new();
        for (name, stored) in &self.files {
            let Some(rest) = name.strip_prefix(&inside) else {
                continue;
            };
            let deeper = rest.match_indices('/').map(|(at, _)| &rest[..at]);
            folders.extend(deeper.take(if is_deep { usize::MAX } else { 1 }));
            if is_deep || !rest.contains('/') {
                entries.push(file_entry(name, stored));
            }
        }
        if entries.is_empty() && folders.is_empty() && !folder.is_empty() {
            return Answer::error(404, "EntryNotFound", "Entry not found");
        }
        let folder_entry = |folder: &str| folder_entry(&format!("{inside}{folder}"));
        entries.extend(folders.into_iter().map(folder_entry));
        Answer::json(&entries.into())
    }

    /// Those of the paths in a form that are there.
    fn paths(&self, form: &[u8]) -> Answer {
        let form = String::from_utf8_lossy(form).replace("%2F", "/");
        let paths = form
            .split('&')
            .filter_map(|field| field.strip_prefix("paths="));
        let entry = |path: &str| match self.files.get(path) {
            Some(stored) => Some(file_entry(path, stored)),
            None => {
                let inside = format!("{path}/");
                let is_folder = self.files.keys().any(|name| name.starts_with(&inside));
                is_folder.then(|| folder_entry(path))
            }
        };
        Answer::json(&paths.filter_map(entry).collect())
    }

    fn redirect(&self, file: &str, stored: &Stored, large: SocketAddr) -> Answer {
        let commit = ("X-Repo-Commit", self.commit.clone());
        if stored.large {
            let location = format!("http://{large}/{}?signature=%2F1", stored.etag);
            let headers = vec![
                ("Location", location),
                ("X-Linked-Size", stored.size.to_string()),
                ("X-Linked-Etag", format!("\"{}\"", stored.etag)),
                commit,
            ];
            return Answer::new(302, headers);
        }
        let (kind, id) = (self.kind, &self.id);
        let location = format!("/api/resolve-cache/{kind}/{id}/{}/{file}", self.commit);
        Answer::new(307, vec![("Location", location), commit])
    }
}

fn file_entry(name: &str, stored: &Stored) -> serde_json::Value {
    let mut entry = json!({"type": "file", "path": name, "size": stored.size, "oid": stored.etag});
    if stored.large {
        entry["oid"] = json!("0".repeat(40));
        entry["lfs"] = json!({"oid": stored.etag, "size": stored.size, "pointerSize": 135});
    }
    entry
}

fn folder_entry(name: &str) -> serde_json::Value {
    json!({"type": "directory", "path": name, "size": 0, "oid": "0".repeat(40)})
}

/// The bytes of a file, or the range of them that was asked for.
fn body(stored: &Stored, request: &Request, fault: &Option<Fault>) -> Answer {
    let bytes = fs::read(&stored.path).unwrap();
    let mut headers = vec![("ETag", format!("\"{}\"", stored.etag))];
    let from = request
        .range
        .as_deref()
        .filter(|_| !matches!(fault, Some(Fault::NoRange)))
        .map(|range| {
            range
                .trim_start_matches("bytes=")
                .split('-')
                .next()
                .unwrap()
        })
        .map(|from| from.parse::<usize>().unwrap());
    let (status, body) = match from {
        None => (200, bytes),
        Some(from) if from >= bytes.len() => (416, vec![]),
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            headers.push(("Content-Range", range));
            (206, bytes[from..].to_vec())
        }
    };
    Answer {
        status,
        headers,
        body,
        ..Answer::default()
    }
}

/// Writes all at once, or a byte at a time.
fn drip(mut stream: &TcpStream, bytes: &[u8], pause: Option<Duration>) -> std::io::Result<()> {
    let Some(pause) = pause else {
        return stream.write_all(bytes);
    };
    for byte in bytes {
        stream.write_all(std::slice::from_ref(byte))?;
        thread::sleep(pause);
    }
    Ok(())
}

fn read_request(
    reader: &mut BufReader<TcpStream>,
    large: bool,
) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        range: None,
        authorization: None,
        large,
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            request.body = vec![0; length];
            reader.read_exact(&mut request.body)?;
            return Ok(Some(request));
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value),
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => request.authorization = Some(value),
            _ => {}
        }
    }
}
