//! Listeners with TLS: OpenSSL's client sees the same certificates, versions and ciphers, and is answered the same.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    both::Both,
    get,
    harness::{PATIENCE, unused_address},
};

/// What `openssl s_client` says of a connection: certificate, version and cipher, ALPN; and what came for a request.
fn asked(address: SocketAddr, options: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &address.to_string()])
        .args(options.split(' ').filter(|option| !option.is_empty()))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/converted/certificates/clients"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the package openssl is missing");
    // It may have been refused already.
    let _ = child.stdin.take().expect("piped").write_all(get("/", &[]).as_bytes());
    let output = child.wait_with_output().expect("it ends");
    // Names of headers are as each program writes them, and in an order of its own.
    // What it says itself may stand before an answer in the same line.
    let text =
        String::from_utf8_lossy(&output.stdout).to_ascii_lowercase().replace("http/1.1 ", "\nhttp/1.1 ");
    let known = ["subject=", "new, ", "alpn ", "http/1.", "x-", "get "];
    let mut lines: Vec<_> =
        text.lines().filter(|line| known.iter().any(|known| line.starts_with(known))).collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn tls_is_spoken_as_it_was() {
    let both = Both::start("tls");
    assert!(!both.notes.contains("not converted") && !both.notes.contains("not the same"), "{}", both.notes);
    let mut seen = Vec::new();
    for (listener, options) in [
        ("WEB", "-noservername"),
        ("WEB", "-servername site.example -alpn h2,http/1.1"),
        ("WEB", "-servername WWW.site.example -tls1_2"),
        ("WEB", "-servername denied.site.example"),
        ("WEB", "-servername nobody.example"),
        ("WEB", "-servername both.example"),
        ("WEB", "-servername both.example -tls1_2"),
        ("WEB", "-servername both.example -sigalgs RSA+SHA256:RSA-PSS+SHA256"),
        ("WEB", "-servername a.wild.example -ciphersuites TLS_CHACHA20_POLY1305_SHA256"),
        ("WEB", "-servername wild.example"),
        ("WEB", "-servername a.b.wild.example"),
        ("OTHER", "-servername site.example"),
        ("OTHER", "-servername site.example -tls1_3"),
        ("OTHER", "-servername listed.example"),
        ("OTHER", "-servername given.example"),
        ("OTHER", "-servername x.given.example"),
        ("OTHER", "-servername a.wild.example"),
        ("OTHER", "-noservername"),
    ] {
        let [theirs, ours] = both.addresses(listener).map(|address| asked(address, options));
        assert_eq!(theirs, ours, "{listener} {options}");
        seen.push(ours);
    }
    // They are not all the same for want of anything to see.
    let of = |at: usize, what: &str| assert!(seen[at].contains(what), "{at}: {what}\n{}", seen[at]);
    of(0, "subject=cn = site.example");
    of(0, "\nx-tls: 1  tlsv1.3 tls_aes_128_gcm_sha256");
    of(1, "alpn protocol: http/1.1");
    of(2, "x-server: b");
    of(3, "http/1.1 403 ");
    of(6, "cipher is ecdhe-ecdsa-aes256-gcm-sha384");
    of(7, "subject=cn = both.example");
    of(8, "subject=cn = *.wild.example");
    of(11, "tlsv1.2, cipher is ecdhe-ecdsa-aes128-gcm-sha256");
    of(14, "subject=cn = listed.example");
    assert!(!seen[13].contains("subject") && !seen[17].contains("subject"), "{} {}", seen[13], seen[17]);
    for request in [get("/", &[]), get("/secure", &[])] {
        both.compare("STATS", &request).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn logs_say_what_was_spoken() {
    let both = Both::start("tls");
    for (listener, options) in [
        ("WEB", "-servername site.example"),
        ("WEB", "-noservername -tls1_2"),
        ("OTHER", "-servername site.example"),
    ] {
        for address in both.addresses(listener) {
            let _ = asked(address, options);
        }
        // Ports, times and bytes are other ones each time.
        let words = |line: String| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            if listener == "OTHER" || words.len() < 8 {
                words
            } else {
                [&words[2..4], &words[5..6], &words[7..]].concat()
            }
        };
        let [theirs, ours] = both.request_lines().map(words);
        assert_eq!(theirs, ours, "{listener} {options}");
        assert!(ours.last().is_some_and(|last| last.contains("GCM") || last == "200"), "{ours:?}");
    }
    let [theirs, ours] = both.lines("STATS", &get("/", &[]));
    assert_eq!((&theirs[..], &ours[..]), ("127.0.0.1 -/- 0 200", "127.0.0.1 -/- 0 200"));
}

#[test]
fn clients_show_certificates_as_they_did() {
    let both = Both::start("clients");
    assert!(!both.notes.contains("not converted") && !both.notes.contains("not the same"), "{}", both.notes);
    for own in ["", "-cert anna.pem"] {
        both.addresses("WEB").iter().for_each(|address| drop(asked(*address, own)));
        let [theirs, ours] = both.request_lines();
        assert_eq!(theirs, ours);
        assert_eq!(
            ours.contains(" 200 1 anna /C=DE/O=Example & Sons/OU=Staff/CN=anna/emailAddress="),
            !own.is_empty(),
            "{ours}"
        );
    }
    for version in ["-tls1_2", "-tls1_3"] {
        for (own, names) in [
            ("", 0),
            ("-cert anna.pem", 2),
            ("-cert bob.pem", 0),
            ("-cert carl.pem", 0),
            ("-cert other.pem", 0),
        ] {
            let served = |answer: &str| answer.contains("http/1.1 200");
            let [theirs, ours] =
                both.addresses("OTHER").map(|address| asked(address, &format!("{version} {own}")));
            assert_eq!((served(&theirs), served(&ours)), (names > 0, names > 0), "{own}\n{theirs}\n{ours}");
            let [theirs, ours] =
                both.addresses("WEB").map(|address| asked(address, &format!("{version} {own}")));
            let may_be = names > 0 || own.is_empty();
            assert_eq!((served(&theirs), served(&ours)), (may_be, may_be), "{own}\n{theirs}\n{ours}");
            if may_be {
                assert_eq!(theirs, ours, "{own}");
                assert_eq!(ours.matches("anna").count() > 2, names > 0, "{ours}");
                assert_eq!(ours.contains("x-stranger: 1"), names == 0, "{ours}");
            }
        }
    }
}

/// An nginx that says what was spoken with it.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Self {
        let (folder, address) = (tempfile::tempdir().expect("made"), unused_address());
        let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/converted/certificates/site.pem");
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}\n\
             http {{ access_log off; server {{ listen {address} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};\n\
             ssl_verify_client optional_no_ca; ssl_protocols TLSv1.2 TLSv1.3;\n\
             location / {{ return 200 \"$ssl_server_name $ssl_protocol $ssl_client_s_dn $http_host\\n\"; }} }} }}"
        );
        fs::write(folder.path().join("nginx.conf"), text).expect("written");
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .args(["-e", "stderr", "-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .expect("the package nginx-light is missing");
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "nginx does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, address, _folder: folder }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same servers are trusted, are told the same name, and are shown the same.
#[test]
fn servers_are_spoken_to_as_they_were() {
    let nginx = Nginx::start();
    let both = Both::before(&[("SECURED", nginx.address)], "servers-tls");
    assert!(!both.notes.contains("not converted") && !both.notes.contains("not the same"), "{}", both.notes);
    let site = &["Host: www.site.example"][..];
    for (target, fields, expected) in [
        ("/", &[][..], "site.example TLSv1.3  www.example.com"),
        ("/host", site, "www.site.example TLSv1.3  www.site.example"),
        ("/host", &[], "503 "),
        ("/other", &[], "503 "),
        ("/nameless", &[], " TLSv1.3  www.example.com"),
        ("/verified", &[], " TLSv1.3  www.example.com"),
        ("/misnamed", &[], "503 "),
        ("/stranger", &[], "503 "),
        ("/anybody", &[], " TLSv1.3  www.example.com"),
        ("/shown", &[], " TLSv1.2 emailAddress=anna@example.com,CN=anna,"),
    ] {
        let request = get(target, fields);
        both.compare("WEB", &request).unwrap_or_else(|why| panic!("{target}: {why}"));
        let [_, ours] = both.request_lines();
        assert_eq!(ours.contains(" 503 "), expected == "503 ", "{target}: {ours}");
        assert_eq!(ours.contains(" SC-- "), expected == "503 ", "{target}: {ours}");
        let [theirs, ours] = both.ask("WEB", &request);
        for answer in [theirs, ours] {
            assert!(answer.contains(expected), "{target}: {answer}");
        }
        let _ = both.request_lines();
    }
}
