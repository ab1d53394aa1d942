//! A request, and what its answer has to be. The answer is read with the codec of the data plane, so that what it
//! would refuse from a server fails the check as well.

use super::{Inbox, Step, ended_early, response_error};
use crate::{
    Endpoint,
    config::{HttpCheck, HttpExpect, HttpVersion, Pattern},
    health::outcome::Outcome,
    http::{
        body::Decoder,
        head::{Fields, Progress, request::Method, response::Head},
    },
    status::CheckCode,
};

/// Bytes of content that are looked at.
const CONTENT: usize = 16 * 1024;

/// 1xx responses before the final one.
const INTERIM: u32 = 8;

#[derive(Debug)]
pub(crate) struct Talk<'c> {
    check: &'c HttpCheck,
    address: Endpoint,
    state: State,
    /// Reason phrase of the answer.
    phrase: Vec<u8>,
    interim: u32,
}

#[derive(Debug)]
enum State {
    Begin,
    Head(Progress),
    Content { status: u16, decoder: Decoder, content: Vec<u8> },
}

impl<'c> Talk<'c> {
    pub(super) fn new(check: &'c HttpCheck, address: Endpoint) -> Self {
        Self { check, address, state: State::Begin, interim: 0, phrase: Vec::new() }
    }

    pub(super) fn step(&mut self, inbox: &mut Inbox) -> Step {
        loop {
            match &mut self.state {
                State::Begin => {
                    self.state = State::Head(Progress::default());
                    return Step::Say(self.request());
                }
                State::Head(progress) => {
                    let mut fields = Fields::default();
                    let head = match Head::parse(&inbox.bytes, progress, &mut fields) {
                        Ok(Some(head)) => head,
                        Ok(None) | Err(_) if !is_http(&inbox.bytes) => {
                            return response_error("the answer is not HTTP");
                        }
                        Ok(None) if inbox.ended => return Step::End(ended_early(inbox), b""),
                        Ok(None) => return Step::Listen,
                        Err(fault) => return response_error(fault.to_string()),
                    };
                    let method = if self.check.method == "HEAD" { Method::Head } else { Method::Get };
                    let response = match head.check(method, false) {
                        Ok(response) => response,
                        Err(fault) => return response_error(fault.to_string()),
                    };
                    self.phrase = head.reason().to_vec();
                    inbox.bytes.drain(..response.length);
                    if response.status < 200 {
                        self.interim += 1;
                        if self.interim > INTERIM {
                            return response_error("too many interim responses");
                        }
                        self.state = State::Head(Progress::default());
                        continue;
                    }
                    let (status, decoder) = (response.status, Decoder::new(response.framing, false));
                    if let Some(outcome) = self.judge_status(status) {
                        return Step::End(outcome, b"");
                    }
                    self.state = State::Content { status, decoder, content: Vec::new() };
                }
                State::Content { status, decoder, content } => {
                    while !inbox.bytes.is_empty() && !decoder.is_done() {
                        let step = match decoder.decode(&mut inbox.bytes) {
                            Ok(step) => step,
                            Err(fault) => return response_error(fault.to_string()),
                        };
                        content.extend_from_slice(&inbox.bytes[..step.payload]);
                        inbox.bytes.drain(..step.consumed);
                        if step.consumed == 0 {
                            break;
                        }
                    }
                    if inbox.ended && !decoder.is_done() && decoder.end().is_err() {
                        let (_, info) = judge_content(self.check, content, true).unwrap_or_default();
                        let outcome = Outcome::new(CheckCode::L7Response, "content ends too early");
                        return Step::End(outcome.saying(info), b"");
                    }
                    let complete = decoder.is_done() || content.len() >= CONTENT;
                    content.truncate(CONTENT);
                    let (status, content) = (*status, &*content);
                    return match judge_content(self.check, content, complete) {
                        None => Step::Listen,
                        Some((_, "")) => Step::End(passed(status), b""),
                        Some((what, info)) => {
                            let what = format!("{status} {what}");
                            let outcome = failed(self.check, CheckCode::L7Response, status, &what);
                            Step::End(outcome.saying(info), b"")
                        }
                    };
                }
            }
        }
    }

    fn request(&self) -> Vec<u8> {
        let HttpCheck { method, path, version, host, headers, body, .. } = self.check;
        let version = match version {
            HttpVersion::Http10 => "1.0",
            HttpVersion::Http11 => "1.1",
        };
        let host = host.clone().unwrap_or_else(|| match self.address {
            Endpoint::Ip(address) => address.to_string(),
            Endpoint::Unix => "localhost".to_owned(),
        });
        let given = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut request = format!("{method} {path} HTTP/{version}\r\nHost: {host}\r\n");
        for (name, value) in [("User-Agent", "lbctl"), ("Accept", "*/*")] {
            if !given(name) {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("Connection: close\r\n\r\n");
        request.push_str(body.as_deref().unwrap_or_default());
        request.into_bytes()
    }

    /// `None` if the content decides.
    fn judge_status(&self, status: u16) -> Option<Outcome> {
        let HttpCheck { expect, refuse, .. } = self.check;
        let has = |list: &HttpExpect| list.status.iter().any(|range| range.contains(&status));
        let wanted = if expect.status.is_empty() { (200..400).contains(&status) } else { has(expect) };
        if !wanted || has(refuse) {
            let outcome = failed(self.check, CheckCode::L7Status, status, &status.to_string());
            return Some(outcome.saying(&self.phrase));
        }
        if expect.content.is_some() || refuse.content.is_some() {
            return None;
        }
        Some(passed(status))
    }
}

/// Can an answer begin so?
fn is_http(bytes: &[u8]) -> bool {
    let length = bytes.len().min(b"HTTP/".len());
    bytes[..length] == b"HTTP/"[..length]
}

/// What is wrong with the content, in our words and in HAProxy's; both empty if nothing is. `None` if more of it is needed.
fn judge_content(check: &HttpCheck, content: &[u8], complete: bool) -> Option<(&'static str, &'static str)> {
    let HttpCheck { expect, refuse, .. } = check;
    let has = |pattern: &Option<Pattern>| pattern.as_ref().map(|pattern| pattern.is_in(content));
    if content.is_empty() && complete {
        return Some(("without content", "HTTP content check could not find a response body"));
    }
    if has(&refuse.content) == Some(true) {
        return Some(("with content that must not come", "HTTP check matched unwanted content"));
    }
    match has(&expect.content) {
        // What must not come may still come.
        Some(true) | None if complete || refuse.content.is_none() => Some(("", "")),
        Some(false) if complete => Some(("without the expected content", "HTTP content check did not match")),
        _ => None,
    }
}

fn failed(check: &HttpCheck, code: CheckCode, status: u16, what: &str) -> Outcome {
    let HttpCheck { method, path, .. } = check;
    Outcome::with_status(code, status, format!("{what} on {method} {path}"))
}

fn passed(status: u16) -> Outcome {
    Outcome::with_status(CheckCode::L7Ok, status, status.to_string())
}
