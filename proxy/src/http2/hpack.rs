//! Compressed field sections (RFC 7541): what a peer sends is decoded with its dynamic table, what it gets is encoded without
//! one, as HAProxy does. So an encoder has no state, and a message costs the copy of its fields.

mod decode;
mod encode;
mod huffman;
mod table;

pub use self::{
    decode::{Decoder, Fault, Room},
    encode::{put_authority, put_content_length, put_field, put_request, put_status, put_table_size},
};

/// Bytes of the dynamic table that peers may use: what they assume before they are told anything.
pub const TABLE_SIZE: usize = 4096;

#[cfg(test)]
mod tests;
