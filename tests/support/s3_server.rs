//! Amazon's S3 protocol on loopback, spoken by `s3s` over a folder, behind a relay that can be told to cut connections and to
//! go away for a while.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    s3_error,
    service::S3ServiceBuilder,
};
use s3s_fs::FileSystem;
use tempfile::TempDir;

pub const BUCKET: &str = "bucket";
pub const KEY: &str = "AKIATESTKEY";
pub const SECRET: &str = "a-secret-of-tests";

/// Something that is done once, when so many bytes were sent.
type Event = (usize, Box<dyn FnOnce() + Send>);

#[derive(Default)]
struct Faults {
    /// The operation that is refused.
    denied: Option<&'static str>,
    /// After how many bytes each of the next connections is cut.
    cuts: Vec<usize>,
    event: Option<Event>,
    /// After how many bytes of a connection the server goes away, and for how long.
    away: Option<(usize, Duration)>,
    back: Option<Instant>,
    asked: Vec<String>,
}

/// A running server. It ends with the process.
pub struct S3Server {
    folder: TempDir,
    address: SocketAddr,
    faults: Arc<Mutex<Faults>>,
}

struct Access(Arc<Mutex<Faults>>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let name = cx.s3_op().name().to_owned();
        let mut faults = self.0.lock().unwrap();
        let is_denied = faults.denied == Some(name.as_str());
        faults.asked.push(name);
        match cx.credentials() {
            Some(_) if !is_denied => Ok(()),
            _ => Err(s3_error!(AccessDenied, "not you")),
        }
    }
}

impl S3Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let faults = Arc::<Mutex<Faults>>::default();
        let server = serve(folder.path(), &faults);
        let relay = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = relay.local_addr().unwrap();
        let shared = Arc::clone(&faults);
        thread::spawn(move || relay_all(&relay, server, &shared));
        Self {
            folder,
            address,
            faults,
        }
    }

    /// What a client needs to know, for the environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }

    pub fn set(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment());
    }

    /// Where an object of the bucket is.
    pub fn at(&self, key: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(key)
    }

    pub fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(key).parent().unwrap()).unwrap();
        fs::write(self.at(key), bytes).unwrap();
    }

    /// The keys of all objects, and whatever else is in the folder of the bucket.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        list(&self.at(""), &self.at(""), &mut keys);
        keys.sort();
        keys
    }

    /// Files of uploads that neither ended nor were given up.
    pub fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_part = |name: &String| name.contains("part") || name.contains("tmp");
        names.filter(is_part).collect()
    }

    /// Refuses an operation, such as `UploadPart`.
    pub fn deny(&self, operation: &'static str) {
        self.faults.lock().unwrap().denied = Some(operation);
    }

    /// Cuts each of the next connections after so many bytes were sent.
    pub fn cut(&self, cuts: &[usize]) {
        let mut cuts = cuts.to_vec();
        cuts.reverse();
        self.faults.lock().unwrap().cuts = cuts;
    }

    /// Does something when so many bytes of an answer were sent.
    pub fn at_byte(&self, bytes: usize, event: impl FnOnce() + Send + 'static) {
        self.faults.lock().unwrap().event = Some((bytes, Box::new(event)));
    }

    /// When so many bytes of an answer were sent, all connections end, and for so long none comes about.
    pub fn go_away(&self, bytes: usize, time: Duration) {
        self.faults.lock().unwrap().away = Some((bytes, time));
    }

    /// The operations that were asked for until now, and forgets them.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.faults.lock().unwrap().asked)
    }
}

fn list(root: &Path, folder: &Path, keys: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(root, &path, keys),
            false => keys.push(path.strip_prefix(root).unwrap().display().to_string()),
        }
    }
}

fn serve(folder: &Path, faults: &Arc<Mutex<Faults>>) -> SocketAddr {
    let mut builder = S3ServiceBuilder::new(FileSystem::new(folder).unwrap());
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    builder.set_access(Access(Arc::clone(faults)));
    let service = builder.build();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service.clone());
                // The client may go away at any time.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
    });
    receiver.recv().unwrap()
}

impl Faults {
    fn is_away(&self) -> bool {
        self.back.is_some_and(|back| Instant::now() < back)
    }
}

/// Passes connections on; while it is away, none comes about.
fn relay_all(relay: &TcpListener, server: SocketAddr, faults: &Arc<Mutex<Faults>>) {
    for client in relay.incoming() {
        let client = client.unwrap();
        let (cut, is_away) = {
            let mut faults = faults.lock().unwrap();
            (faults.cuts.pop(), faults.is_away())
        };
        if !is_away {
            let faults = Arc::clone(faults);
            thread::spawn(move || pass(&client, server, cut, &faults));
        }
    }
}

fn pass(client: &TcpStream, server: SocketAddr, cut: Option<usize>, faults: &Mutex<Faults>) {
    let upstream = TcpStream::connect(server).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut upstream, mut client) = (upstream, client);
    let (mut sent, mut block) = (0, vec![0; 16 << 10]);
    while let Ok(read) = upstream.read(&mut block) {
        let most = cut.map_or(read, |cut| cut.saturating_sub(sent).min(read));
        if client.write_all(&block[..most]).is_err() || read == 0 || cut == Some(sent + most) {
            break;
        }
        sent += read;
        let event = {
            let mut faults = faults.lock().unwrap();
            if let Some((_, time)) = faults.away.take_if(|(bytes, _)| *bytes <= sent) {
                faults.back = Some(Instant::now() + time);
            }
            if faults.is_away() {
                break;
            }
            faults.event.take_if(|(bytes, _)| *bytes <= sent)
        };
        if let Some((_, event)) = event {
            event();
            // What was read before it is sent; what comes is asked for again.
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
}
