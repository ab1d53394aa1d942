//! Local replies.

use crate::http::{head::request::Method, reply::Reply};

fn encoded(status: u16, close: bool, head_only: bool) -> String {
    let mut out = Vec::new();
    Reply { head_only, ..Reply::new(status, close) }.encode(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn l5_page_of_503_is_the_one_that_monitors_know() {
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 107\r\nCache-Control: no-cache\r\n\
                Content-Type: text/html\r\n\r\n";
    let page = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n\
                </body></html>\n";
    assert_eq!(encoded(503, false, false), format!("{head}{page}"));
    assert_eq!(encoded(503, false, true), head);
}

#[test]
fn every_refusal_has_its_page_with_the_right_length() {
    for status in [400, 403, 405, 408, 413, 414, 417, 431, 500, 501, 502, 503, 504, 505] {
        let reply = encoded(status, true, false);
        let (head, page) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())), "{head}");
        assert!(head.ends_with("\r\nConnection: close"), "{head}");
        assert!(page.contains(&format!("<h1>{status} ")), "{page}");
    }
    assert!(encoded(405, true, false).contains("\r\nAllow: GET, HEAD,"));
    let mut out = Vec::new();
    Reply { refused: Some(Method::Delete), ..Reply::new(405, true) }.encode(&mut out);
    assert!(String::from_utf8(out).unwrap().contains("\r\nAllow: GET, HEAD, POST, PUT, OPTIONS, PATCH\r\n"));
    assert!(encoded(299, true, false).starts_with("HTTP/1.1 500 "));
}
