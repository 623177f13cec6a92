//! TLS towards clients. In: certificates and a key, in PEM. Out: what a server offers.

use std::sync::Arc;

use thiserror::Error;
pub use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Bytes of a file that are read.
pub const FILE_MAX: u64 = 1 << 20;

/// Why there is no TLS. No text holds a part of a file.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TlsError {
    /// No certificate in its file
    #[error("there is no certificate in PEM")]
    NoCertificate,
    /// No key in its file
    #[error("there is no private key in PEM")]
    NoKey,
    /// They do not belong together, or are not understood
    #[error("certificate and key: {0}")]
    Refused(String),
}

/// A server with that chain, its own certificate first.
pub fn server(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| TlsError::Refused(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_and_key_must_be_there_and_belong_together() {
        let of = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (one, other) = (of("a.test"), of("b.test"));
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        assert!(server(chain.as_bytes(), key.as_bytes()).is_ok());
        assert_eq!(server(b"", key.as_bytes()).unwrap_err(), TlsError::NoCertificate);
        assert_eq!(server(chain.as_bytes(), b"").unwrap_err(), TlsError::NoKey);
        let wrong = server(chain.as_bytes(), other.signing_key.serialize_pem().as_bytes()).unwrap_err();
        assert!(matches!(&wrong, TlsError::Refused(why) if !why.contains("BEGIN")), "{wrong}");
    }
}
