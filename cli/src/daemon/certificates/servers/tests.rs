use std::fs;

use super::*;
use crate::config;

const SITE: &str = include_str!("../../../../tests/good/site.pem");
const SHOP: &str = include_str!("../../../../tests/good/certificates/shop.pem");

/// What `backend app` goes by: the names of its certificate, and whether its authority is that of another configuration.
struct Rig {
    folder: tempfile::TempDir,
    config: Config,
    one: Option<Servers>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), SITE).unwrap();
        fs::write(folder.path().join("own.pem"), SITE).unwrap();
        let tls = "tls = { ca_file = \"ca.pem\", certificate = \"own.pem\" }";
        let text = format!(
            "[frontend.web]\nbind = \"*:80\"\ndefault_backend = \"app\"\n\
             rules = [{{ when = {{ path = \"/b\" }}, backend = \"b\" }}, {{ when = {{ path = \"/c\" }}, backend = \"c\" }}]\n\
             [backend.app]\n{tls}\nservers = [\"192.0.2.21:443\", \"192.0.2.22:443\"]\n\
             [backend.b]\n{tls}\nserver.b1 = {{ address = \"192.0.2.23:443\", tls.verify = false }}\n\
             server.b2 = \"192.0.2.24:443\"\n\
             [backend.c]\nservers = [\"192.0.2.25:80\"]\n",
        );
        fs::write(folder.path().join("lb.toml"), text).unwrap();
        let config = config::load(&folder.path().join("lb.toml")).unwrap();
        let mut all = Certificates::default().of_servers(&config);
        // Of four servers with TLS, one has no files and three the same.
        assert_eq!(all.len(), 1, "{all:?}");
        Self { folder, config, one: all.pop() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn look(&mut self, times: u32) {
        for _ in 0..times {
            self.one = self.one.take().map(|one| one.look(self.folder.path(), SystemTime::now()));
        }
    }

    fn problem(&self) -> Option<String> {
        let certificates =
            Certificates { servers: self.one.iter().cloned().collect(), ..Certificates::default() };
        let problem = certificates.problems().next()?;
        assert_eq!(problem.what, "files of TLS to servers of backend app are not renewed");
        Some(problem.look_at)
    }

    fn trusted(&self) -> [u8; 32] {
        let tls = self.config.proxy.backends[1].servers[1].tls.as_ref().unwrap();
        *tls.content.load().trusted.as_ref().unwrap().fingerprint()
    }

    fn names(&self) -> Vec<String> {
        let all = super::super::of_backend(&self.config.proxy.backends[1]);
        all.into_iter().flat_map(|one| one.names).collect()
    }
}

#[test]
fn authority_and_certificate_are_read_when_they_have_settled_for_all_servers_that_have_them() {
    let mut rig = Rig::new();
    rig.look(2);
    let (first, names) = (rig.trusted(), rig.names());
    assert_eq!(names, ["www.example.com", "*.example.org"]);
    rig.write("ca.pem", SHOP);
    rig.look(1);
    assert_eq!(rig.trusted(), first, "it may be half of a file");
    rig.look(1);
    assert_ne!(rig.trusted(), first);
    assert_eq!(rig.names(), names);
    rig.write("own.pem", SHOP);
    rig.look(2);
    assert_eq!(rig.names(), ["shop.example.com", "*.shop.example.com"]);
    assert_eq!(rig.problem(), None);
}

#[test]
fn broken_file_of_servers_is_a_problem_and_keeps_neither_itself_nor_others_from_being_used() {
    let mut rig = Rig::new();
    rig.look(2);
    let first = rig.trusted();
    rig.write("ca.pem", "nonsense");
    rig.write("own.pem", SHOP);
    rig.look(2);
    assert_eq!(rig.trusted(), first);
    assert_eq!(rig.names(), ["shop.example.com", "*.shop.example.com"]);
    let why = rig.problem().unwrap();
    assert!(why.starts_with("ca.pem has no certificate of an authority in it"), "{why}");
    // The key of another certificate, and one that is gone.
    rig.write("ca.pem", SITE);
    let key =
        SITE.split_inclusive('\n').skip_while(|line| !line.contains("BEGIN PRIVATE KEY")).collect::<String>();
    let chain = SHOP.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    rig.write("own.pem", &(chain.to_owned() + &key));
    rig.look(2);
    assert_eq!(rig.names(), ["shop.example.com", "*.shop.example.com"]);
    let why = rig.problem().unwrap();
    assert!(why.starts_with("own.pem does not belong to the certificate"), "{why}");
    fs::remove_file(rig.folder.path().join("own.pem")).unwrap();
    rig.look(2);
    assert!(rig.problem().unwrap().starts_with("own.pem "), "{:?}", rig.problem());
    assert_eq!(rig.names(), ["shop.example.com", "*.shop.example.com"]);
    rig.write("own.pem", SITE);
    rig.look(2);
    assert_eq!((rig.problem(), rig.names().len()), (None, 2));
}

#[test]
fn certificate_for_servers_that_ends_is_told_like_those_for_clients() {
    let rig = Rig::new();
    let end = super::super::of_backend(&rig.config.proxy.backends[0])[0].not_after;
    let mut certificates = Certificates::default();
    let mut told = Vec::new();
    for days in [31, 29, 6, 0] {
        let now =
            end.saturating_sub(super::super::DAY * days).saturating_add(std::time::Duration::from_secs(60));
        told.extend(certificates.turns(&rig.config, now).into_iter().map(|turn| turn.reason));
    }
    assert_eq!(
        told,
        [
            "own.pem of backend app expires on 2126-11-03, in 28 days",
            "own.pem of backend app expires on 2126-11-03, in 5 days",
            "own.pem of backend app has expired on 2126-11-03"
        ]
    );
}
