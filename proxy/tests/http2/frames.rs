//! Frames as a client writes and reads them, put together by hand.

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Nobody answers it: `:method GET, :scheme http, :path /, :authority a`.
pub(crate) const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

/// It is answered at once: the same with `:path /index.html`.
pub(crate) const GET_ANSWERED: &[u8] = b"\x82\x86\x85\x01\x01a";

/// The same with `:method POST`, which nobody answers.
pub(crate) const POST: &[u8] = b"\x83\x86\x84\x01\x01a";

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// At the start of `bytes`, with its length.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<9>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let payload = bytes.get(9..9 + length)?.to_vec();
        Some((Self { kind, flags, stream: u32::from_be_bytes(stream), payload }, 9 + length))
    }

    /// The code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(*self.payload[at..].first_chunk().unwrap())
    }
}

/// All frames in `bytes`, which are whole.
pub(crate) fn read_all(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((frame, length)) = Frame::read(bytes) {
        frames.push(frame);
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "{bytes:?}");
    frames
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A request without content.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, GET)
}

/// A request whose content follows.
pub(crate) fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, POST)
}

/// A field as a literal.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| -> Vec<u8> {
        match u8::try_from(text.len()) {
            Ok(length @ 0..127) => vec![length],
            _ => {
                let mut bytes = vec![127];
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    bytes.push(128 | (rest & 127) as u8);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
                bytes
            }
        }
    };
    [&[0][..], &length(name), name.as_bytes(), &length(value), value.as_bytes()].concat()
}

/// A setting.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}
