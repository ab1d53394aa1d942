//! The same with HTTP/2, on either side.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use lb_proxy::Config;

use super::{
    CONTENT, cost_of, cost_over,
    frames::{self, ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE, frame},
    with_content,
};

/// Reads up to the ends of so many streams; bytes of content on them.
fn read_streams(client: &mut impl Read, buffer: &mut Vec<u8>, mut streams: usize) -> usize {
    let mut content = 0;
    while streams > 0 {
        buffer.resize(9, 0);
        client.read_exact(buffer).unwrap();
        let (kind, flags) = (buffer[3], buffer[4]);
        let length = usize::from(buffer[1]) << 8 | usize::from(buffer[2]);
        buffer.resize(length, 0);
        client.read_exact(buffer).unwrap();
        assert!(kind != frames::GOAWAY && kind != frames::RST_STREAM, "{buffer:?}");
        let is_of_stream = [HEADERS, DATA].contains(&kind);
        streams -= usize::from(is_of_stream && flags & END_STREAM != 0);
        content += if kind == DATA { length } else { 0 };
    }
    content
}

/// So many streams at a time, each with a request and an answer that have so much content.
fn cost_of_streams(count: u32, sent: usize, answer: usize) -> usize {
    let exchanges = |mut client: TcpStream| {
        let windows = frames::setting(4, 1 << 30);
        client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &windows)].concat()).unwrap();
        let (mut next, mut buffer) = (1, Vec::new());
        let block = [frames::POST, &frames::field("content-length", &sent.to_string())].concat();
        let (piece, ended) = (vec![b'q'; sent.min(16_384)], END_HEADERS | END_STREAM);
        move || {
            let mut out = Vec::new();
            for _ in 0..count {
                let flags = if sent == 0 { ended } else { END_HEADERS };
                out.extend(frame(HEADERS, flags, next, &block));
                for at in (0..sent).step_by(piece.len().max(1)) {
                    let piece = &piece[..piece.len().min(sent - at)];
                    let flags = if at + piece.len() == sent { END_STREAM } else { 0 };
                    out.extend(frame(DATA, flags, next, piece));
                }
                next += 2;
            }
            client.write_all(&out).unwrap();
            let read = read_streams(&mut client, &mut buffer, count as usize);
            assert_eq!(read, answer * count as usize);
            if answer > 0 {
                let more = u32::try_from(read).unwrap().to_be_bytes();
                client.write_all(&frame(WINDOW_UPDATE, 0, 0, &more)).unwrap();
            }
        }
    };
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {answer}\r\n\r\n").into_bytes();
    response.resize(response.len() + answer, b'a');
    let change = |config: &mut Config| config.frontends[0].http2 = [0].into();
    cost_of(exchanges, count.into(), change, sent, &response)
}

#[test]
fn requests_over_http2_allocate_nothing() {
    assert_eq!(cost_of_streams(1, 0, 2), 0);
    assert_eq!(cost_of_streams(10, 0, 2), 0);
}

#[test]
fn content_over_http2_allocates_nothing() {
    assert_eq!(cost_of_streams(1, CONTENT, CONTENT), 0);
}

/// A server that answers each request with so many bytes, and takes all that comes.
fn server(answer: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, answer)));
    address
}

fn serve(mut stream: TcpStream, answer: usize) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; PREFACE.len()];
    stream.read_exact(&mut buffer).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &frames::setting(4, 1 << 30))).unwrap();
    let head = [b"\x88".to_vec(), frames::field("content-length", &answer.to_string())].concat();
    loop {
        let mut header = [0; 9];
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let [_, high, low, kind, flags, id @ ..] = header;
        buffer.resize(usize::from(high) << 8 | usize::from(low), 0);
        stream.read_exact(&mut buffer).unwrap();
        let id = u32::from_be_bytes(id);
        let mut out = Vec::new();
        match kind {
            SETTINGS if flags & ACK == 0 => out.extend(frame(SETTINGS, ACK, 0, b"")),
            DATA if !buffer.is_empty() => {
                let more = u32::try_from(buffer.len()).unwrap().to_be_bytes();
                out.extend(frame(WINDOW_UPDATE, 0, 0, &more));
            }
            _ => {}
        }
        if [HEADERS, DATA].contains(&kind) && flags & END_STREAM != 0 {
            out.extend(frame(HEADERS, END_HEADERS, id, &head));
            for at in (0..answer).step_by(16_384) {
                let length = (answer - at).min(16_384);
                let flags = if at + length == answer { END_STREAM } else { 0 };
                out.extend(frame(DATA, flags, id, &vec![b'a'; length]));
            }
        }
        stream.write_all(&out).unwrap();
    }
}

fn cost_towards_server(request: &[u8], answer: usize) -> usize {
    let address = server(answer);
    let change = |config: &mut Config| {
        let to = &mut config.backends[0].servers[0];
        (to.address, to.http2) = (address.into(), true);
    };
    cost_over(|stream| stream, change, request, 0, b"", answer)
}

#[test]
fn requests_to_a_server_over_http2_allocate_nothing() {
    assert_eq!(cost_towards_server(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2), 0);
    assert_eq!(cost_towards_server(&with_content().0, CONTENT), 0);
}
