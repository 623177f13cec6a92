//! The resolver between a client and name servers with faults, in one process.

mod name_server;
mod probing;
mod serving;
