//! Certificates that live as long as one server.

use std::sync::Arc;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ServerConfig};

/// What a server needs to speak TLS and its clients to believe it.
pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// The authority that clients must trust.
    pub authority_pem: String,
    /// The server's own chain and key, for servers that are not ours.
    pub chain_pem: String,
    pub key_pem: String,
}

/// Names that the certificate holds for; the last are for clients that choose by host.
const NAMES: [&str; 4] = [
    "localhost",
    "127.0.0.1",
    "api.openai.com",
    "api.anthropic.com",
];

/// Makes an authority and a certificate signed by it. `tls12`: for no newer TLS; `http1`:
/// for no newer HTTP.
pub fn make(tls12: bool, http1: bool) -> Result<Identity> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "llmtap test authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let names = NAMES.map(String::from).to_vec();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;

    let oldest = [&TLS12];
    let versions = if tls12 { &oldest[..] } else { ALL_VERSIONS };
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if http1 {
        config.alpn_protocols.remove(0);
    }
    Ok(Identity {
        config: Arc::new(config),
        authority_pem: authority.pem(),
        chain_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}
