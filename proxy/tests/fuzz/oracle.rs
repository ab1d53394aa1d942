//! A second reader of HTTP/1 requests, which knows nothing of the proxy's: slow, strict, and only what a proxy may send.

/// One request as a server understands it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) content: Vec<u8>,
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

/// The request at the start of `bytes` and its length; `None` if it is not whole.
pub(crate) fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some((lines, length)) = head(bytes)? else { return Ok(None) };
    let parts: Vec<&[u8]> = lines[0].split(|&byte| byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = parts[..] else {
        return Err(format!("request line {:?}", lines[0].escape_ascii().to_string()));
    };
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in &lines[1..] {
        let (name, value) = field(line)?;
        match name.as_slice() {
            b"content-length" => lengths.push(value.to_vec()),
            b"transfer-encoding" => codings.push(value.to_ascii_lowercase()),
            b"host" => hosts += 1,
            _ => {}
        }
    }
    if hosts != 1 || lengths.len() + codings.len() > 1 {
        return Err(format!("{hosts} hosts, lengths {lengths:?}, codings {codings:?}"));
    }
    let (content, used) = if let Some(coding) = codings.first() {
        if coding != b"chunked" {
            return Err(format!("coding {coding:?}"));
        }
        match chunks(&bytes[length..])? {
            Some(found) => found,
            None => return Ok(None),
        }
    } else {
        let size = match lengths.first() {
            Some(text) => decimal(text)?,
            None => 0,
        };
        match bytes.get(length..length.saturating_add(size)) {
            Some(content) => (content.to_vec(), size),
            None => return Ok(None),
        }
    };
    Ok(Some((Request { method: method.to_vec(), target: target.to_vec(), content }, length + used)))
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
