//! Frames (RFC 9113 §4): nine bytes that say what follows, and the codes with which errors are told.

use std::fmt;

use crate::http::headers::Sink;

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame before its payload.
pub const HEADER: usize = 9;

/// The longest payload that is taken: what every client assumes (RFC 9113 §4.2).
pub const LONGEST: usize = 16_384;

/// The last frame of its sender on its stream (DATA, HEADERS).
pub const END_STREAM: u8 = 0x1;
/// An answer (SETTINGS, PING).
pub const ACK: u8 = 0x1;
/// The field section is whole (HEADERS, CONTINUATION).
pub const END_HEADERS: u8 = 0x4;
/// Padding follows (DATA, HEADERS).
pub const PADDED: u8 = 0x8;
/// A priority stands before the fields (HEADERS).
pub const PRIORITY: u8 = 0x20;

/// What a frame is (RFC 9113 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Content.
    Data,
    /// The fields of a message, or the first of them.
    Headers,
    /// Nothing that is looked at any more (RFC 9113 §5.3.2).
    Priority,
    /// The end of a stream before its time.
    ResetStream,
    /// What the sender wants of its peer.
    Settings,
    /// Never from a client, and of no use from a server.
    PushPromise,
    /// A question whether anybody is there.
    Ping,
    /// No more streams.
    GoAway,
    /// More may be sent.
    WindowUpdate,
    /// More fields.
    Continuation,
    /// To be ignored (RFC 9113 §5.5).
    Other(u8),
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::ResetStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Other(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::ResetStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Other(other) => other,
        }
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Bytes of the payload.
    pub length: usize,
    /// What it is.
    pub kind: Kind,
    /// What they mean is up to the kind.
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
}

impl Header {
    /// At the start of `bytes`, if it is whole.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEADER>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // The first bit means nothing.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Some(Self { length, kind: Kind::of(kind), flags, stream })
    }

    /// As it is sent.
    #[must_use]
    pub fn bytes(self) -> [u8; HEADER] {
        let [_, a, b, c] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind.byte(), self.flags, d, e, f, g]
    }

    /// Is this flag set?
    #[must_use]
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame.
pub fn put(kind: Kind, flags: u8, stream: u32, payload: &[u8], out: &mut impl Sink) {
    out.put(&Header { length: payload.len(), kind, flags, stream }.bytes());
    out.put(payload);
}

/// Why something ends (RFC 9113 §7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the names of the RFC")]
pub enum ErrorCode {
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}

impl ErrorCode {
    /// Those that have a meaning here.
    pub(super) const ALL: [Self; 10] = [
        Self::NoError,
        Self::Protocol,
        Self::Internal,
        Self::FlowControl,
        Self::StreamClosed,
        Self::FrameSize,
        Self::RefusedStream,
        Self::Cancel,
        Self::Compression,
        Self::EnhanceYourCalm,
    ];

    /// As it is sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        (self as u32).to_be_bytes()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoError => "NO_ERROR",
            Self::Protocol => "PROTOCOL_ERROR",
            Self::Internal => "INTERNAL_ERROR",
            Self::FlowControl => "FLOW_CONTROL_ERROR",
            Self::StreamClosed => "STREAM_CLOSED",
            Self::FrameSize => "FRAME_SIZE_ERROR",
            Self::RefusedStream => "REFUSED_STREAM",
            Self::Cancel => "CANCEL",
            Self::Compression => "COMPRESSION_ERROR",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
        })
    }
}

/// What is wrong, and how the peer is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code}: {why}")]
pub struct Failure {
    /// For the peer.
    pub code: ErrorCode,
    /// For the log.
    pub why: &'static str,
}

impl Failure {
    pub(crate) const fn new(code: ErrorCode, why: &'static str) -> Self {
        Self { code, why }
    }
}
