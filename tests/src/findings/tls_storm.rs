//! A Go server with default TLS settings under a storm of HTTP/2 clients: where handshakes wait.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::programs;
use super::{Table, succeeded};
use crate::stats::median;

const CONNECTIONS: usize = 1000;
const AT_ONCE: [usize; 4] = [1, 4, 16, 64];

/// Server and clients share the machine's CPUs.
pub(super) fn table(runs: usize) -> Result<Table> {
    let program = programs::build(include_str!("storm.go"))?;
    let mut table = Table::new(
        format!(
            "{CONNECTIONS} connections, each with one HTTP/2 request; server and clients on the same CPUs; \
             milliseconds a handshake, median of {runs} runs:"
        ),
        &[
            "clients at once",
            "accepted to hello read",
            "of it reading",
            "hello read to server's part sent",
            "CPU of the server, request included",
            "goroutines ready, not running",
            "waiting for a mutex",
        ],
    );
    for at_once in AT_ONCE {
        let results = (0..runs).map(|_| storm(&program.path, at_once)).collect::<Result<Vec<_>>>()?;
        let of = |name: &str| {
            let values: Vec<f64> = results.iter().filter_map(|result| result[name].as_f64()).collect();
            format!("{:.3}", median(&values))
        };
        table.row([
            at_once.to_string(),
            of("until_hello"),
            of("reading"),
            of("until_keys"),
            of("cpu"),
            of("ready"),
            of("locked"),
        ]);
    }
    Ok(table)
}

fn storm(program: &std::path::Path, at_once: usize) -> Result<Value> {
    let mut server = Command::new(program)
        .arg("server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the server")?;
    let mut said = BufReader::new(server.stdout.take().context("the server's output")?);
    let mut address = String::new();
    said.read_line(&mut address).context("read the server's address")?;
    let arguments = ["clients", address.trim(), &at_once.to_string(), &CONNECTIONS.to_string()];
    let clients = Command::new(program).args(arguments).output();
    drop(server.stdin.take()); // its input ends, and so does it
    let mut result = String::new();
    said.read_to_string(&mut result).context("read the server's figures")?;
    server.wait()?;
    succeeded(&clients.context("start the clients")?)?;
    let result: Value = serde_json::from_str(&result).context("the server's figures")?;
    ensure!(result["handshakes"].as_f64() == Some(CONNECTIONS as f64), "not every handshake: {result}");
    Ok(result)
}
