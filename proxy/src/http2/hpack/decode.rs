//! What a client sends.

use super::{TABLE_SIZE, huffman, table::Table};

/// A field section that can't be decoded: the connection is over, as its tables can't be trusted (RFC 7541 §2.1, RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// RFC 7541 §5.1
    #[error("integer that is cut off or too large")]
    Integer,
    /// RFC 7541 §5.2
    #[error("string that is cut off or not in its code")]
    Text,
    /// RFC 7541 §2.3.3
    #[error("index of no entry")]
    Index,
    /// RFC 7541 §4.2, §6.3
    #[error("change of the table's size that is too large or out of place")]
    Size,
    /// Whoever takes the fields has had enough (RFC 7541 §7.3: a byte may stand for a whole entry).
    #[error("more fields than are taken")]
    Enough,
}

/// Room for a name and a value that are in the code of Huffman.
#[derive(Debug, Default)]
pub struct Room {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Decodes the field sections of one connection, in their order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table::new(TABLE_SIZE) }
    }
}

impl Decoder {
    /// Hands the fields of a whole section to `take`, one after the other.
    ///
    /// # Errors
    /// See [`Fault`]; nothing may be decoded after one.
    pub fn decode(&mut self, section: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Result<(), Fault> {
        self.decode_in(&mut Room::default(), section, |name, value| {
            take(name, value);
            true
        })
    }

    /// The same in a room that is there, as long as `take` says that it takes more.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_in(
        &mut self,
        room: &mut Room,
        mut section: &[u8],
        mut take: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Fault> {
        let mut take =
            |name: &[u8], value: &[u8]| if take(name, value) { Ok(()) } else { Err(Fault::Enough) };
        let mut is_first = true;
        while let Some(&byte) = section.first() {
            if byte & 0x80 != 0 {
                let index = integer(&mut section, 7)?;
                let (name, value) = self.table.field(index).ok_or(Fault::Index)?;
                take(name, value)?;
            } else if byte & 0xe0 == 0x20 {
                let size = integer(&mut section, 5)?;
                if !is_first || size > TABLE_SIZE {
                    return Err(Fault::Size);
                }
                self.table.resize(size);
                continue;
            } else {
                let is_kept = byte & 0x40 != 0;
                let index = integer(&mut section, if is_kept { 6 } else { 4 })?;
                if index == 0 {
                    let name = text(&mut section, &mut room.name)?;
                    let value = text(&mut section, &mut room.value)?;
                    take(name, value)?;
                    if is_kept {
                        self.table.insert(name, value);
                    }
                } else {
                    let value = text(&mut section, &mut room.value)?;
                    let (name, _) = self.table.field(index).ok_or(Fault::Index)?;
                    take(name, value)?;
                    if is_kept {
                        // Making room may throw out the very entry that the name is of.
                        room.name.clear();
                        room.name.extend_from_slice(name);
                        self.table.insert(&room.name, value);
                    }
                }
            }
            is_first = false;
        }
        Ok(())
    }
}

/// RFC 7541 §5.1: an integer whose prefix has so many bits.
fn integer(bytes: &mut &[u8], prefix: u32) -> Result<usize, Fault> {
    let (first, mut rest) = bytes.split_first().ok_or(Fault::Integer)?;
    let mask = u8::MAX >> (8 - prefix);
    let mut value = usize::from(first & mask);
    if value == usize::from(mask) {
        // Four bytes more are enough for whatever is allowed, and say nothing in more.
        for shift in [0, 7, 14, 21] {
            let (byte, behind) = rest.split_first().ok_or(Fault::Integer)?;
            rest = behind;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *bytes = rest;
                return Ok(value);
            }
        }
        return Err(Fault::Integer);
    }
    *bytes = rest;
    Ok(value)
}

/// RFC 7541 §5.2: as it stands, or decoded into `room`.
fn text<'t, 's: 't>(bytes: &mut &'s [u8], room: &'t mut Vec<u8>) -> Result<&'t [u8], Fault> {
    let is_coded = bytes.first().ok_or(Fault::Text)? & 0x80 != 0;
    let length = integer(bytes, 7)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Fault::Text)?;
    *bytes = rest;
    if !is_coded {
        return Ok(text);
    }
    room.clear();
    huffman::decode(text, room).ok_or(Fault::Text)?;
    Ok(room)
}
