//! What a server is told of a client's TLS in a PROXY header, beside what the installed HAProxy tells it (section 2.2.6 of the
//! specification).

use std::{net::SocketAddr, path::Path, sync::Arc};

use lb_proxy::{
    Proxy,
    config::{Mode, ProxyExtension, ProxyVersion, SendProxy, Tls, TlsClients},
    tls::{Authorities, Certificate, Clients, authorities},
};
use rcgen::{CertificateParams, DnType};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use crate::{
    certificates::{config, pem, set, tls},
    haproxy::HAProxy,
    names::s_client,
    rig::{self, Scripted, address},
    secured::{Issuer, Own},
};

/// PP2_TYPE_SSL
const SSL: u8 = 0x20;

/// A server that tells what it is told of TLS.
async fn told() -> (Scripted, UnboundedReceiver<Vec<u8>>) {
    let (tell, told) = unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut fixed = [0; 16];
            stream.read_exact(&mut fixed).await.unwrap();
            assert_eq!(fixed[13], 0x11, "TCP over IPv4");
            let mut rest = vec![0; usize::from(u16::from_be_bytes([fixed[14], fixed[15]]))];
            stream.read_exact(&mut rest).await.unwrap();
            let mut extensions = &rest[12..];
            while let [kind, high, low, rest @ ..] = extensions {
                let (value, behind) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                if *kind == SSL {
                    tell.send(value.to_vec()).unwrap();
                }
                extensions = behind;
            }
            rig::read_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await;
        }
    })
    .await;
    (server, told)
}

/// Lines as long as OpenSSL takes them.
fn write(path: &Path, kind: &str, der: &[u8]) {
    let text = pem(kind, der);
    let lines = text.lines().flat_map(|line| line.as_bytes().chunks(64));
    let text: Vec<u8> = lines.flat_map(|line| [line, b"\n"].concat()).collect();
    std::fs::write(path, text).unwrap();
}

fn text_of(own: &Own) -> String {
    pem("CERTIFICATE", &own.chain[0]) + &pem("PRIVATE KEY", own.key.secret_der())
}

#[tokio::test]
async fn servers_are_told_of_tls_as_haproxy_tells_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let issuer = Issuer::new();
    let site = issuer.issues(&["a.example"]);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "anna");
    let anna = issuer.signs(&params);
    write(&at("ca.pem"), "CERTIFICATE", &issuer.der());
    for (name, own) in [("site", &site), ("anna", &anna)] {
        write(&at(&format!("{name}.pem")), "CERTIFICATE", &own.chain[0]);
        write(&at(&format!("{name}.pem.key")), "PRIVATE KEY", own.key.secret_der());
    }

    let (server, mut told) = told().await;
    let theirs = SocketAddr::new(rig::apart().ip(), 8443);
    let sections = format!(
        "frontend any\n  bind unix@FOLDER/any\n\
         listen tls\n  bind {theirs} ssl crt {} ca-file {} verify optional\n  \
         server s {} send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,ssl-cipher\n",
        at("site.pem").display(),
        at("ca.pem").display(),
        server.address,
    );
    let _haproxy = HAProxy::start(&sections, "any").await;

    let trusted = authorities(pem("CERTIFICATE", &issuer.der()).as_bytes()).unwrap();
    let clients = TlsClients {
        is_required: false,
        ca_files: vec!["ca.pem".into()],
        crl_files: Vec::new(),
        clients: Arc::new(Clients::new(Authorities::new(&trusted, &[], false).unwrap())),
    };
    let certificate = Certificate::from_pem(text_of(&site).as_bytes(), None).unwrap();
    let mut config = config(Mode::Http, &[server.address]);
    set(&mut config, Tls { clients: Some(clients), ..tls(certificate) });
    config.backends[0].servers[0].send_proxy = Some(SendProxy {
        version: ProxyVersion::V2,
        extensions: vec![ProxyExtension::Ssl, ProxyExtension::CertCn, ProxyExtension::SslCipher],
    });
    let proxy = Proxy::start(config).unwrap();

    let (own, key) = (at("anna.pem"), at("anna.pem.key"));
    let shown = ["-cert", own.to_str().unwrap(), "-key", key.to_str().unwrap()];
    for version in ["-tls1_3", "-tls1_2"] {
        let mut said = Vec::new();
        for (front, name) in [(theirs, "theirs"), (address(&proxy), "ours")] {
            let session = at(&format!("{name}{version}"));
            let session = session.to_str().unwrap();
            let mut values = Vec::new();
            for more in [&[][..], &["-sess_out", session], &["-sess_in", session]] {
                let shown = if more.is_empty() { &[][..] } else { &shown };
                let arguments = [&[version, "-ign_eof"], shown, more].concat();
                let answer = s_client(front, &arguments).await;
                assert!(answer.contains("HTTP/1.1 200"), "{name} {arguments:?}: {answer}");
                values.push(told.recv().await.unwrap());
            }
            said.push(values);
        }
        let [theirs, mut ours] = <[_; 2]>::try_from(said).unwrap();
        // SSL; with a certificate of this connection, and of the session alone.
        assert_eq!([ours[0][0], ours[1][0], ours[2][0]], [1, 7, 5], "{version}");
        // Who has shown none has none that is good here; HAProxy says that it is.
        assert_eq!((&ours[0][1..5], &theirs[0][1..5]), (&[0, 0, 0, 1][..], &[0; 4][..]));
        ours[0][4] = 0;
        assert_eq!(ours, theirs, "{version}");
    }
}
