//! The second process: runs the VRRP machines, and nothing that can make them late.

pub mod protocol;
