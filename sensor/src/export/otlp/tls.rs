//! TLS towards a collector: whom to trust, and who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Whom to trust; the system's authorities where absent.
    pub certificate: Option<PathBuf>,
    /// Who we are, for collectors that ask.
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}")]
    Pem {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    #[error("this host trusts no authority: /etc/ssl/certs is empty or cannot be read")]
    NoRoots,
    #[error("a client certificate needs its key, and a key its certificate")]
    Half,
    #[error("certificates do not fit")]
    Rustls(#[from] rustls::Error),
}

impl Identity {
    pub fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?);
        match (&self.client_certificate, &self.client_key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(at(key))?;
                Ok(builder.with_client_auth_cert(chain, key)?)
            }
            _ => Err(TlsError::Half),
        }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.certificate {
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            return Ok(roots);
        }
        // Some that others put there may be unreadable; the rest will do.
        let found = rustls_native_certs::load_native_certs().certs;
        let (added, _) = roots.add_parsable_certificates(found);
        match added {
            0 => Err(TlsError::NoRoots),
            _ => Ok(roots),
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(at(path))?
        .collect();
    let found = found.map_err(at(path))?;
    match found.is_empty() {
        true => Err(TlsError::Empty(path.to_owned())),
        false => Ok(found),
    }
}

fn at(path: &Path) -> impl Fn(pem::Error) -> TlsError {
    move |source| TlsError::Pem {
        path: path.to_owned(),
        source,
    }
}
