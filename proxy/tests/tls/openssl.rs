//! Clients of others: `openssl s_client` and curl.

use std::{path::PathBuf, process::Stdio};

use lb_proxy::{Proxy, config::Mode, tls::Certificate};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

use crate::{
    certificates::{config, set, tls},
    rig::{LONG, Scripted, address, read_head},
};

/// A certificate that OpenSSL has made, and its file.
pub(crate) async fn made(folder: &tempfile::TempDir, algorithm: &[&str]) -> (Certificate, PathBuf) {
    let (certificate, key) = (folder.path().join("site.crt"), folder.path().join("site.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=a.example"])
        .args(["-addext", "subjectAltName=DNS:a.example", "-newkey"])
        .args(algorithm)
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(made.success());
    let read = |path: &PathBuf| std::fs::read(path).unwrap();
    (Certificate::from_pem(&read(&certificate), Some(&read(&key))).unwrap(), certificate)
}

const ALGORITHMS: [&[&str]; 4] = [
    &["rsa:2048"],
    &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    &["ed25519"],
];

#[tokio::test]
async fn curl_gets_an_answer_with_every_kind_of_key_and_both_versions() {
    let server = Scripted::start(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    for algorithm in ALGORITHMS {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, file) = made(&folder, algorithm).await;
        let mut config = config(Mode::Http, &[server.address]);
        set(&mut config, tls(certificate));
        let proxy = Proxy::start(config).unwrap();
        let port = address(&proxy).port();
        for version in ["1.2", "1.3"] {
            let output = Command::new("curl")
                .args([
                    "--silent",
                    "--show-error",
                    "--http1.1",
                    "--tls-max",
                    version,
                    "--tlsv1.2",
                    "--cacert",
                ])
                .arg(&file)
                .args(["--resolve", &format!("a.example:{port}:127.0.0.1")])
                .args(["--write-out", " %{http_code} %{num_connects}"])
                .args([format!("https://a.example:{port}/1"), format!("https://a.example:{port}/2")])
                .output()
                .await
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said, "ok 200 1ok 200 0", "{algorithm:?} {version}: {error}");
        }
    }
}

/// `K` changes the keys of s_client and asks for others of ours, `k` changes its own alone, `R` wants another handshake.
#[tokio::test]
async fn s_client_changes_keys_and_gets_no_other_handshake() {
    let server = Scripted::start(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let front = address(&proxy).to_string();
    // Lines that are sent, and what is said to each: by the server, or by s_client itself on its stderr.
    let talk = async |version: &str, lines: &[(&str, &str)]| {
        let mut client = Command::new("openssl")
            .args(["s_client", "-connect", &front, "-servername", "a.example", "-brief", version])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (mut stdin, mut stdout) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
        let mut stderr = client.stderr.take().unwrap();
        for (line, expected) in lines {
            stdin.write_all(line.as_bytes()).await.unwrap();
            let mut said = Vec::new();
            let answer = async {
                while !said.ends_with(expected.as_bytes()) {
                    said.push(match line.len() {
                        2 => stderr.read_u8().await.unwrap(),
                        _ => stdout.read_u8().await.unwrap(),
                    });
                }
            };
            timeout(LONG, answer).await.unwrap_or_else(|_| panic!("{line:?}: {expected:?}"));
        }
        // One that wanted another handshake ends by itself.
        let _stdin = Some(stdin).filter(|_| lines.ends_with(&[RENEGOTIATE]));
        let (mut rest, mut errors) = (Vec::new(), Vec::new());
        let ends = async {
            tokio::join!(stdout.read_to_end(&mut rest), stderr.read_to_end(&mut errors), client.wait()).2
        };
        let status = timeout(LONG, ends).await.unwrap().unwrap();
        (status.success(), String::from_utf8(rest).unwrap())
    };
    const RENEGOTIATE: (&str, &str) = ("R\n", "RENEGOTIATING\n");
    let mut lines = vec![("hello\n", "hello\n")];
    for command in ["K\n", "k\n", "K\n"] {
        lines.extend([(command, "KEYUPDATE\n"), ("again\n", "again\n")]);
    }
    assert_eq!(talk("-tls1_3", &lines).await, (true, String::new()));
    assert_eq!(talk("-tls1_2", &[("hello\n", "hello\n")]).await, (true, String::new()));
    assert!(!talk("-tls1_2", &[("hello\n", "hello\n"), RENEGOTIATE]).await.0);
}
