//! Certificates that live as long as one server.

use std::sync::Arc;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

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

/// Makes an authority and a certificate signed by it.
pub fn make() -> Result<Identity> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "llmtap test authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let names = NAMES.map(String::from).to_vec();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;

    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity {
        config: Arc::new(config),
        authority_pem: authority.pem(),
        chain_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// What a server and a client need that ask each other who they are.
#[derive(Debug)]
pub struct Mutual {
    pub config: Arc<ServerConfig>,
    pub authority_pem: String,
    pub client_pem: String,
    pub client_key_pem: String,
}

/// Makes an authority, and certificates of both sides signed by it.
pub fn make_mutual() -> Result<Mutual> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let (key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let names = vec!["localhost".into(), "127.0.0.1".into()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let client =
        CertificateParams::new(vec!["llmtap".into()])?.signed_by(&client_key, &authority)?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Mutual {
        config: Arc::new(config),
        authority_pem: authority.pem(),
        client_pem: client.pem(),
        client_key_pem: client_key.serialize_pem(),
    })
}
