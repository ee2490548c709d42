//! Encryption: a certificate and its key from files, read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::Watched;

/// How connections are encrypted.
#[derive(Clone, Debug)]
pub struct Tls(Watched<ServerConfig>);

impl Tls {
    /// By the certificate, with its chain, and the key in these PEM files; with
    /// `clients`, the authorities of a PEM file, a client must show a
    /// certificate that one of them has signed.
    ///
    /// # Errors
    /// When a file cannot be read, or is no such file.
    pub fn read(certificate: &Path, key: &Path, clients: Option<&Path>) -> anyhow::Result<Self> {
        let mut paths = vec![certificate.to_owned(), key.to_owned()];
        paths.extend(clients.map(Path::to_owned));
        let files = paths.clone();
        Watched::new(paths, move || config(&files)).map(Self)
    }

    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.0.get()).accept(stream).await
    }
}

fn config(files: &[PathBuf]) -> anyhow::Result<ServerConfig> {
    let [certificate, key, clients @ ..] = files else {
        return Err(anyhow!("a certificate and a key are needed"));
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match clients.first() {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority)?;
            }
            let roots = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = roots
                .build()
                .with_context(|| format!("{} has no authority of clients", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let secret = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the private key in {}", key.display()))?;
    let mut config = builder
        .with_single_cert(certificates(certificate)?, secret)
        .with_context(|| {
            format!(
                "the key in {} is not that of the certificate in {}",
                key.display(),
                certificate.display()
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all: Vec<_> =
        read.with_context(|| format!("cannot read the certificates in {}", path.display()))?;
    if all.is_empty() {
        return Err(anyhow!("there is no certificate in {}", path.display()));
    }
    Ok(all)
}
