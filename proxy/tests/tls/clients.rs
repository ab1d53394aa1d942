//! Clients that have to show certificates.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use lb_proxy::{
    Proxy,
    config::{Mode, Tls, TlsClients},
    rules::{Action, Condition, Rule, Scheme},
    tls::{Authorities, AuthorityError, Clients, authorities, revoked},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, HandshakeKind, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use crate::{
    certificates::{certificate, config, pem, set, tls},
    peer::{VERSIONS, apart, client, client_with, connect},
    rig::{address, counted},
    syslog::Syslog,
};

/// An authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a client shows.
type Own = (CertificateDer<'static>, Arc<PrivateKeyDer<'static>>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named(name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.as_ref().der())
    }

    /// One that is good until the end of this year.
    fn issues(&self, name: &str, serial: u64, year: i32) -> Own {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = named(name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        (certificate, Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()))
    }

    /// A list that is good until the end of this year.
    fn revokes(&self, serials: &[u64], year: i32) -> String {
        let one = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 12, 31),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(one).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        pem("X509 CRL", params.signed_by(&self.0).unwrap().der())
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::OrganizationName, "Example");
    all.push(DnType::CommonName, name);
    all
}

fn judged_by(authority: &Authority, lists: &str, is_required: bool) -> Authorities {
    let lists = if lists.is_empty() { Vec::new() } else { revoked(lists.as_bytes()).unwrap() };
    Authorities::new(&authorities(authority.pem().as_bytes()).unwrap(), &lists, is_required).unwrap()
}

/// For a.example, with clients that are asked.
fn asking(clients: &Arc<Clients>, is_required: bool) -> Tls {
    let clients = TlsClients {
        is_required,
        ca_files: vec!["ca.pem".into()],
        crl_files: Vec::new(),
        clients: Arc::clone(clients),
    };
    Tls { clients: Some(clients), ..tls(certificate("a.example")) }
}

/// A frontend that answers 403 to whom it serves.
fn front(tls: Tls) -> lb_proxy::Config {
    let mut config = config(Mode::Http, &[]);
    config.frontends[0].rules =
        vec![Rule { when: Condition::Scheme(Scheme::Https), then: vec![Action::Deny(403)] }];
    set(&mut config, tls);
    config
}

fn showing(version: &'static SupportedProtocolVersion, own: Option<&Own>) -> Arc<ClientConfig> {
    match own {
        Some((certificate, key)) => client_with(version, vec![certificate.clone()], key.clone_key()),
        None => client(version),
    }
}

/// What came of a request: the kind of the handshake, if it was answered.
async fn visit(front: SocketAddr, client: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let client = Arc::clone(client);
    apart(move || {
        let mut peer = connect(front, &client, "a.example");
        let asked = peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        let _ = asked.and_then(|()| peer.read_to_end(&mut answer));
        answer.starts_with(b"HTTP/1.1 403 ").then(|| peer.conn.handshake_kind().unwrap())
    })
    .await
}

#[tokio::test]
async fn client_is_taken_by_what_it_shows_and_refused_with_a_word_in_the_log() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let good = ours.issues("anna", 1, 2090);
    let own = [
        ("none", None, "peer sent no certificates"),
        ("good", Some(good), ""),
        ("revoked", Some(ours.issues("bob", 2, 2090)), "revoked"),
        ("expired", Some(ours.issues("carl", 3, 2005)), "expired"),
        ("another's", Some(others.issues("anna", 1, 2090)), "UnknownIssuer"),
    ];
    for is_required in [true, false] {
        let syslog = Syslog::start().await;
        let clients = Arc::new(Clients::new(judged_by(&ours, &ours.revokes(&[2], 2090), is_required)));
        let mut config = front(asking(&clients, is_required));
        syslog.receive_from(&mut config);
        let proxy = Proxy::start(config).unwrap();
        let front = address(&proxy);
        for version in VERSIONS {
            for (what, own, words) in &own {
                let is_taken = visit(front, &showing(version, own.as_ref())).await.is_some();
                let may_be = *what == "good" || (*what == "none" && !is_required);
                assert_eq!(is_taken, may_be, "{what} {is_required} {version:?}");
                let line = syslog.line().await;
                let is_told = match *what {
                    _ if may_be => line.starts_with("front~ "),
                    "none" => line.contains("SSL handshake failure ("),
                    _ => line.contains("SSL client certificate not trusted ("),
                };
                assert!(is_told, "{what}: {line}");
                let words = if may_be { "" } else { *words };
                assert!(line.to_lowercase().contains(&words.to_lowercase()), "{what}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn session_is_gone_on_with_only_under_the_authorities_that_have_judged_its_client() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    for version in VERSIONS {
        let clients = Arc::new(Clients::new(judged_by(&ours, "", true)));
        let proxy = Proxy::start(front(asking(&clients, true))).unwrap();
        let address = address(&proxy);
        let anna = showing(version, Some(&ours.issues("anna", 1, 2090)));
        assert_eq!(visit(address, &anna).await.map(is_resumed), Some(false));
        assert_eq!(visit(address, &anna).await.map(is_resumed), Some(true));
        // The same again changes nothing; a list that she is not on makes her show it again; one that she is on ends it.
        assert!(!clients.replace(judged_by(&ours, "", true)));
        assert_eq!(visit(address, &anna).await.map(is_resumed), Some(true));
        assert!(clients.replace(judged_by(&ours, &ours.revokes(&[7], 2090), true)));
        assert_eq!(visit(address, &anna).await.map(is_resumed), Some(false));
        assert!(clients.replace(judged_by(&ours, &ours.revokes(&[1], 2090), true)));
        assert_eq!(visit(address, &anna).await, None);
        // Nor does whoever has a session of a listener that asks nobody, or somebody else, get in by it.
        for before in [None, Some((&ours, false)), Some((&others, false))] {
            let stranger = client(version);
            let before = before.map(|(authority, is_required)| {
                asking(&Arc::new(Clients::new(judged_by(authority, "", is_required))), is_required)
            });
            let before = before.unwrap_or_else(|| tls(certificate("a.example")));
            proxy.reload(front(before)).await.unwrap();
            assert_eq!(visit(address, &stranger).await.map(is_resumed), Some(false));
            assert_eq!(visit(address, &stranger).await.map(is_resumed), Some(true));
            let now = asking(&Arc::new(Clients::new(judged_by(&ours, "", true))), true);
            proxy.reload(front(now)).await.unwrap();
            assert_eq!(visit(address, &stranger).await, None);
        }
        counted(&proxy, "tls_handshake_failures_total", 4).await;
    }
}

fn is_resumed(kind: HandshakeKind) -> bool {
    kind == HandshakeKind::Resumed
}

#[test]
fn files_that_are_no_authorities_and_no_lists_are_told_apart() {
    let ours = Authority::new("ours");
    let told = |text: &str| authorities(text.as_bytes()).unwrap_err();
    assert_eq!(told(""), AuthorityError::NoCertificate);
    assert_eq!(told(&ours.revokes(&[], 2090)), AuthorityError::NoCertificate);
    assert_eq!(told(&ours.pem()[..200]), AuthorityError::Pem);
    assert!(matches!(told(&pem("CERTIFICATE", b"nonsense")), AuthorityError::Certificate(_)));
    let told = |text: &str| revoked(text.as_bytes()).unwrap_err();
    assert_eq!(told(&ours.pem()), AuthorityError::NoList);
    assert!(matches!(told(&pem("X509 CRL", b"nonsense")), AuthorityError::List(_)));
    let lists = revoked((ours.revokes(&[1], 2030) + &ours.revokes(&[1], 2031)).as_bytes()).unwrap();
    let ends: Vec<_> = lists.iter().map(|list| list.next_update.unwrap()).collect();
    assert!(ends[0] < ends[1], "{ends:?}");
}
