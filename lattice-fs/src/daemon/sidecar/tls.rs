//! TLS by a certificate and a key in files.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::TlsFiles;
use crate::daemon::{DaemonError, Result};
use crate::http::problem::{Code, Problem};

/// # Errors
/// Which file can't be read, or holds what.
pub fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
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
