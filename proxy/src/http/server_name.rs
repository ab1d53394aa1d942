//! Names in the head that a server gets: its own (HAProxy `http-send-name-header`), known once the server is and another one
//! with each attempt; and the one that the client asks for.

use crate::{buffer::Buffer, config::Backend};

/// The value of Host in a head as a server gets it, where it stands once at most.
pub(super) fn asked_for(head: &[u8]) -> Option<&[u8]> {
    let lines = head.split(|&byte| byte == b'\n').take_while(|line| *line != b"\r" && !line.is_empty());
    lines.skip(1).find_map(|line| {
        let at = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(at);
        name.eq_ignore_ascii_case(b"host").then(|| value[1..].trim_ascii())
    })
}

/// The same request, whose head has one line of the name that `backend` gives it, with the name of the server. Who wrote
/// others, a client, a rule or an earlier attempt, is not heard.
pub(super) fn write(request: Buffer, backend: &Backend, server: &str, mut out: Buffer) -> Buffer {
    let Some(header) = &backend.options.server_name_header else { return request };
    let is_line = |line: &[u8]| {
        let name = line.split(|&byte| byte == b':').next();
        name.is_some_and(|name| name.eq_ignore_ascii_case(header.as_bytes()))
    };
    let mut rest = request.filled();
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, behind) = rest.split_at(end + 1);
        if line == b"\r\n" {
            break;
        }
        if !is_line(line) {
            out.push(line);
        }
        rest = behind;
    }
    for part in [header.as_bytes(), b": ", server.as_bytes(), b"\r\n", rest] {
        out.push(part);
    }
    out
}
