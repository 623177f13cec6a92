//! A handshake of TLS, in shapes that differ in one thing each: large like go's or small, with the server's name
//! or without. In: a byte stream. Out: the agreed connection with the certificate, or how it ended.
//!
//! go's hello has a key share of ML-KEM, which takes it beyond one packet. Here a share as large, of a group that
//! no server knows (GREASE, RFC 8701), stands in for it, beside the X25519 that is agreed on.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::{default_provider, kx_group};
use tokio_rustls::rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup, verify_tls12_signature,
    verify_tls13_signature,
};
use tokio_rustls::rustls::ffdhe_groups::FfdheGroup;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, NamedGroup, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};

use crate::reach::Stream;

/// How long a server may take to answer a hello.
pub const HELLO_MAX: Duration = Duration::from_secs(3);
/// What a share of X25519MLKEM768 takes.
const SHARE: usize = 1216;
/// A group that stays without a meaning.
const GREASE: NamedGroup = NamedGroup::Unknown(0x7a7a);

/// How the hello is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Larger than a packet, as go's
    pub is_large: bool,
    /// It names the server
    pub is_named: bool,
    /// It offers HTTP/2
    pub has_h2: bool,
}

/// How a handshake ended.
pub enum Hello {
    /// It stands, and the certificate is good
    Spoken(Box<Spoken>),
    /// The certificate is not
    Untrusted(CertificateError, Option<Vec<u8>>),
    /// The server answered, and refused
    Answered(String),
    /// What came is no TLS
    NotTls,
    /// The connection was reset
    Reset,
    /// The connection was closed
    Closed,
    /// Nothing came
    Silent,
}

/// An agreed connection.
pub struct Spoken {
    /// The connection
    pub stream: TlsStream<Stream>,
    /// Whether HTTP/2 was agreed on
    pub is_h2: bool,
    /// `TLS 1.3`
    pub version: &'static str,
    /// How long it took
    pub took: Duration,
    /// The server's certificate, DER
    pub certificate: Option<Vec<u8>>,
}

impl Hello {
    /// Whether the server said anything to it.
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Spoken(_) | Self::Untrusted(..) | Self::Answered(_))
    }

    /// In words, without anything of a certificate.
    pub fn in_words(&self) -> String {
        match self {
            Self::Spoken(_) => "it is answered".to_owned(),
            Self::Untrusted(..) => "it is answered, with a certificate that is not trusted".to_owned(),
            Self::Answered(why) => format!("it is answered: {why}"),
            Self::NotTls => "what comes back is no TLS".to_owned(),
            Self::Reset => "the connection is reset".to_owned(),
            Self::Closed => "the connection is closed".to_owned(),
            Self::Silent => format!("no answer within {} s", HELLO_MAX.as_secs()),
        }
    }
}

/// Shakes hands.
pub async fn say(roots: &Arc<RootCertStore>, stream: Stream, host: &str, shape: Shape) -> Hello {
    let mut provider = default_provider();
    if shape.is_large {
        provider.kx_groups.insert(0, &Padded);
    }
    let provider = Arc::new(provider);
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider)).build();
    let verifier =
        Arc::new(Watching { inner: inner.ok(), provider: Arc::clone(&provider), seen: Mutex::new(None) });
    let seen = || verifier.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Ok(builder) = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    else {
        return Hello::Closed;
    };
    let checked: Arc<dyn ServerCertVerifier> = Arc::<Watching>::clone(&verifier);
    let mut config = builder.dangerous().with_custom_certificate_verifier(checked).with_no_client_auth();
    config.enable_sni = shape.is_named;
    let protocols: &[&[u8]] = if shape.has_h2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        return Hello::Answered("its host is no name".into());
    };
    let began = Instant::now();
    match timeout(HELLO_MAX, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Err(_) => Hello::Silent,
        Ok(Err(error)) => failed(&error, seen()),
        Ok(Ok(stream)) => {
            let about = stream.get_ref().1;
            let is_h2 = about.alpn_protocol() == Some(b"h2");
            let version = match about.protocol_version() {
                Some(tokio_rustls::rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS 1.2",
            };
            Hello::Spoken(Box::new(Spoken {
                stream,
                is_h2,
                version,
                took: began.elapsed(),
                certificate: seen(),
            }))
        }
    }
}

fn failed(error: &io::Error, certificate: Option<Vec<u8>>) -> Hello {
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => Hello::Untrusted(why.clone(), certificate),
        Some(Error::InvalidMessage(_)) => Hello::NotTls,
        Some(Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec)) => Hello::NotTls,
        Some(other) => Hello::Answered(other.to_string()),
        None if error.kind() == io::ErrorKind::ConnectionReset => Hello::Reset,
        None => Hello::Closed,
    }
}

/// Verifies as usual, and keeps what was seen.
#[derive(Debug)]
struct Watching {
    /// `None` where this machine trusts nobody
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate.to_vec());
        match &self.inner {
            Some(inner) => inner.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A group as large as go's first one, which no server takes.
#[derive(Debug)]
struct Padded;

impl SupportedKxGroup for Padded {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut share = vec![0; SHARE];
        // As little compressible as a real one.
        default_provider().secure_random.fill(&mut share)?;
        Ok(Box::new(Both { share, real: kx_group::X25519.start()? }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        GREASE
    }
}

struct Both {
    share: Vec<u8>,
    real: Box<dyn ActiveKeyExchange>,
}

impl ActiveKeyExchange for Both {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Err(Error::PeerMisbehaved(PeerMisbehaved::WrongGroupForKeyShare))
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.real.group(), self.real.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        self.real.complete(peer)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        GREASE
    }
}
