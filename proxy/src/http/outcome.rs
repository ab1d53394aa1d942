//! How an exchange ended, in the two letters that HAProxy's users know: who ended it, and where.

use crate::{
    error::{Error, Kind},
    health::passive::Seen,
    metrics::Event,
};

/// Why an exchange did not end well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Termination {
    /// The client ended in the middle of a head.
    ClientAbortInHead,
    /// The client ended before a server was looked for: in the middle of the content that is awaited, or while its password
    /// was checked.
    ClientAbortInContent,
    /// The head did not come in time, or the content that is awaited before a server is looked for.
    ClientTimeoutInHead,
    /// The head or the content of the request is not valid.
    BadRequest,
    /// A rule refused the request.
    Denied,
    /// A rule let the client wait, and refused the request then.
    Tarpitted,
    /// The client ended its side while a rule let it wait.
    ClientAbortInTarpit,
    /// A rule refused the request because its like came too often.
    Limited,
    /// A rule answered the request.
    Answered,
    /// A rule wants a name and a password.
    Challenged,
    /// Too many passwords are to be checked at once.
    AuthBusy,
    /// The client went away while the request waited for a slot.
    ClientAbortInQueue,
    /// The client went away while the request looked for a server.
    ClientAbortInConnect,
    /// No usable server, or none that could be connected to.
    ServerConnect,
    /// No server answered to a connect.
    ServerConnectTimeout,
    /// This machine had no descriptor, port or memory left to connect with.
    NoResources,
    /// Waited too long for a slot.
    QueueTimeout,
    /// The client went away before the response began.
    ClientAbortInResponse,
    /// The client ended its side before the response began, which the file takes for its departure; it may still read.
    ClientEndInResponse,
    /// The client sent no content for too long, before the response began.
    ClientTimeoutInResponse,
    /// The server ended before its response began.
    ServerAbortInHead,
    /// The server did not respond in time.
    ServerTimeoutInHead,
    /// A rule refused the response: the client is answered with this status.
    DeniedResponse(u16),
    /// A rule put an answer with this status in the place of the response.
    ReplacedResponse(u16),
    /// Rules made the head of the request too large.
    FailedRequestRewrite,
    /// Rules made the head of the response too large.
    FailedRewrite,
    /// The head of the response is not valid.
    BadResponse,
    /// The client went away during content.
    ClientAbortInData,
    /// The client neither sent nor took content for too long.
    ClientTimeoutInData,
    /// The server went away during content.
    ServerAbortInData,
    /// The server neither sent nor took content for too long.
    ServerTimeoutInData,
    /// The content of the request is not in its framing, and the response has begun.
    BadRequestData,
    /// The content of the response is not in its framing.
    BadResponseData,
}

impl Termination {
    /// No server was found.
    pub(crate) fn of_search(error: &Error) -> Self {
        match error.kind {
            Kind::QueueTimeout => Self::QueueTimeout,
            Kind::ConnectTimeout => Self::ServerConnectTimeout,
            Kind::NoResources => Self::NoResources,
            Kind::NoServer | Kind::ConnectFailed => Self::ServerConnect,
        }
    }

    /// The first two of HAProxy's four letters.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ClientAbortInHead | Self::ClientAbortInContent => "CR",
            Self::ClientTimeoutInHead => "cR",
            Self::BadRequest | Self::Denied | Self::Limited | Self::FailedRequestRewrite => "PR",
            Self::Tarpitted => "PT",
            Self::ClientAbortInTarpit => "CT",
            Self::Answered | Self::Challenged => "LR",
            Self::AuthBusy => "RR",
            Self::ClientAbortInQueue => "CQ",
            Self::ClientAbortInConnect => "CC",
            Self::ServerConnect => "SC",
            Self::ServerConnectTimeout => "sC",
            Self::NoResources => "RC",
            Self::QueueTimeout => "sQ",
            Self::ClientAbortInResponse | Self::ClientEndInResponse => "CH",
            Self::ClientTimeoutInResponse => "cH",
            Self::ServerAbortInHead => "SH",
            Self::ServerTimeoutInHead => "sH",
            Self::ReplacedResponse(_) => "LH",
            Self::DeniedResponse(_) | Self::FailedRewrite | Self::BadResponse => "PH",
            Self::ClientAbortInData => "CD",
            Self::ClientTimeoutInData => "cD",
            // Content that is not framed as it said is a server that breaks off, as in HAProxy.
            Self::ServerAbortInData | Self::BadResponseData => "SD",
            Self::ServerTimeoutInData => "sD",
            Self::BadRequestData => "PD",
        }
    }

    /// The same for a response that has begun or not: whoever finds that a peer has left may not know. A client that leaves
    /// in the midst of its content is `CD` in HAProxy, too.
    pub(crate) fn with_response(self, has_begun: bool) -> Self {
        match (self, has_begun) {
            (Self::ClientTimeoutInData, false) => Self::ClientTimeoutInResponse,
            (Self::ServerTimeoutInData, false) => Self::ServerTimeoutInHead,
            (Self::ClientAbortInResponse | Self::ClientEndInResponse, true) => Self::ClientAbortInData,
            (Self::BadRequest, true) => Self::BadRequestData,
            (other, _) => other,
        }
    }

    /// What the client is told if nothing was said yet; `None` if there is nobody to tell. A malformed request has a
    /// status of its own.
    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Self::ClientAbortInHead | Self::ClientEndInResponse | Self::BadRequest => Some(400),
            Self::ClientTimeoutInHead | Self::ClientTimeoutInResponse | Self::ClientTimeoutInData => {
                Some(408)
            }
            Self::ServerConnect | Self::ServerConnectTimeout | Self::NoResources | Self::QueueTimeout => {
                Some(503)
            }
            Self::ServerAbortInHead | Self::BadResponse | Self::ServerAbortInData | Self::BadResponseData => {
                Some(502)
            }
            Self::ServerTimeoutInHead | Self::ServerTimeoutInData => Some(504),
            Self::DeniedResponse(status) | Self::ReplacedResponse(status) => Some(status),
            // As in HAProxy: neither the client's fault nor the server's.
            Self::FailedRequestRewrite | Self::FailedRewrite => Some(500),
            Self::Denied
            | Self::Tarpitted
            | Self::ClientAbortInTarpit
            | Self::Limited
            | Self::Answered
            | Self::Challenged
            | Self::AuthBusy
            | Self::ClientAbortInContent
            | Self::ClientAbortInQueue
            | Self::ClientAbortInConnect
            | Self::ClientAbortInResponse
            | Self::ClientAbortInData
            | Self::BadRequestData => None,
        }
    }

    /// What it says of the server to those who watch its traffic, if anything.
    pub(crate) fn seen(self) -> Option<Seen> {
        match self {
            Self::ServerAbortInHead => Some(Seen::Broken),
            Self::ServerTimeoutInHead => Some(Seen::NoResponse),
            Self::BadResponse => Some(Seen::BadResponse),
            _ => None,
        }
    }

    /// The counter that grows; `None` where the search for a server has counted already.
    pub(crate) fn event(self) -> Option<Event> {
        match self {
            Self::ClientTimeoutInHead => Some(Event::RequestTimeout),
            Self::BadRequest | Self::BadRequestData => Some(Event::BadRequest),
            Self::Denied => Some(Event::Denied),
            Self::Tarpitted => Some(Event::Tarpitted),
            // Counted when it began to wait.
            Self::ClientAbortInTarpit => None,
            Self::Limited => Some(Event::RateLimited),
            Self::DeniedResponse(_) => Some(Event::DeniedResponse),
            Self::FailedRequestRewrite | Self::FailedRewrite => Some(Event::FailedRewrite),
            Self::Answered | Self::ReplacedResponse(_) => None,
            Self::Challenged => Some(Event::Unauthorized),
            Self::AuthBusy => Some(Event::AuthBusy),
            Self::ServerConnect | Self::ServerConnectTimeout | Self::NoResources | Self::QueueTimeout => None,
            Self::ClientAbortInHead
            | Self::ClientAbortInContent
            | Self::ClientAbortInQueue
            | Self::ClientAbortInConnect
            | Self::ClientAbortInResponse
            | Self::ClientEndInResponse
            | Self::ClientAbortInData => Some(Event::ClientAbort),
            Self::ServerAbortInHead | Self::ServerAbortInData => Some(Event::ServerAbort),
            Self::ServerTimeoutInHead | Self::ServerTimeoutInData => Some(Event::ServerTimeout),
            Self::BadResponse | Self::BadResponseData => Some(Event::BadResponse),
            Self::ClientTimeoutInResponse | Self::ClientTimeoutInData => Some(Event::ClientTimeout),
        }
    }
}
