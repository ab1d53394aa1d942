//! The codec against its ledger, `docs/http1.md`: every table entry begins with the row that it stands for.

mod chunks;
mod properties;
mod replies;
mod requests;
mod responses;

use super::head::{Fields, Malformed, Progress, request, response};

/// What a request means and the head that a server would get, without X-Forwarded-For.
fn forward(bytes: &[u8]) -> Result<(request::Request, String), Malformed> {
    forward_for(bytes, None)
}

fn forward_for(
    bytes: &[u8],
    forwarded_for: Option<std::net::IpAddr>,
) -> Result<(request::Request, String), Malformed> {
    let mut fields = Fields::default();
    let head = request::Head::parse(bytes, &mut Progress::default(), &mut fields)?.expect("a whole head");
    let request = head.check()?;
    let mut out = Vec::new();
    let hop = request::Hop { forwarded_for, local: "192.0.2.10:8080".parse().unwrap(), close: false };
    head.encode(&request, &hop, &mut out);
    Ok((request, String::from_utf8_lossy(&out).into_owned()))
}

/// The same for a response to `method`.
fn respond(bytes: &[u8], method: request::Method) -> Result<(response::Response, String), Malformed> {
    let mut fields = Fields::default();
    let head = response::Head::parse(bytes, &mut Progress::default(), &mut fields)?.expect("a whole head");
    let response = head.check(method, false)?;
    let mut out = Vec::new();
    head.encode(&response, &response::Hop { framing: response.framing, close: false }, &mut out);
    Ok((response, String::from_utf8_lossy(&out).into_owned()))
}
