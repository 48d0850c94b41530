//! TLS by a certificate and a key in files. They are looked at with every handshake, so a renewed certificate is shown from the
//! next connection on. Files that don't fit together, as between the writing of the one and the other, change nothing.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::TlsFiles;
use crate::daemon::{DaemonError, Result};
use crate::http::problem::{Code, Problem};

/// What is shown to who connects.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    /// Made of the files when they looked like this.
    current: Mutex<(Looks, Arc<ServerConfig>)>,
}

/// By which a file that was written again is told: inode, size, seconds and nanoseconds of the last write.
type Looks = [Option<(u64, u64, i64, i64)>; 2];

impl Tls {
    /// # Errors
    /// Which file can't be read, or holds what.
    pub fn of(files: TlsFiles) -> Result<Self> {
        let looks = looks(&files);
        let current = Mutex::new((looks, server(&files)?));
        Ok(Self { files, current })
    }

    /// As the files are now, or as they were when they last made sense.
    pub fn now(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock();
        let looks = looks(&self.files);
        if current.0 != looks {
            current.0 = looks;
            match server(&self.files) {
                Ok(config) => {
                    tracing::info!("{} was read again", self.files.cert.display());
                    current.1 = config;
                }
                Err(e) => tracing::warn!("the certificate that was there before is still used: {e}"),
            }
        }
        current.1.clone()
    }
}

fn looks(files: &TlsFiles) -> Looks {
    let of =
        |path: &Path| std::fs::metadata(path).ok().map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
    [of(&files.cert), of(&files.key)]
}

fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|e| unfit(&files.cert, "certificate", &e))?;
    if chain.is_empty() {
        return Err(unfit(&files.cert, "certificate", &"it holds none"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unfit(&files.key, "private key", &e))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|e| unfit(&files.cert, "certificate", &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn unfit(path: &Path, what: &str, why: &dyn std::fmt::Display) -> DaemonError {
    let detail = format!("{} can't be used as the {what} of the HTTP listener (PEM): {why}", path.display());
    DaemonError::Problem(Box::new(Problem::new(Code::Refused, detail)))
}
