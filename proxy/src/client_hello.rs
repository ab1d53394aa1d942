//! The first message of a TLS client, looked at while it passes through: which server it wants, before anything is
//! encrypted (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1).
//!
//! ```text
//! record:    22 | 3, minor | length 2 | fragment                    as many as the message takes
//! handshake: 1 | length 3 | version 2 | random 32 | session id <1> | cipher suites <2> | compression <1> | extensions <2>
//! extension: type 2 | value <2>
//! ```
//! Pure: bytes in, a value out. What is not as it should be is no ClientHello: whoever reads it in another way than the
//! server behind would send the connection elsewhere.

use std::borrow::Cow;

/// Bytes that are looked at, at most: records and all. Clients send 200 to 2,000.
pub const LONGEST: usize = 16 * 1024;

/// What is known of a client from its ClientHello.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientHello {
    /// The name of the server that it wants, in lower case; empty if it names none.
    pub sni: Box<[u8]>,
    /// The protocols that it would speak, in its order, with commas between them (`h2,http/1.1`); empty if it names none.
    pub alpn: Box<[u8]>,
    /// The highest version that it offers: 0x0303 is TLS 1.2, 0x0304 TLS 1.3.
    pub version: u16,
}

/// What the bytes of a client begin with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// A ClientHello.
    Whole(ClientHello),
    /// More has to come.
    Part,
    /// Something else, or one that is longer than [`LONGEST`].
    Nothing,
}

/// What is not as it should be.
struct Malformed;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Bytes of a fragment (RFC 8446 §5.1).
const FRAGMENT: usize = 1 << 14;

impl ClientHello {
    /// Looks for one at the start of `bytes`. Says that there is none as early as it can.
    pub fn find(bytes: &[u8]) -> Found {
        match message(bytes) {
            Ok(Some(body)) => Self::read(&body).map_or(Found::Nothing, Found::Whole),
            Ok(None) if bytes.len() < LONGEST => Found::Part,
            Ok(None) | Err(Malformed) => Found::Nothing,
        }
    }

    /// The highest version that it offers, as one says it: `1.3`. `None` for what nobody has a word for.
    pub fn version_name(&self) -> Option<&'static str> {
        Some(match self.version {
            0x0300 => "ssl3",
            0x0301 => "1.0",
            0x0302 => "1.1",
            0x0303 => "1.2",
            0x0304 => "1.3",
            _ => return None,
        })
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut body = Bytes(body);
        let mut hello = Self { version: body.number()?, ..Self::default() };
        body.take(32)?;
        body.short()?;
        body.long()?;
        body.short()?;
        if body.0.is_empty() {
            return Ok(hello);
        }
        let mut extensions = body.long()?;
        body.end()?;
        let mut seen: [bool; 3] = [false; 3];
        while !extensions.0.is_empty() {
            let (kind, value) = (extensions.number()?, extensions.long()?);
            let read: fn(&mut Self, Bytes<'_>) -> Result<(), Malformed> = match kind {
                SERVER_NAME => Self::read_sni,
                ALPN => Self::read_alpn,
                SUPPORTED_VERSIONS => Self::read_versions,
                _ => continue,
            };
            let known = [SERVER_NAME, ALPN, SUPPORTED_VERSIONS].iter().position(|known| *known == kind);
            // Two of one kind are forbidden: servers would differ in which of them counts.
            let is_second = known.is_some_and(|at| std::mem::replace(&mut seen[at], true));
            if is_second {
                return Err(Malformed);
            }
            read(&mut hello, value)?;
        }
        Ok(hello)
    }

    fn read_sni(&mut self, mut value: Bytes<'_>) -> Result<(), Malformed> {
        let mut names = value.long()?;
        value.end()?;
        let (kind, name) = (names.byte()?, names.long()?);
        // No kind but host_name was ever defined, nor may there be two of one.
        names.end()?;
        let is_name = !name.0.is_empty() && name.0.iter().all(u8::is_ascii_graphic);
        if kind != 0 || !is_name {
            return Err(Malformed);
        }
        self.sni = name.0.to_ascii_lowercase().into();
        Ok(())
    }

    fn read_alpn(&mut self, mut value: Bytes<'_>) -> Result<(), Malformed> {
        let mut protocols = value.long()?;
        value.end()?;
        let mut list = Vec::with_capacity(protocols.0.len());
        while !protocols.0.is_empty() {
            let protocol = protocols.short()?;
            if protocol.0.is_empty() {
                return Err(Malformed);
            }
            if !list.is_empty() {
                list.push(b',');
            }
            list.extend_from_slice(protocol.0);
        }
        self.alpn = list.into();
        Ok(())
    }

    fn read_versions(&mut self, mut value: Bytes<'_>) -> Result<(), Malformed> {
        let mut versions = value.short()?;
        value.end()?;
        let mut highest = None;
        while !versions.0.is_empty() {
            let version = versions.number()?;
            // Others are there to be ignored (RFC 8701).
            if version >> 8 == 3 {
                highest = highest.max(Some(version));
            }
        }
        self.version = highest.ok_or(Malformed)?;
        Ok(())
    }
}

/// The ClientHello in the records at the start of `bytes`, without its type and length; `None` if it is not whole.
fn message(mut bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Malformed> {
    let mut message: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        if let Some(body) = body(&message)? {
            return Ok(Some(match message {
                Cow::Borrowed(message) => Cow::Borrowed(&message[4..4 + body]),
                Cow::Owned(message) => Cow::Owned(message[4..4 + body].to_vec()),
            }));
        }
        let known = [bytes.first() == Some(&HANDSHAKE), bytes.get(1) == Some(&3)];
        if bytes.iter().zip(known).any(|(_, is_right)| !is_right) {
            return Err(Malformed);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        // Fragments of handshake messages are not empty.
        if length == 0 || length > FRAGMENT {
            return Err(Malformed);
        }
        let (fragment, rest) = rest.split_at(length.min(rest.len()));
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        if fragment.len() < length {
            return Ok(body(&message)?.map(|body| message[4..4 + body].to_vec().into()));
        }
        bytes = rest;
    }
}

/// Bytes of the body, if all are there.
fn body(message: &[u8]) -> Result<Option<usize>, Malformed> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Malformed);
    }
    let Some((&[_, high, middle, low], rest)) = message.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > LONGEST {
        return Err(Malformed);
    }
    Ok((rest.len() >= length).then_some(length))
}

struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, n: usize) -> Result<Self, Malformed> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(Bytes(taken))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// Behind a length of one byte.
    fn short(&mut self) -> Result<Bytes<'b>, Malformed> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// Behind a length of two.
    fn long(&mut self) -> Result<Bytes<'b>, Malformed> {
        let length = self.number()?;
        self.take(length.into())
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
