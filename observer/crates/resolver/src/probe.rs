//! One query to one server, to learn of that server. In: a question, and how it is sent. Out: the answer, or how
//! there was none. Nothing is repeated and nothing is kept.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::wire::{Answer, Question};

/// Bytes of an answer.
const ANSWER_MAX: usize = 65_535;

/// How a query is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Over UDP, as go sends it
    Edns,
    /// Over UDP without EDNS, as before 1999
    Plain,
    /// Over TCP
    Tcp,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NoAnswer {
    /// Nothing came
    #[error("no answer")]
    Silent,
    /// Nobody listens there
    #[error("nobody listens there")]
    Refused,
    /// It could not be sent
    #[error("{0}")]
    Failed(String),
}

/// Asks once.
pub async fn ask(
    server: SocketAddr,
    question: &Question,
    way: Way,
    patience: Duration,
) -> Result<Answer, NoAnswer> {
    let exchange = async {
        match way {
            Way::Tcp => over_tcp(server, question).await,
            Way::Edns => over_udp(server, question, true).await,
            Way::Plain => over_udp(server, question, false).await,
        }
    };
    match timeout(patience, exchange).await {
        Err(_) => Err(NoAnswer::Silent),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(NoAnswer::Refused),
        Ok(Err(error)) => Err(NoAnswer::Failed(error.to_string())),
        Ok(Ok(answer)) => Ok(answer),
    }
}

async fn over_udp(server: SocketAddr, question: &Question, edns: bool) -> io::Result<Answer> {
    // A port of its own: an answer that somebody forges must guess it.
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let id = fastrand::u16(..);
    socket.send(&question.query(id, edns)).await?;
    let mut buffer = vec![0; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = Answer::parse(&buffer[..length], id, question) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let id = fastrand::u16(..);
    let query = question.query(id, true);
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes()[..], &query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Answer::parse(&answer, id, question).ok_or_else(|| io::Error::other("it answers something else"))
}
