//! Why a message is refused.

/// What is wrong with a message. Each says how a request is answered ([`Self::status`]); a response with any of them is
/// a 502.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// RFC 9112 §2.2
    #[error("line ends in LF alone")]
    BareLf,
    /// RFC 9112 §3, §4
    #[error("invalid start line")]
    StartLine,
    /// RFC 9112 §3.2, RFC 3986
    #[error("invalid request target")]
    Target,
    /// RFC 9110 §15.6.6
    #[error("version not supported")]
    Version,
    /// RFC 9110 §9.1: methods have a case.
    #[error("method in another case")]
    MethodCase,
    /// RFC 9110 §9.3.6; tunnels for clients are not offered.
    #[error("method CONNECT")]
    Connect,
    /// Longer than `MAX_LINE`: RFC 9112 §3.
    #[error("request line too long")]
    RequestLineTooLong,
    /// Longer than `MAX_LINE`.
    #[error("line too long")]
    LineTooLong,
    /// Longer than `MAX_HEAD`.
    #[error("head too large")]
    HeadTooLarge,
    /// More than `MAX_FIELDS`.
    #[error("too many fields")]
    TooManyFields,
    /// RFC 9112 §2.2: white space between the start line and the first field.
    #[error("white space before the first field")]
    LeadingSpace,
    /// RFC 9112 §5.2
    #[error("field continues on the next line")]
    ObsoleteFold,
    /// RFC 9112 §5
    #[error("field line without colon")]
    NoColon,
    /// RFC 9112 §5.1
    #[error("white space before the colon")]
    SpaceBeforeColon,
    /// RFC 9110 §5.1
    #[error("invalid field name")]
    FieldName,
    /// RFC 9110 §5.5
    #[error("control character in a field value")]
    FieldValue,
    /// RFC 9112 §3.2
    #[error("no Host")]
    NoHost,
    /// RFC 9112 §3.2
    #[error("more than one Host")]
    SeveralHosts,
    /// RFC 9112 §3.2
    #[error("invalid Host")]
    Host,
    /// RFC 9112 §3.2.2: the target names one authority and Host another.
    #[error("Host differs from the target")]
    HostMismatch,
    /// Nothing is wrong with it: one of our rules has written a Host that is none.
    #[error("a rule has written an invalid Host")]
    RewrittenHost,
    /// Nothing is wrong with it: our rules made its head too large.
    #[error("rules made the head too large")]
    FailedRewrite,
    /// A rule looks at the path, which servers read in different ways.
    #[error("ambiguous path")]
    AmbiguousPath,
    /// RFC 9112 §6.3
    #[error("invalid Content-Length")]
    ContentLength,
    /// RFC 9112 §6.1
    #[error("Content-Length and Transfer-Encoding")]
    BothFramings,
    /// RFC 9112 §6.1
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// RFC 9112 §6.3
    #[error("invalid Transfer-Encoding")]
    TransferEncoding,
    /// RFC 9112 §6.1
    #[error("unknown transfer coding")]
    TransferCoding,
    /// RFC 9110 §9.3.1: HTTP/1.0 has no way to say that such content is meant.
    #[error("content in a GET, HEAD or DELETE of HTTP/1.0")]
    UnexpectedContent,
    /// More than fields are allowed.
    #[error("too many connection options")]
    TooManyOptions,
    /// RFC 9110 §10.1.1
    #[error("unknown expectation")]
    Expectation,
    /// RFC 6455 §4.2.1
    #[error("WebSocket handshake without key")]
    WebSocketKey,
    /// RFC 9110 §7.8: 101 without having been asked, or to something else.
    #[error("unexpected 101")]
    SwitchingProtocols,
}

impl Malformed {
    /// The status that a request with this fault is answered with.
    pub fn status(self) -> u16 {
        match self {
            Self::Connect => 405,
            Self::RequestLineTooLong => 414,
            Self::Expectation => 417,
            Self::LineTooLong | Self::HeadTooLarge | Self::TooManyFields => 431,
            // As in HAProxy: not the client's fault.
            Self::FailedRewrite => 500,
            Self::TransferCoding => 501,
            Self::Version => 505,
            Self::BareLf
            | Self::StartLine
            | Self::MethodCase
            | Self::RewrittenHost
            | Self::Target
            | Self::LeadingSpace
            | Self::ObsoleteFold
            | Self::NoColon
            | Self::SpaceBeforeColon
            | Self::FieldName
            | Self::FieldValue
            | Self::NoHost
            | Self::SeveralHosts
            | Self::Host
            | Self::HostMismatch
            | Self::AmbiguousPath
            | Self::ContentLength
            | Self::BothFramings
            | Self::TransferEncodingInHttp10
            | Self::TransferEncoding
            | Self::UnexpectedContent
            | Self::TooManyOptions
            | Self::WebSocketKey
            | Self::SwitchingProtocols => 400,
        }
    }
}
