//! A gateway between a client and an upstream that does what a test wants.

mod faults;
mod serving;
mod upstream;
