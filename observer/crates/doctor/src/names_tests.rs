//! Name servers with one fault each.

use model::doctor::State;
use tokio::net::UdpSocket;

use super::*;

/// Answers over UDP: its argument says what, by type.
async fn server(act: fn(u16, &[u8]) -> Option<Vec<u8>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let query = &buffer[..length];
            // The type is behind the name's end.
            let at = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
            let kind = u16::from_be_bytes([query[at], query[at + 1]]);
            if let Some(answer) = act(kind, &query[..at + 4]) {
                let _ = socket.send_to(&answer, peer).await;
            }
        }
    });
    address
}

fn answer(question: &[u8], rcode: u8, address: Option<[u8; 4]>) -> Vec<u8> {
    let counts = [0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0];
    let mut message = [&question[..2], &[0x81, 0x80 | rcode], &counts, &question[12..]].concat();
    if let Some(address) = address {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(address);
    }
    message
}

fn healthy(kind: u16, question: &[u8]) -> Option<Vec<u8>> {
    Some(answer(question, NOERROR, (kind == A).then_some([192, 0, 2, 1])))
}

async fn checked(servers: &[SocketAddr], host: &str) -> (Vec<Check>, Addresses) {
    let servers = Servers { addresses: servers.to_vec(), ..Servers::parse("nameserver 192.0.2.53\n") };
    check(&servers, "192.0.2.9 local.test # proxy.test\n", &[host.to_owned()]).await
}

fn findings(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter_map(|check| check.finding.as_deref()).collect()
}

#[tokio::test]
async fn of_a_healthy_server_nothing_is_said_and_hosts_files_come_first() {
    let one = server(healthy).await;
    let (checks, addresses) = checked(&[one], "proxy.test").await;
    assert_eq!((findings(&checks).len(), checks[0].state), (0, State::Good), "{checks:?}");
    assert_eq!(addresses["proxy.test"], [IpAddr::from([192, 0, 2, 1])]);
    let (checks, addresses) = checked(&[], "local.test").await;
    assert_eq!(addresses["local.test"], [IpAddr::from([192, 0, 2, 9])]);
    assert!(checks[0].what.contains("/etc/hosts"), "{checks:?}");
}

#[tokio::test]
async fn each_server_is_judged_by_what_another_says() {
    let good = server(healthy).await;
    let silent = server(|_, _| None).await;
    let unknown = server(|_, question| Some(answer(question, NXDOMAIN, None))).await;
    let failing = server(|_, question| Some(answer(question, SERVFAIL, None))).await;
    let no_aaaa = server(|kind, question| if kind == A { healthy(kind, question) } else { None }).await;
    for (bad, finding) in [
        (silent, "dns-server-silent"),
        (unknown, "dns-nxdomain"),
        (failing, "dns-error"),
        (no_aaaa, "dns-aaaa-silent"),
    ] {
        let (checks, addresses) = checked(&[bad, good], "proxy.test").await;
        assert_eq!(findings(&checks), [finding], "{checks:?}");
        assert!(!checks[0].proof.is_empty() && checks[0].fix.is_some(), "{checks:?}");
        assert!(addresses.contains_key("proxy.test"));
    }
}

#[tokio::test]
async fn a_server_that_drops_edns_is_named() {
    let edns = server_by_length().await;
    let (checks, _) = checked(&[edns], "proxy.test").await;
    assert_eq!(findings(&checks), ["dns-edns-dropped"], "{checks:?}");
}

/// A server that does not answer what is longer than a plain question.
async fn server_by_length() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            if buffer[11] == 0 {
                let kind = u16::from_be_bytes([buffer[length - 4], buffer[length - 3]]);
                let _ = socket.send_to(&healthy(kind, &buffer[..length]).unwrap(), peer).await;
            }
        }
    });
    address
}
