//! A second reader of HTTP/1 messages, which knows nothing of the proxy's: slow, strict, and only what a proxy may send.

use std::fmt;

/// One request as a server understands it.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    pub(crate) framed: Framed,
    pub(crate) content: Vec<u8>,
}

/// One response as a client understands it.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<Field>,
    pub(crate) content: Vec<u8>,
}

/// A field's name in small letters, and its value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// How the end of a content is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framed {
    /// Not at all: in a request there is none, in a response it ends with the connection.
    Nothing,
    Length(usize),
    Chunked,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.method.escape_ascii(), self.target.escape_ascii())?;
        write_rest(f, &self.fields, &self.content)?;
        write!(f, " ({:?})", self.framed)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.status)?;
        write_rest(f, &self.fields, &self.content)
    }
}

/// As text, for whoever reads what went wrong.
fn write_rest(f: &mut fmt::Formatter<'_>, fields: &[Field], content: &[u8]) -> fmt::Result {
    for (name, value) in fields {
        write!(f, "{}: {} | ", name.escape_ascii(), value.escape_ascii())?;
    }
    write!(f, "{}", content.escape_ascii())
}

impl Response {
    pub(crate) fn values(&self, name: &str) -> Vec<&[u8]> {
        let found = self.fields.iter().filter(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value.as_slice()).collect()
    }

    /// The connection ends with it.
    pub(crate) fn closes(&self) -> bool {
        self.values("connection").iter().any(|value| value.eq_ignore_ascii_case(b"close"))
    }
}

/// Lines without CRLF, and the length of them all.
type Head<'b> = (Vec<&'b [u8]>, usize);

/// The head at the start of `bytes`; `None` if it is not whole.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head<'_>>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = Vec::new();
    let mut rest = &bytes[..end + 2];
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        let line = &rest[..at];
        if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(format!("control byte in {:?}", line.escape_ascii().to_string()));
        }
        lines.push(line);
        rest = &rest[at + 2..];
    }
    Ok(Some((lines, end + 4)))
}

/// Name and value of a field line.
pub(crate) fn field(line: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or("no colon")?;
    let name = &line[..colon];
    if name.is_empty()
        || name.iter().any(|byte| byte.is_ascii_whitespace() || b"(),/:;<=>?@[\\]{}\"".contains(byte))
    {
        return Err(format!("name {:?}", name.escape_ascii().to_string()));
    }
    Ok((name.to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
}

/// The field lines of a head, and what they say of the content.
pub(crate) fn fields(lines: &[&[u8]]) -> Result<(Vec<Field>, Framed), String> {
    let (mut fields, mut framed) = (Vec::new(), Vec::new());
    for line in lines {
        let (name, value) = field(line)?;
        match name.as_slice() {
            b"content-length" => framed.push(Framed::Length(decimal(value)?)),
            b"transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => framed.push(Framed::Chunked),
            b"transfer-encoding" => return Err(format!("coding {:?}", value.escape_ascii().to_string())),
            _ => {}
        }
        fields.push((name, value.to_vec()));
    }
    match framed[..] {
        [] => Ok((fields, Framed::Nothing)),
        [one] => Ok((fields, one)),
        _ => Err(format!("framed {framed:?}")),
    }
}

/// The content at the start of `bytes` and how many of them it takes; `None` if it is not whole.
fn content(bytes: &[u8], framed: Framed) -> Result<Option<(Vec<u8>, usize)>, String> {
    match framed {
        Framed::Nothing => Ok(Some((Vec::new(), 0))),
        Framed::Length(size) => Ok(bytes.get(..size).map(|content| (content.to_vec(), size))),
        Framed::Chunked => chunks(bytes),
    }
}

/// The request at the start of `bytes` and its length; `None` if it is not whole.
pub(crate) fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some((lines, length)) = head(bytes)? else { return Ok(None) };
    let parts: Vec<&[u8]> = lines[0].split(|&byte| byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = parts[..] else {
        return Err(format!("request line {:?}", lines[0].escape_ascii().to_string()));
    };
    let (fields, framed) = fields(&lines[1..])?;
    let hosts = fields.iter().filter(|(name, _)| name == b"host").count();
    if hosts != 1 {
        return Err(format!("{hosts} hosts"));
    }
    let Some((content, used)) = content(&bytes[length..], framed)? else { return Ok(None) };
    let (method, target) = (method.to_vec(), target.to_vec());
    Ok(Some((Request { method, target, fields, framed, content }, length + used)))
}

/// The response at the start of `bytes` and its length; `None` if it is not whole. `to_head`: it answers a HEAD. `is_all`:
/// nothing comes after these bytes, so that a content without a length is whole.
pub(crate) fn response(
    bytes: &[u8],
    to_head: bool,
    is_all: bool,
) -> Result<Option<(Response, usize)>, String> {
    let Some((lines, length)) = head(bytes)? else { return Ok(None) };
    let wrong = || format!("status line {:?}", lines[0].escape_ascii().to_string());
    let rest = lines[0].strip_prefix(b"HTTP/1.1 ").ok_or_else(wrong)?;
    let (code, reason) = rest.split_at_checked(3).ok_or_else(wrong)?;
    let status = decimal(code)?;
    if !(100..600).contains(&status) || reason.first() != Some(&b' ') {
        return Err(wrong());
    }
    let (fields, framed) = fields(&lines[1..])?;
    let is_empty = to_head || status < 200 || matches!(status, 204 | 304);
    if (status < 200 || status == 204) && framed != Framed::Nothing {
        return Err(format!("{status} framed {framed:?}"));
    }
    let (content, used) = match framed {
        _ if is_empty => (Vec::new(), 0),
        Framed::Nothing if is_all => (bytes[length..].to_vec(), bytes.len() - length),
        Framed::Nothing => return Ok(None),
        _ => match content(&bytes[length..], framed)? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let status = u16::try_from(status).map_err(|error| error.to_string())?;
    Ok(Some((Response { status, fields, content }, length + used)))
}

fn decimal(text: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("length {text:?}"));
    }
    Ok(text.parse().unwrap_or(usize::MAX))
}

/// Chunked content with nothing but sizes, data and trailers; `None` if it is not whole.
pub(crate) fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&bytes[at..at + end]).map_err(|error| error.to_string())?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("chunk size {digits:?}"));
        }
        let size = usize::from_str_radix(digits, 16).unwrap_or(usize::MAX);
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(data) = bytes.get(at..at.saturating_add(size)) else { return Ok(None) };
        content.extend_from_slice(data);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("data without CRLF".to_owned()),
            None => return Ok(None),
        }
    }
    loop {
        let Some(end) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Ok(Some((content, at)));
        }
        field(line)?;
    }
}
