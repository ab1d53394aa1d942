//! What is known when text is computed.

use std::time::SystemTime;

use super::{LogFacts, Maps, Scratch, Variables};
use crate::{
    Endpoint, client_hello::ClientHello, http::query, proxy_protocol::Extensions, rules::Scheme, tls,
};

/// Everything that a placeholder can be about. What does not exist yet is `None`; [`super::Place`] sees to it that no
/// template asks for it.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The client, as rules may have corrected it.
    pub client: Endpoint,
    /// Who really connected.
    pub peer: Endpoint,
    /// The address that the client connected to.
    pub local: Endpoint,
    /// Where it came in.
    pub frontend: &'a str,
    /// Where the request goes.
    pub backend: Option<&'a str>,
    /// Who answered.
    pub server: Option<&'a str>,
    /// What its client has begun TLS with, where that passes through and somebody asks.
    pub client_hello: Option<&'a ClientHello>,
    /// The request.
    pub request: Option<&'a dyn RequestFacts>,
    /// The response.
    pub response: Option<&'a dyn ResponseFacts>,
    /// Those of the client's connection.
    pub session: &'a Variables,
    /// Those of the request and its response.
    pub variables: &'a Variables,
    /// The maps of the configuration.
    pub maps: &'a Maps,
    /// This machine.
    pub host: &'a Host,
    /// The wall clock.
    pub now: SystemTime,
    /// What the client has agreed on with us, if it speaks TLS.
    pub tls: Option<&'a tls::Session>,
    /// What the header of a proxy in front says besides addresses.
    pub proxy_header: Option<&'a Extensions>,
    /// How it went, in a log.
    pub(crate) log: Option<&'a dyn LogFacts>,
    /// Room to compute in.
    pub scratch: &'a Scratch,
}

impl Facts<'_> {
    /// What the client speaks on its connection.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}

/// This machine and process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Host {
    /// Its name in the cluster, or the machine's without one.
    pub node: String,
    /// The kernel's name for it.
    pub hostname: String,
}

/// What placeholders read of a request.
pub trait RequestFacts {
    /// `GET`
    fn method(&self) -> &[u8];
    /// The path, without the query.
    fn path(&self) -> &[u8];
    /// The query without its `?`; empty without one.
    fn query(&self) -> &[u8];
    /// Path and query as a server gets them.
    fn target(&self) -> &[u8];
    /// Host and port, as the client wrote them.
    fn authority(&self) -> Option<&[u8]>;
    /// `1.1`
    fn version(&self) -> &'static str;
    /// The value of the last field line of that name, compared without regard to case.
    fn field(&self, name: &[u8]) -> Option<&[u8]>;
    /// Shows all lines of that name, in their order; none of a request whose head is gone.
    fn lines(&self, name: &[u8], look: &mut dyn FnMut(&[u8])) {
        let _ = (name, look);
    }
    /// The value of the first parameter of that name in the query that has one, as it was sent. The name may be encoded, as
    /// a server knows it however it is spelled.
    fn parameter(&self, name: &[u8]) -> Option<&[u8]> {
        query::values(self.query(), name).next()
    }
    /// The value of the first cookie of that name.
    fn cookie(&self, name: &[u8]) -> Option<&[u8]>;
    /// Shows `look` the values of the cookies of that name, as they were sent, until it returns true. False if there is none.
    fn each_cookie(&self, name: &[u8], look: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// Does `test` hold for the value of a cookie of that name, as it was sent or as some server understands it, which
    /// may read others than [`Self::cookie`]? `None` if there is none.
    fn any_cookie(&self, name: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool>;
}

/// What placeholders read of a response.
pub trait ResponseFacts {
    /// 200
    fn status(&self) -> u16;
    /// The value of the last field line of that name, compared without regard to case.
    fn field(&self, name: &[u8]) -> Option<&[u8]>;
}
