//! `goobserve watch`: every go command on the machine.
