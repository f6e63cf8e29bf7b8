//! TLS, and certificates that change.

use std::{
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use worldpm_ort::ScorerOptions;
use worldpm_ort_runtime::testing::FakeOptions;
use worldpm_ort_serve::{ServeError, ServeOptions, TlsFiles};

use crate::{
    raw,
    served::{Served, fake, local, real},
};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Writes a new pair, and gives what a client has to trust.
    fn write(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(self.certificate(), made.cert.pem()).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn options(&self) -> ServeOptions {
        let mut options = local();
        let mut files = TlsFiles::new(self.certificate(), self.key());
        files.check_interval = Duration::from_millis(100);
        options.security.tls = Some(files);
        options
    }
}

fn connect(
    served: &Served,
    trusted: &CertificateDer<'static>,
    protocols: &[&[u8]],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, raw::connect(served.socket()))
}

fn score(served: &Served, trusted: &CertificateDer<'static>) -> Option<u16> {
    let body = json!({"prompt": "q", "response": "a"}).to_string();
    let request = raw::request("/v1/score", &[], body.as_bytes());
    raw::status(&raw::ask(&mut connect(served, trusted, &[]), &request))
}

#[test]
fn scores_over_tls() {
    let files = Files::new();
    let trusted = files.write();
    let served = Served::start(files.options(), vec![real("pm")]);
    assert!(served.address.starts_with("https://"), "{}", served.address);
    assert_eq!(score(&served, &trusted), Some(200));
    for (offered, taken) in [
        (&[&b"h2"[..], b"http/1.1"][..], &b"h2"[..]),
        (&[b"http/1.1"], b"http/1.1"),
    ] {
        let mut stream = connect(&served, &trusted, offered);
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(taken));
    }
    // Without TLS there is nothing to read, and the server goes on.
    let plain = raw::ask(
        &mut raw::connect(served.socket()),
        b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n",
    );
    assert_eq!(raw::status(&plain), None);
    assert_eq!(score(&served, &trusted), Some(200));
}

#[test]
fn a_new_pair_is_taken_and_a_bad_one_is_not() {
    let files = Files::new();
    let first = files.write();
    let served = Served::start(files.options(), vec![real("pm")]);
    let mut held = connect(&served, &first, &[]);
    held.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
        .unwrap();
    for bad in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA"] {
        std::fs::write(files.certificate(), bad).unwrap();
        served.reload().unwrap();
        assert_eq!(score(&served, &first), Some(200), "{bad:?}");
    }
    // The certificate is there before its key.
    let key = std::fs::read(files.key()).unwrap();
    files.write();
    std::fs::write(files.key(), &key).unwrap();
    served.reload().unwrap();
    assert_eq!(score(&served, &first), Some(200));

    let second = files.write();
    let until = Instant::now() + Duration::from_secs(20);
    // Nobody asks for it: it is found.
    while score(&served, &second) != Some(200) {
        assert!(Instant::now() < until, "the new certificate is not taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(score(&served, &first), None);
    // Connections from before go on.
    held.write_all(b"\r\n").unwrap();
    assert_eq!(raw::status(&raw::rest(&mut held)), Some(200));
}

#[test]
fn whoever_does_not_begin_tls_holds_nobody_up() {
    let files = Files::new();
    let trusted = files.write();
    let mut options = files.options();
    options.read_timeout = Duration::from_millis(500);
    let served = Served::start(options, vec![real("pm")]);
    let mut idle: Vec<_> = (0..50).map(|_| raw::connect(served.socket())).collect();
    assert_eq!(score(&served, &trusted), Some(200));
    let begun = Instant::now();
    for stream in &mut idle {
        assert_eq!(raw::rest(stream), "");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    let _idle = raw::connect(served.socket());
    served.shut_down().join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn files_that_are_no_pair_are_named() {
    let files = Files::new();
    let other = Files::new();
    files.write();
    other.write();
    let start = |certificate: &Path, key: &Path| {
        let mut options = local();
        options.security.tls = Some(TlsFiles::new(certificate, key));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = worldpm_ort_serve::Server::start(options, vec![real("pm")]);
        runtime
            .block_on(async { server.await.map(drop) })
            .unwrap_err()
    };
    let (certificate, key) = (files.certificate(), files.key());
    for (error, parts) in [
        (start(Path::new("/nowhere"), &key), ["tls-cert", "/nowhere"]),
        (start(&key, &key), ["tls-cert", "no certificate"]),
        (
            start(&certificate, &certificate),
            ["tls-key", "no private key"],
        ),
        (
            start(&certificate, &other.key()),
            ["tls-key", "not the key of"],
        ),
    ] {
        assert!(matches!(error, ServeError::Option { .. }), "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
}

/// Clients that are gone before their reply: what they asked for is dropped, whatever the connection is wrapped in.
#[test]
fn what_clients_that_leave_have_asked_for_is_dropped() {
    const LEAVING: usize = 40;
    let files = Files::new();
    let trusted = files.write();
    // Longer than it takes them to come and go.
    let slow = FakeOptions::default().with_stages(vec![Duration::from_secs(4)]);
    let model = fake("pm", slow, ScorerOptions::default());
    let served = Served::start(files.options(), vec![model]);
    std::thread::scope(|scope| {
        // One that is computed, and one that waits before the model: nobody else is taken out of the line meanwhile.
        for number in 1..=2 {
            let (served, trusted) = (&served, &trusted);
            scope.spawn(move || assert_eq!(score(served, trusted), Some(200)));
            while served.planned().conversations < number {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let mut leaving: Vec<_> = (0..LEAVING)
            .map(|number| {
                let prompt = format!("question {number}");
                let body = json!({"prompt": prompt, "response": "a"}).to_string();
                let request = raw::request("/v1/score", &[], body.as_bytes());
                let mut stream = connect(&served, &trusted, &[]);
                stream.write_all(&request).unwrap();
                stream.flush().unwrap();
                stream
            })
            .collect();
        // Half of them say that they leave.
        for stream in leaving.iter_mut().step_by(2) {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
    });
    assert_eq!(score(&served, &trusted), Some(200));
    let planned = served.planned().conversations;
    assert!(planned < 3 + LEAVING / 2, "{planned} for 3 and {LEAVING}");
}
