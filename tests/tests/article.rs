//! The outage of the article, played: the checked file is missing on both web servers.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use lb_tests::{
    browser::Browser,
    plain::{Plain, Running, unused_address, wait_until},
    program,
};

/// A real nginx that serves the files of `folder`.
fn nginx(folder: &Path, address: SocketAddr) -> Running {
    let at = folder.display();
    let file = folder.join("nginx.conf");
    fs::write(
        &file,
        format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr;\nevents {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;\n\
             uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
             server {{ listen {address}; root {at}/root; }} }}\n"
        ),
    )
    .expect("written");
    fs::create_dir(folder.join("root")).expect("created");
    fs::write(folder.join("root/index.html"), "the site\n").expect("written");
    let mut command = Command::new(program::find("nginx"));
    Running::start(command.args(["-e", "stderr", "-c"]).arg(&file), &folder.join("log"))
}

fn get(address: SocketAddr) -> String {
    let mut answer = String::new();
    let exchange = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    exchange.map_or_else(|error| error.to_string(), |_| answer)
}

#[test]
fn the_checked_file_is_missing_on_both_and_everybody_is_told_why() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let addresses = [unused_address(8080), unused_address(8080)];
    let servers = [nginx(folders[0].path(), addresses[0]), nginx(folders[1].path(), addresses[1])];
    let file = |server: usize| folders[server].path().join("root/check.txt");
    (0..2).for_each(|server| fs::write(file(server), "ok").expect("written"));
    let frontend = unused_address(8000);
    let lb = Plain::start(&format!(
        "[listen.web_proxy]\nbind = \"{frontend}\"\nmonitor_uri = {{ uri = \"/alive\", fail_if = {{ backend = \"web_proxy\", usable_below = 1 }} }}\n\
         check = {{ http = {{ method = \"HEAD\", path = \"/check.txt\" }}, interval = \"100ms\", timeout = \"2s\", rise = 2, fall = 5 }}\n\
         server.web1 = \"{}\"\nserver.web2 = \"{}\"\n",
        addresses[0], addresses[1]
    ));
    lb.wait_for_screen("web1 up");
    lb.wait_for_screen("web2 up");
    assert!(get(frontend).ends_with("the site\n"), "{}", get(frontend));
    assert_eq!(lb.status(&[]).status.code(), Some(0), "{}", lb.screen());

    (0..2).for_each(|server| fs::remove_file(file(server)).expect("removed"));
    lb.wait_for_screen("backend web_proxy has no usable server");
    let answer = get(frontend);
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 107\r\n"), "{answer}");
    assert!(
        answer.ends_with(
            "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"
        ),
        "{answer}"
    );
    let screen = lb.screen();
    for server in ["web1", "web2"] {
        let reason = format!("{server}: L7STS 404 on HEAD /check.txt, 5 of 5 failed, down");
        assert!(screen.contains(&format!("{reason} for ")), "{screen}");
        wait_until(
            "the log says why",
            || lb.log(),
            || {
                lb.log().lines().any(|line| {
                    line.contains("503")
                        && line.contains("no usable server")
                        && line.contains(&reason)
                        && !line.contains("down for")
                })
            },
        );
    }
    assert!(screen.contains("Does the file exist there?"), "{screen}");
    assert_eq!(lb.status(&[]).status.code(), Some(2), "{screen}");
    // A flood of refusals is one line a second.
    let lines = || lb.log().lines().filter(|line| line.contains("no usable server")).count();
    let before = lines();
    (0..200).for_each(|_| drop(get(frontend)));
    assert!(lines() - before <= 20, "{} lines for 200 refusals", lines() - before);

    (0..2).for_each(|server| fs::write(file(server), "ok").expect("written"));
    lb.wait_for_screen("web1 up");
    lb.wait_for_screen("web2 up");
    assert!(get(frontend).ends_with("the site\n"));
    assert_eq!(lb.status(&[]).status.code(), Some(0), "{}", lb.screen());
    drop(servers);
}

/// A front page that says which server it is from, and asks for nothing else. Not two of one length, which nginx would
/// take for the same page.
fn page(name: &str, index: usize) -> String {
    let filler = " ".repeat(index);
    format!("<!DOCTYPE html><link rel=\"icon\" href=\"data:,\"><h1>{name}</h1>{filler}")
}

#[test]
fn a_browser_gets_the_front_page_from_web1_and_web2_in_turn() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let addresses = [unused_address(8080), unused_address(8080)];
    let _servers = [nginx(folders[0].path(), addresses[0]), nginx(folders[1].path(), addresses[1])];
    for (index, (folder, name)) in folders.iter().zip(["web1", "web2"]).enumerate() {
        fs::write(folder.path().join("root/index.html"), page(name, index)).expect("written");
    }
    let frontend = unused_address(8000);
    let lb = Plain::start(&format!(
        "[listen.web_proxy]\nbind = \"{frontend}\"\nstatistics = {{ uri = \"/haproxy-stats\" }}\n\
         check = {{ interval = \"100ms\", rise = 2, fall = 5 }}\nserver.web1 = \"{}\"\nserver.web2 = \"{}\"\n",
        addresses[0], addresses[1]
    ));
    lb.wait_for_screen("web1 up");
    lb.wait_for_screen("web2 up");
    let mut browser = Browser::start();
    browser.go(&format!("http://{frontend}/"));
    let first = browser.text();
    let other = if first == "web1" { "web2" } else { "web1" };
    for round in 0..6 {
        browser.reload();
        let expected = if round % 2 == 0 { other } else { first.as_str() };
        assert_eq!(browser.text(), expected, "reload {round}");
    }
    browser.go(&format!("http://{frontend}/haproxy-stats"));
    let rows = "[...document.querySelectorAll('tr.server')].map(row => row.cells[0].innerText.trim()).join()";
    assert_eq!(browser.evaluate(rows), "web1,web2");
    assert_eq!(browser.complaints(), [] as [String; 0]);
}
