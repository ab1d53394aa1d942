//! A response's field section as a head of HTTP/1.1, which is what everything behind looks at (RFC 9113 §8.2, §8.3.2). As strict as
//! [`crate::http2::request`].

use crate::{
    buffer::Buffer,
    http::{
        body::{self, Lengths},
        head::{Version, name::Name},
        headers::{Sink, put_content_length, put_number},
        reason::phrase,
    },
    http2::request::{Framing, check_name, check_value, put_line},
};

/// Puts heads together, one after the other.
#[derive(Debug, Default)]
pub(in crate::http2) struct Writer {
    /// 0: none was seen.
    status: u16,
    has_fields: bool,
    lengths: Lengths,
    fault: Option<&'static str>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http2) enum Written {
    /// Another head follows.
    Interim,
    /// The head of the response, whose content comes so.
    Final(Framing),
}

impl Writer {
    /// Another response begins.
    pub(in crate::http2) fn begin(&mut self) {
        *self = Self::default();
    }

    /// The next field. After a fault nothing is written, but the section has to be decoded to its end.
    pub(in crate::http2) fn field(&mut self, name: &[u8], value: &[u8], out: &mut Buffer) {
        if self.fault.is_none() {
            self.fault = self.try_field(name, value, out).err();
        }
    }

    fn try_field(&mut self, name: &[u8], value: &[u8], out: &mut Buffer) -> Result<(), &'static str> {
        check_value(value)?;
        if let Some(pseudo) = name.strip_prefix(b":") {
            return self.pseudo(pseudo, value, out);
        }
        check_name(name)?;
        if self.status == 0 {
            return Err("no :status");
        }
        self.has_fields = true;
        match Name::of(name) {
            // RFC 9113 §8.2.2
            Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::Upgrade => Err("a field that is about a connection"),
            Name::ContentLength => {
                self.lengths.content_length(value).map_err(|_| "Content-Length that is no number")
            }
            _ => {
                put_line(name, value, out);
                Ok(())
            }
        }
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8], out: &mut Buffer) -> Result<(), &'static str> {
        if name != b"status" || self.status != 0 || self.has_fields {
            return Err("a pseudo-header field that is none of a response, twice, or behind others");
        }
        let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *value else {
            return Err(":status that is none");
        };
        self.status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
        // RFC 9113 §8.6
        if self.status == 101 {
            return Err(":status 101");
        }
        out.push(b"HTTP/1.1 ");
        put_number(self.status.into(), out);
        out.push(b" ");
        out.push(phrase(self.status).as_bytes());
        out.push(b"\r\n");
        Ok(())
    }

    /// The end of the section; `is_all` says if the stream ends with it, `is_head` if it answers HEAD.
    pub(in crate::http2) fn finish(
        &mut self,
        is_all: bool,
        is_head: bool,
        out: &mut Buffer,
    ) -> Result<Written, &'static str> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.status == 0 {
            return Err("no :status");
        }
        if self.status < 200 {
            out.push(b"\r\n");
            return if is_all {
                Err("an interim response that ends its stream")
            } else {
                Ok(Written::Interim)
            };
        }
        let announced = match self.lengths.of_response(Version::Http11) {
            Ok(body::Framing::Length(length)) => Some(length),
            _ => None,
        };
        let framing = if is_head || matches!(self.status, 204 | 304) {
            if let Some(length) = announced.filter(|_| self.status != 204) {
                put_content_length(length, out);
            }
            if is_all { Framing::None } else { Framing::Length(0) }
        } else {
            match (is_all, announced) {
                (true, None | Some(0)) => {
                    put_content_length(0, out);
                    Framing::None
                }
                (true, Some(_)) => return Err("Content-Length without content"),
                (false, Some(length)) => {
                    put_content_length(length, out);
                    Framing::Length(length)
                }
                (false, None) => {
                    out.put(b"Transfer-Encoding: chunked\r\n");
                    Framing::Chunked
                }
            }
        };
        out.push(b"\r\n");
        Ok(Written::Final(framing))
    }
}
