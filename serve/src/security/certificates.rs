//! The certificate of a server, which may change while it runs.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

use super::options::TlsFiles;
use crate::error::ServeError;

/// A certificate and its key, read from files again when these change.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// Of the files as they were last read, good or bad.
    digest: Mutex<[u8; 32]>,
}

/// What the files held.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// # Errors
    /// [`ServeError::Option`] for files that are not a certificate and its key.
    pub(crate) fn load(files: &TlsFiles) -> Result<Arc<Self>, ServeError> {
        let provider = Arc::new(ring::default_provider());
        let read = Contents::read(files).and_then(|contents| {
            let digest = contents.digest();
            Ok((contents.parse(files, &provider)?, digest))
        });
        let (current, digest) = read?;
        Ok(Arc::new(Self {
            files: files.clone(),
            provider,
            current: RwLock::new(Arc::new(current)),
            digest: Mutex::new(digest),
        }))
    }

    /// What begins TLS on a connection, for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`ServeError::Option`] when no version of TLS can be had.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, ServeError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| ServeError::Option {
                option: "tls-cert",
                problem: error.to_string(),
            })?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again, if they have changed. A pair that is bad changes nothing, and is logged once.
    pub(crate) fn reload(&self) {
        let loaded = Contents::read(&self.files).and_then(|contents| {
            let digest = contents.digest();
            let mut last = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
            if *last == digest {
                return Ok(None);
            }
            *last = digest;
            contents.parse(&self.files, &self.provider).map(Some)
        });
        match loaded {
            Ok(None) => {}
            Ok(Some(key)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("a new certificate is in use");
            }
            Err(error) => tracing::error!("the certificate stays as it was: {error}"),
        }
    }

    /// Looks at the files until the server ends.
    pub(crate) async fn watch(self: Arc<Self>, mut ended: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                () = tokio::time::sleep(self.files.check_interval) => {}
            }
            let this = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || this.reload()).await;
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, ServeError> {
        let read = |option, path: &Path| {
            fs::read(path).map_err(|error| bad(option, path, &error.to_string()))
        };
        Ok(Self {
            certificate: read("tls-cert", &files.certificate)?,
            key: read("tls-key", &files.key)?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.certificate.len().to_le_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key);
        hash.finalize().into()
    }

    fn parse(
        &self,
        files: &TlsFiles,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, ServeError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain =
            chain.map_err(|error| bad("tls-cert", &files.certificate, &error.to_string()))?;
        if chain.is_empty() {
            let problem = "there is no certificate in it; it must be PEM";
            return Err(bad("tls-cert", &files.certificate, problem));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            let problem = format!("there is no private key in it ({error}); it must be PEM");
            bad("tls-key", &files.key, &problem)
        })?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let certificate = files.certificate.display();
            let problem = format!("it is not the key of {certificate}: {error}");
            bad("tls-key", &files.key, &problem)
        })
    }
}

fn bad(option: &'static str, path: &Path, problem: &str) -> ServeError {
    ServeError::Option {
        option,
        problem: format!("{}: {problem}", path.display()),
    }
}
