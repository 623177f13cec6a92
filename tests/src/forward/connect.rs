//! HTTP's `CONNECT` (RFC 9110, 9.3.6), Basic authentication (RFC 7617), and requests in plain http,
//! which are carried on as they come (RFC 9112, 3.2.2).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};

use super::{Client, Shared};

/// A head may be so long.
const HEAD: usize = 16 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(client: &mut Client, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    let head = head(client).await?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "no request for a tunnel");
    let mut words = head.split(' ');
    let (method, target) = words.next().zip(words.next()).ok_or_else(bad)?;
    if method != "CONNECT" {
        let authority = target.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        return carry(client, &head, authority.ok_or_else(bad)?, shared).await;
    }
    let slot = shared.log.asked(peer, target);
    if !allowed(&head, shared) {
        shared.log.answered(slot, Some(407));
        client.write_all(&words_of(407)).await?;
        return client.shutdown().await;
    }
    let answer = shared.decide(client, target, 502).await?;
    shared.answer(client, slot, answer, |refused| words_of(refused.unwrap_or(200))).await
}

/// A request in plain http, and whatever follows on its connection, goes to that host. The request target
/// stays in its absolute form, which every server has to accept.
async fn carry(client: &mut Client, head: &str, authority: &str, shared: &Shared) -> io::Result<()> {
    let target = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut server = shared.connect(&target).await?;
    server.write_all(head.as_bytes()).await?;
    copy_bidirectional(client, &mut server).await.map(drop)
}

/// The bytes up to the empty line, that included. A client waits for the answer, so nothing follows.
async fn head(client: &mut Client) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = client.read_u8().await?;
        head.push(byte);
        if head.len() > HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a head too long"));
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn allowed(head: &str, shared: &Shared) -> bool {
    let Some((user, password)) = &shared.options.password else { return true };
    let right = base64(format!("{user}:{password}").as_bytes());
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
        .any(|(_, value)| value.strip_prefix("Basic ").is_some_and(|value| value == right))
}

fn words_of(status: u16) -> Vec<u8> {
    match status {
        200 => b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        407 => b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            .to_vec(),
        status => {
            format!("HTTP/1.1 {status} Injected\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into()
        }
    }
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| three.get(at).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, a, b, c]);
        for digit in 0..4 {
            let at = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= three.len() { DIGITS[at as usize].into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
