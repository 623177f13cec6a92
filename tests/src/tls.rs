//! The lab's certificate authority and the proxy's TLS settings. In go host names, out come a
//! PEM file for clients and a server configuration.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority made for one lab, and a certificate it signed.
#[derive(Debug)]
pub struct Authority {
    /// The authority's certificate, PEM
    pub pem: String,
    /// … and its key, for who signs certificates itself
    pub key_pem: String,
    /// The server's certificate, PEM
    pub certificate_pem: String,
    /// … and its key
    pub certificate_key_pem: String,
    /// Server settings: TLS 1.2 and 1.3, HTTP/2 preferred, HTTP/1.1
    pub server: Arc<ServerConfig>,
    /// The same with a certificate for many names, which takes more than a packet, as those of real servers do
    pub many_names: Arc<ServerConfig>,
}

/// Names that nobody asks for.
const MANY: usize = 60;

impl Authority {
    /// Makes the authority and a server certificate for these host names.
    pub fn new(names: &[&str]) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "goobserve lab");
        let key = KeyPair::generate().context("make the lab authority's key")?;
        let pem = params.self_signed(&key).context("sign the lab authority")?.pem();
        let key_pem = key.serialize_pem();
        let issuer = Issuer::new(params, key);

        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let many = (0..MANY).map(|n| format!("server-{n}.proxy.test"));
        let (many_names, ..) = server(names.iter().cloned().chain(many).collect(), &issuer)?;
        let (server, certificate_pem, certificate_key_pem) = server(names, &issuer)?;
        Ok(Self { pem, key_pem, certificate_pem, certificate_key_pem, server, many_names })
    }
}

/// Settings with a certificate for these names; the certificate and its key, PEM.
fn server(names: Vec<String>, issuer: &Issuer<'_, KeyPair>) -> Result<(Arc<ServerConfig>, String, String)> {
    let mut params = CertificateParams::new(names).context("name the lab's server certificate")?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().context("make the lab server's key")?;
    let certificate = params.signed_by(&key, issuer).context("sign the lab's server certificate")?;

    let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .context("use the lab's server certificate")?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(server), certificate_pem, key_pem))
}
