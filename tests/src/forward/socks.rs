//! SOCKS5 (RFC 1928) with no authentication or user and password (RFC 1929).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Client, Shared};

// Ways to authenticate: none, user and password, none that is accepted.
const NOTHING: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_OF_THEM: u8 = 0xff;

/// Serves a connection to its end.
pub(super) async fn serve(client: &mut Client, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    let [_version, ways] = [client.read_u8().await?, client.read_u8().await?];
    let mut offered = vec![0; usize::from(ways)];
    client.read_exact(&mut offered).await?;
    let wanted = if shared.options.password.is_some() { PASSWORD } else { NOTHING };
    let way = if offered.contains(&wanted) { wanted } else { NONE_OF_THEM };
    client.write_all(&[5, way]).await?;
    client.flush().await?;
    if way == NONE_OF_THEM || (way == PASSWORD && !is_let_in(client, shared).await?) {
        return client.shutdown().await;
    }

    let target = target(client).await?;
    let slot = shared.log.asked(peer, &target);
    let answer = shared.decide(client, &target, 4).await?;
    let reply = |refused: Option<u16>| {
        let code = refused.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::from(refused.is_some()));
        vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
    };
    shared.answer(client, slot, answer, reply).await
}

async fn text(client: &mut Client) -> io::Result<String> {
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn is_let_in(client: &mut Client, shared: &Shared) -> io::Result<bool> {
    let _version = client.read_u8().await?;
    let given = (text(client).await?, text(client).await?);
    let right = shared.options.password.as_ref() == Some(&given);
    client.write_all(&[1, u8::from(!right)]).await?;
    client.flush().await?;
    Ok(right)
}

async fn target(client: &mut Client) -> io::Result<String> {
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => Ipv4Addr::from_bits(client.read_u32().await?).to_string(),
        3 => text(client).await?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "the lab's targets are names and IPv4")),
    };
    Ok(format!("{host}:{}", client.read_u16().await?))
}
