//! Compression of responses: which ones, and how their content becomes the coded one.
//!
//! ```text
//! request ── accept ──> Algorithm ──┐
//! response's head ── head ──────────┴──> Coder ── content ──> coded content, in chunks
//! ```
//! A compressor has 380 kB. A worker has a few, and lends one only while bytes flow: where a server pauses, what was given
//! to the compressor is flushed, and the next bytes begin with another one. Where compression has had its share of the
//! worker's time there is none, and content is passed on as it is.

mod accept;
mod coder;
mod head;
mod pool;
mod share;

pub(crate) use self::{
    accept::of_request,
    coder::{Coder, Flush},
    head::of_response,
    pool::Compressors,
};
