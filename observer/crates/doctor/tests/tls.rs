//! Hellos of all shapes to a real server, and certificates that are not good.

use std::net::SocketAddr;
use std::sync::Arc;

use doctor::certificate::About;
use doctor::hello::{Hello, Shape, say};
use doctor::reach::connect;
use gateway::connect::Network;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{CertificateError, RootCertStore, ServerConfig};

const USUAL: Shape = Shape { is_large: true, is_named: true, has_h2: true };

/// A server with such a certificate; and a store that trusts it.
async fn server(change: impl FnOnce(&mut CertificateParams)) -> (SocketAddr, Arc<RootCertStore>) {
    let mut params = CertificateParams::new(vec!["proxy.test".into()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { drop(acceptor.accept(stream).await) });
        }
    });
    (address, Arc::new(roots))
}

async fn spoken(address: SocketAddr, roots: &Arc<RootCertStore>, host: &str, shape: Shape) -> Hello {
    say(roots, Box::new(connect(address).await.unwrap()), host, shape).await
}

#[tokio::test]
async fn every_shape_is_agreed_on_and_the_certificate_is_seen() {
    let (address, roots) = server(|_| {}).await;
    for (is_large, is_named, has_h2) in
        [(true, true, true), (false, true, true), (true, false, true), (false, false, false)]
    {
        let shape = Shape { is_large, is_named, has_h2 };
        let Hello::Spoken(spoken) = spoken(address, &roots, "proxy.test", shape).await else {
            panic!("{shape:?}")
        };
        assert_eq!((spoken.is_h2, spoken.version), (has_h2, "TLS 1.3"));
        assert_eq!(About::read(&spoken.certificate.unwrap()).unwrap().names, ["proxy.test"]);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_good_says_how() {
    let ended = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let begins = |params: &mut CertificateParams| params.not_before = date_time_ymd(2999, 1, 1);
    let nobody: Arc<RootCertStore> = Arc::new(RootCertStore::empty());
    let (address, roots) = server(ended).await;
    let hello = spoken(address, &roots, "proxy.test", USUAL).await;
    assert!(matches!(hello, Hello::Untrusted(CertificateError::ExpiredContext { .. }, Some(_))));
    let (address, roots) = server(begins).await;
    let hello = spoken(address, &roots, "proxy.test", USUAL).await;
    assert!(matches!(hello, Hello::Untrusted(CertificateError::NotValidYetContext { .. }, Some(_))));
    let (address, roots) = server(|_| {}).await;
    let hello = spoken(address, &roots, "other.test", USUAL).await;
    assert!(matches!(hello, Hello::Untrusted(CertificateError::NotValidForNameContext { .. }, Some(_))));
    let hello = spoken(address, &nobody, "proxy.test", USUAL).await;
    assert!(matches!(hello, Hello::Untrusted(CertificateError::UnknownIssuer, Some(_))));
}

#[tokio::test]
async fn what_speaks_no_tls_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let roots = Network::from_env(|_| None).roots;
    assert!(matches!(spoken(address, &roots, "proxy.test", USUAL).await, Hello::NotTls));
}
