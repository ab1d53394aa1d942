use std::fs;

use super::{
    files::{RESTLESS, Stamps},
    *,
};
use crate::{
    config,
    statistics::tests::{frontend as frontend_of, status},
};

const SITE: &str = include_str!("../../../tests/good/site.pem");
const SHOP: &str = include_str!("../../../tests/good/certificates/shop.pem");

/// A configuration whose certificate is a file of the folder.
fn watched(folder: &Path) -> (Config, Watched) {
    fs::write(folder.join("site.pem"), SITE).unwrap();
    let text =
        "[listen.web]\nbind = { address = \"*:443\", tls = \"site.pem\" }\nservers = [\"192.0.2.21:80\"]\n";
    fs::write(folder.join("lb.toml"), text).unwrap();
    let config = config::load(&folder.join("lb.toml")).unwrap();
    let watched = Certificates::default().of(&config).remove(0);
    (config, watched)
}

fn names(config: &Config) -> Vec<String> {
    let certificates = of_frontend(&config.proxy.frontends[0]);
    certificates.into_iter().flat_map(|certificate| certificate.names).collect()
}

#[test]
fn file_that_has_changed_is_read_when_it_has_settled_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.pem");
    let (config, mut one) = watched(folder.path());
    let look = |one: Watched| one.look(folder.path(), SystemTime::now());
    one = look(look(one));
    assert_eq!(names(&config), ["www.example.com", "*.example.org"]);
    // Another file in its place, as certbot and `mv` have it.
    let other = folder.path().join("new");
    fs::write(&other, SHOP).unwrap();
    fs::rename(&other, &path).unwrap();
    one = look(one);
    assert_eq!(names(&config), ["www.example.com", "*.example.org"]);
    one = look(one);
    assert_eq!(names(&config), ["shop.example.com", "*.shop.example.com"]);

    fs::write(&path, &SITE[..SITE.len() / 2]).unwrap();
    one = look(look(one));
    assert_eq!(names(&config), ["shop.example.com", "*.shop.example.com"]);
    let certificates = Certificates { watched: vec![one.clone()], ..Certificates::default() };
    let problem = certificates.problems().next().unwrap();
    assert_eq!(problem.what, "certificates of frontend web are not renewed");
    assert!(problem.look_at.starts_with("site.pem is broken: a section has no line"), "{problem:?}");

    fs::write(&path, SITE).unwrap();
    one = look(look(one));
    assert_eq!(names(&config), ["www.example.com", "*.example.org"]);
    assert_eq!(one.wrong, None);
}

/// certbot's `live` is links to files, and Kubernetes swaps one link to a folder: what is behind them is read as it is together, and
/// a half of it changes nothing.
#[test]
fn files_behind_links_that_are_swapped_are_read_as_one() {
    const KEY: [&str; 2] = ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----\n"];
    let apart = |text: &str| {
        let [from, to] = KEY.map(|line| text.find(line).unwrap());
        let to = to + KEY[1].len();
        [format!("{}{}", &text[..from], &text[to..]), text[from..to].to_owned()]
    };
    let [[site, site_key], [shop, shop_key]] = [apart(SITE), apart(SHOP)];
    let (of_site, of_shop) =
        (["www.example.com", "*.example.org"], ["shop.example.com", "*.shop.example.com"]);
    for (tls, links) in [
        ("{ certificate = \"live/tls.crt\", key = \"live/tls.key\" }", &["live/..data"][..]),
        ("\"live\"", &["live/..data"]),
        ("{ certificate = \"live/tls.crt\", key = \"live/tls.key\" }", &["live/tls.crt", "live/tls.key"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("live")).unwrap();
        for (version, certificate, key) in
            [("1", &site, &site_key), ("2", &shop, &shop_key), ("3", &site, &shop_key)]
        {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tls.crt"), certificate).unwrap();
            fs::write(at(version).join("tls.key"), key).unwrap();
        }
        for name in ["tls.crt", "tls.key"] {
            std::os::unix::fs::symlink(Path::new("..data").join(name), at("live").join(name)).unwrap();
        }
        let swap = |version: &str| {
            for link in links {
                let inner = link.strip_prefix("live/").filter(|name| *name != "..data").unwrap_or_default();
                std::os::unix::fs::symlink(at(version).join(inner), at("new")).unwrap();
                fs::rename(at("new"), at(link)).unwrap();
            }
        };
        swap("1");
        let text = format!(
            "[listen.web]\nbind = {{ address = \"*:443\", tls = {tls} }}\nservers = [\"192.0.2.21:80\"]\n"
        );
        fs::write(at("lb.toml"), text).unwrap();
        let config = config::load(&at("lb.toml")).unwrap();
        let mut one = Certificates::default().of(&config).remove(0);
        let look = |one: Watched| one.look(folder.path(), SystemTime::now());
        one = look(look(one));
        swap("2");
        one = look(one);
        assert_eq!((names(&config), &one.wrong), (of_site.map(str::to_owned).to_vec(), &None), "{tls}");
        one = look(one);
        assert_eq!((names(&config), &one.wrong), (of_shop.map(str::to_owned).to_vec(), &None), "{tls}");
        // A key that is another's, and then nothing at all behind the links.
        swap("3");
        one = look(look(one));
        let (_, why) = one.wrong.clone().unwrap();
        assert_eq!(why, "live/tls.key does not belong to the certificate: its key is another one");
        fs::remove_dir_all(at("3")).unwrap();
        one = look(look(one));
        assert!(one.wrong.clone().unwrap().1.contains("does not exist"), "{:?}", one.wrong);
        assert_eq!(names(&config), of_shop);
        swap("1");
        one = look(look(one));
        assert_eq!((names(&config), &one.wrong), (of_site.map(str::to_owned).to_vec(), &None), "{tls}");
    }
}

#[test]
fn one_file_of_a_folder_that_is_broken_or_never_still_keeps_no_other_from_being_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("all")).unwrap();
    write("all/a.pem", SITE);
    write("all/broken.pem", "nonsense");
    let text = "[listen.web]\nbind = { address = \"*:443\", tls = \"all\" }\nservers = [\"192.0.2.21:80\"]\n";
    write("lb.toml", text);
    // A node starts with the others.
    let config = config::load(&folder.path().join("lb.toml")).unwrap();
    assert_eq!((config.warnings.errors(), config.warnings.stale()), (0, 1), "{}", config.warnings);
    let mut one = Certificates::default().of(&config).remove(0);
    let mut length = 0;
    let mut look = |mut one: Watched, times: u32| {
        for _ in 0..times {
            length += 1;
            write("all/restless.pem", &"x".repeat(length));
            // Neither is a certificate.
            write("all/.access.log", &"x".repeat(length));
            one = one.look(folder.path(), SystemTime::now());
        }
        one
    };
    one = look(one, 2);
    assert_eq!(names(&config), ["www.example.com", "*.example.org"]);
    let why = |one: &Watched| one.wrong.clone().unwrap().1;
    assert!(why(&one).starts_with("all/broken.pem has no certificate"), "{}", why(&one));

    write("all/b.pem", SHOP);
    one = look(one, 2);
    assert_eq!(names(&config).len(), 4, "{:?}", names(&config));
    // What was good is shown on when its file is broken.
    write("all/a.pem", &SITE[..100]);
    one = look(one, 2);
    assert_eq!(names(&config).len(), 4, "{:?}", names(&config));
    assert!(why(&one).ends_with(", and 1 more"), "{}", why(&one));
    // One that is gone is gone.
    fs::remove_file(folder.path().join("all/a.pem")).unwrap();
    fs::remove_file(folder.path().join("all/broken.pem")).unwrap();
    one = look(one, 2);
    assert_eq!(names(&config), ["shop.example.com", "*.shop.example.com"]);
    one = look(one, RESTLESS);
    assert!(why(&one).contains("all/restless.pem is another one each time"), "{}", why(&one));
    fs::remove_file(folder.path().join("all/restless.pem")).unwrap();
    one = one.look(folder.path(), SystemTime::now()).look(folder.path(), SystemTime::now());
    assert_eq!(one.wrong, None);
}

#[test]
fn what_is_known_of_a_listener_goes_on_until_another_configuration_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (config, one) = watched(folder.path());
    let mut certificates =
        Certificates { watched: vec![one.look(folder.path(), SystemTime::now())], ..Certificates::default() };
    assert_eq!(certificates.of(&config)[0].files.seen, certificates.watched[0].files.seen);
    let (again, _) = watched(folder.path());
    assert_eq!(certificates.of(&again)[0].files.seen, Stamps::new());
}

#[test]
fn end_that_comes_nearer_is_told_at_each_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let (config, _) = watched(folder.path());
    let end = of_frontend(&config.proxy.frontends[0])[0].not_after;
    let mut certificates = Certificates::default();
    let mut told = Vec::new();
    for days in [400, 31, 30, 29, 28, 8, 6, 1, 0, 0] {
        let now = end.saturating_sub(DAY * days).saturating_add(Duration::from_secs(60));
        told.extend(certificates.turns(&config, now));
    }
    let line = |rest: &str| format!("site.pem of frontend web {rest}");
    let turn = |from, to, rest: &str, is_told| Turn {
        file: "site.pem".to_owned(),
        from,
        to,
        reason: line(rest),
        is_told,
    };
    use Nearness::{Far, Over, Soon, VerySoon};
    assert_eq!(
        told,
        [
            turn(Far, Soon, "expires on 2126-11-03, in 29 days", false),
            turn(Soon, VerySoon, "expires on 2126-11-03, in 5 days", false),
            turn(VerySoon, Over, "has expired on 2126-11-03", false)
        ]
    );
    // Who starts with one that is near is told, and that it was renewed.
    let near = end.saturating_sub(DAY);
    let mut certificates = Certificates::default();
    let first = turn(Far, VerySoon, "expires on 2126-11-03, in 1 days", true);
    assert_eq!(certificates.turns(&config, near), [first]);
    let shown = Shown {
        file: "site.pem".to_owned(),
        ..config.proxy.frontends[0].tls[&0].certificates.load().all()[0].clone()
    };
    let other = tls::Certificate::from_pem(SHOP.as_bytes(), None).unwrap();
    config.proxy.frontends[0].tls[&0].certificates.replace(vec![Shown { certificate: other, ..shown }]);
    let end = of_frontend(&config.proxy.frontends[0])[0].not_after;
    let renewed = certificates.turns(&config, end.saturating_sub(DAY * 400));
    assert_eq!((renewed[0].from, renewed[0].to, renewed[0].is_told), (VerySoon, Far, false));
}

#[test]
fn authority_that_is_over_before_its_certificate_is_told_as_its_end() {
    const ENDING: &str = include_str!("../../../tests/good/ending.pem");
    let folder = tempfile::tempdir().unwrap();
    let (config, one) = watched(folder.path());
    let mut certificates = Certificates::default();
    let far = Timestamp::parse("2120-01-01T00:00:00Z").unwrap();
    assert_eq!(certificates.turns(&config, far), []);
    // It is renewed, with a chain that is soon over: nothing of the configuration has told of that.
    fs::write(folder.path().join("site.pem"), ENDING).unwrap();
    one.look(folder.path(), SystemTime::now()).look(folder.path(), SystemTime::now());
    let shown = of_frontend(&config.proxy.frontends[0]).remove(0);
    let end = Timestamp::parse("2120-05-01T00:00:00Z").unwrap();
    assert_eq!((shown.end(), &shown.not_after.to_string()[..10]), (end, "2126-11-03"));
    let mut told = Vec::new();
    for days in [29, 28, 6, 1, 0] {
        let now = end.saturating_sub(DAY * days).saturating_add(Duration::from_secs(60));
        told.extend(certificates.turns(&config, now));
    }
    let line = |rest: &str| {
        format!(
            "site.pem of frontend web has a certificate of its authority /O=Example/CN=Example intermediate that {rest}"
        )
    };
    let told: Vec<_> = told.into_iter().map(|turn| (turn.to, turn.reason, turn.is_told)).collect();
    let expected = [
        (Nearness::Soon, line("expires on 2120-05-01, in 28 days"), false),
        (Nearness::VerySoon, line("expires on 2120-05-01, in 5 days"), false),
        (Nearness::Over, line("has expired on 2120-05-01"), false),
    ];
    assert_eq!(told, expected);

    let web = Frontend { certificates: vec![shown], ..frontend_of("web") };
    let mut status = status(vec![web], Vec::new());
    let mut said = |days: u32| {
        status.at = end.saturating_sub(DAY * days).saturating_add(Duration::from_secs(60));
        let problems: Vec<_> = expiring(&status).map(|one| (one.what, one.look_at)).collect();
        (notes(&status).collect::<Vec<_>>(), problems)
    };
    let mend = "Put the one in its place that the authority offers now, or leave it out if they have it as a root; lbctl reads the new file by itself.";
    assert_eq!(said(31), (vec![], vec![]));
    assert_eq!(said(29), (vec![line("expires on 2120-05-01, in 28 days")], vec![]));
    let then = format!("on 2120-05-01: most clients refuse it from then on. {mend}");
    assert_eq!(said(6), (vec![], vec![(line("expires"), then)]));
    let now = format!("on 2120-05-01: most clients refuse it. {mend}");
    assert_eq!(said(0), (vec![], vec![(line("has expired"), now)]));
}

#[test]
fn response_of_ocsp_is_renewed_and_one_that_is_broken_or_over_is_told() {
    const STAPLED: &[u8] = include_bytes!("../../../tests/good/stapled.pem");
    const OCSP: &[u8] = include_bytes!("../../../tests/good/stapled.pem.ocsp");
    let folder = tempfile::tempdir().unwrap();
    let (pem, ocsp) = (folder.path().join("site.pem"), folder.path().join("site.pem.ocsp"));
    let (config, mut one) = watched(folder.path());
    let until = || of_frontend(&config.proxy.frontends[0])[0].stapled_until;
    let start = SystemTime::now();
    let look = |one: Watched, now| one.look(folder.path(), now).look(folder.path(), now);
    fs::write(&pem, STAPLED).unwrap();
    one = look(one, start);
    assert_eq!((until(), &one.unstapled), (None, &None));
    fs::write(&ocsp, OCSP).unwrap();
    one = look(one, start);
    let end = until().unwrap();
    assert_eq!(&end.to_string()[..5], "2125-");

    // What was good before is shown on.
    fs::write(&ocsp, &OCSP[..100]).unwrap();
    one = look(one, start);
    assert_eq!(until(), Some(end));
    let why = |one: &Watched| one.unstapled.clone().unwrap().1;
    assert_eq!(why(&one), "site.pem.ocsp is no OCSP response in DER, as `openssl ocsp -respout` writes it");
    let certificates = Certificates { watched: vec![one.clone()], ..Certificates::default() };
    let problem = certificates.problems().next().unwrap();
    assert_eq!(problem.what, "responses of OCSP of frontend web are not renewed");
    fs::write(&ocsp, OCSP).unwrap();
    one = look(one, start);
    assert_eq!((until(), &one.unstapled), (Some(end), &None));

    // Nothing has changed but the time.
    let after = start + DAY * 36_001;
    one = look(one, after);
    assert_eq!(until(), None);
    assert!(why(&one).starts_with("site.pem.ocsp was good until 2125-"), "{}", why(&one));
    fs::remove_file(&ocsp).unwrap();
    one = look(one, after);
    assert_eq!((until(), &one.unstapled, &one.wrong), (None, &None, &None));
}
