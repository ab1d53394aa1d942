//! A failover is told: by a command, to a web server and by mail, by both nodes, in order and with its reason.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_tests::{
    exim::{self, Exim},
    order::other,
    program,
    scene::Scene,
    wait,
};
use lbctl::lab::{CONFIGURATION, How, Options};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

/// Where the servers of these tests are: on the node of the first web server.
const NODE: &str = "web1";
const ADDRESS: &str = "198.51.100.141";
const HOOK: u16 = 8099;

/// Everybody who is told.
struct Told<'scene> {
    by_command: PathBuf,
    by_web: PathBuf,
    by_mail: &'scene Exim<'scene>,
}

impl Told<'_> {
    /// `lb1: vip web: Backup -> Active (reason)`, what `node` has said by each of them, in order.
    fn by(&self, node: &str) -> [Vec<String>; 3] {
        let begin = format!("{node}: ");
        let of = |lines: Vec<String>| lines.into_iter().filter(|line| line.starts_with(&begin)).collect();
        let text = |line: &str| Some(serde_json::from_str::<Value>(line).ok()?["text"].as_str()?.to_owned());
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let commanded = read(&self.by_command).lines().filter_map(sentence).collect();
        let posted = read(&self.by_web).lines().filter_map(text).collect();
        [of(commanded), of(posted), of(self.mailed())]
    }

    /// The lines of all mails, the earliest first.
    fn mailed(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for mail in self.by_mail.mails() {
            let (_, body) = mail.split_once("\n\n").unwrap_or_default();
            // Long lines are broken with a = at their end (RFC 2045 §6.7).
            lines.extend(body.replace("=\n", "").replace("=3D", "=").lines().map(str::to_owned));
        }
        // Each begins with its moment.
        lines.sort();
        lines.iter().filter_map(|line| line.split_once(" UTC  ")).map(|(_, what)| what.to_owned()).collect()
    }
}

/// Of what a command reads.
fn sentence(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let [node, kind, name, from, to, reason] =
        ["node", "kind", "name", "from", "to", "reason"].map(|key| event[key].as_str().unwrap_or_default());
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    Some(format!("{node}: {kind} {name}: {from} -> {to}{reason}"))
}

/// Takes each POST, and writes its content into `path`.
fn nginx(path: &Path) -> String {
    format!(
        "daemon off; pid /run/hook.pid; user root; worker_processes 1; error_log stderr;\n\
         events {{ worker_connections 64; }}\n\
         http {{ client_body_temp_path /run/body; proxy_temp_path /run/proxy; fastcgi_temp_path /run/fastcgi;\n\
         uwsgi_temp_path /run/uwsgi; scgi_temp_path /run/scgi; client_body_buffer_size 64k;\n\
         log_format content escape=none '$request_body'; access_log off;\n\
         server {{ listen {HOOK}; access_log {} content; location / {{ proxy_pass http://127.0.0.1:8098; }} }}\n\
         server {{ listen 127.0.0.1:8098; return 204; }} }}\n",
        path.display()
    )
}

#[test]
fn a_kill_of_the_active_is_told_by_both_nodes_by_command_webhook_and_mail() {
    // Commands run as `nobody` where root runs the test.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let (by_command, by_web, script) =
        (folder.path().join("command"), folder.path().join("web"), folder.path().join("tell"));
    fs::write(&script, format!("#!/bin/sh\ncat >> {}\n", by_command.display())).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    File::create(&by_web).unwrap();
    let text = format!(
        "{CONFIGURATION}\n[notify.command]\ncommand = [\"{}\"]\nevents = [\"vip\"]\n\n\
         [notify.web]\nurl = \"http://{ADDRESS}:{HOOK}/\"\nevents = [\"vip\"]\n\n\
         [notify.mail]\nsmtp = \"{ADDRESS}:{}\"\nsecurity = \"none\"\nsender = \"lbctl@example.com\"\n\
         recipients = [\"ops@example.com\"]\nmail_interval = \"1s\"\nevents = [\"vip\"]\n",
        script.display(),
        exim::PORT
    );
    let scene = Scene::new(&Options::default().configuration(&text));
    let conf = scene.write("hook.conf", &nginx(&by_web));
    let program = program::find("nginx");
    let command = [program.as_os_str(), "-e".as_ref(), "stderr".as_ref(), "-c".as_ref(), conf.as_ref()];
    let _hook = scene.spawn(NODE, "hook", command).unwrap();
    let mail = Exim::start(&scene, NODE);
    let told = Told { by_command, by_web, by_mail: &mail };
    scene.wait_until_all_ready().unwrap();
    let victim = scene.holder();
    let heir = other(&victim);
    let is_told = |node: &str, to: &str| {
        told.by(node).iter().all(|lines| lines.last().is_some_and(|line| line.contains(to)))
    };
    wait::until("the first claim is told", LONG, || is_told(&victim, "-> Active").then_some(()));
    let before = told.by(heir)[0].len();

    scene.fail(&victim, How::Kill).unwrap();
    scene.wait_until_held_by(heir, LONG).unwrap();
    wait::until("the heir has told", LONG, || is_told(heir, ": Backup -> Active").then_some(()));
    let [commanded, posted, mailed] = told.by(heir);
    assert_eq!(commanded.len(), before + 1, "one transition: {commanded:?}");
    assert!(commanded[before].contains(&victim), "the reason is about {victim}: {commanded:?}");
    assert_eq!([&posted, &mailed], [&commanded, &commanded]);

    scene.heal(&victim).unwrap();
    scene.wait_until_all_ready().unwrap();
    wait::until("the victim has told that it is back", LONG, || is_told(&victim, "-> Backup").then_some(()));
    let [commanded, posted, mailed] = told.by(&victim);
    assert_eq!([&posted, &mailed], [&commanded, &commanded]);
    assert_eq!(told.by(heir)[0].len(), before + 1, "healing moves nothing: {:?}", told.by(heir));
}
