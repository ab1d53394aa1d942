//! The data plane in this process, over 127.0.0.1: real sockets, ports of the kernel's choice, scripted servers.

#[path = "loopback/rig.rs"]
mod rig;

#[path = "loopback/tcp.rs"]
mod tcp;
