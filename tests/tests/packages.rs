//! What is in the packages, and that it is good. That they install, upgrade and go away again: `systemd.rs`.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use lb_tests::{
    package::{build, said, tool},
    program,
};

/// The packages, and the files of the .deb, in a folder that the next run makes anew.
struct Built {
    folder: PathBuf,
    deb: PathBuf,
    rpm: PathBuf,
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let _ = fs::remove_dir_all(&folder);
        let packages = build(Path::new(&program::lbctl()), &folder, true);
        let [deb, rpm] = <[PathBuf; 2]>::try_from(packages).unwrap();
        said(tool("dpkg-deb").arg("-R").arg(&deb).arg(folder.join("root")));
        Built { folder, deb, rpm }
    })
}

fn path(name: &str) -> PathBuf {
    built().folder.join("root").join(name)
}

fn unzipped(name: &str) -> String {
    said(tool("gzip").arg("-dc").arg(path(name)))
}

/// Everything but the pages of the book and of the manual.
const CONTENT: &str = "\
755 root/root /etc/init.d/lbctl
644 root/root /etc/lbctl/lb.toml.example
644 root/root /etc/logrotate.d/lbctl
755 root/root /usr/bin/lbctl
755 root/root /usr/lib/lbctl/control-sockets
644 root/root /usr/lib/systemd/system/lbctl.service
644 root/root /usr/lib/sysusers.d/lbctl.conf
644 root/root /usr/lib/tmpfiles.d/lbctl.conf
644 root/root /usr/share/bash-completion/completions/lbctl
644 root/root /usr/share/doc/lbctl/README.md
644 root/root /usr/share/doc/lbctl/changelog.Debian.gz
644 root/root /usr/share/doc/lbctl/changelog.gz
644 root/root /usr/share/doc/lbctl/copyright
644 root/root /usr/share/fish/vendor_completions.d/lbctl.fish
644 root/root /usr/share/lintian/overrides/lbctl
644 root/root /usr/share/zsh/vendor-completions/_lbctl
";

/// `-rwxr-xr-x`
fn octal(mode: &str) -> String {
    let bits = |three: &[u8]| three.iter().fold(0, |sum, bit| sum * 2 + u8::from(*bit != b'-'));
    mode.as_bytes()[1..].chunks(3).map(|three| bits(three).to_string()).collect()
}

#[test]
fn deb_has_what_it_should_and_belongs_to_root() {
    let listed = said(tool("dpkg-deb").arg("-c").arg(&built().deb));
    let files = listed.lines().filter(|line| line.starts_with('-')).map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        format!("{} {} {}\n", octal(words[0]), words[1], words[5].trim_start_matches('.'))
    });
    let (pages, others): (Vec<_>, Vec<_>) =
        files.partition(|file| file.contains("/man1/") || file.contains("/doc/lbctl/docs/"));
    assert_eq!(others.concat(), CONTENT);
    assert!(pages.iter().any(|page| page == "644 root/root /usr/share/doc/lbctl/docs/operations.md\n"));
    let conffiles = fs::read_to_string(path("DEBIAN/conffiles")).unwrap();
    assert_eq!(conffiles, "/etc/init.d/lbctl\n/etc/lbctl/lb.toml.example\n/etc/logrotate.d/lbctl\n");
}

#[test]
fn two_packages_of_one_program_are_the_same_and_named_after_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let again = build(Path::new(&program::lbctl()), folder.path(), false);
    assert_eq!(fs::read(&again[0]).unwrap(), fs::read(&built().deb).unwrap());
    let version = said(Command::new(program::lbctl()).arg("--version"));
    let version = version.trim().strip_prefix("lbctl ").unwrap();
    let said_by = |field: &str| said(tool("dpkg-deb").arg("-f").arg(&built().deb).arg(field));
    assert_eq!(said_by("Version").trim(), format!("{version}-1"));
    assert!(said_by("Depends").starts_with("libc6 (>= 2."), "{}", said_by("Depends"));
}

#[test]
fn example_is_a_good_file() {
    said(Command::new(path("usr/bin/lbctl")).arg("check").arg(path("etc/lbctl/lb.toml.example")));
}

#[test]
fn every_verb_has_a_page_with_its_options_and_what_is_hidden_has_none() {
    let help = said(Command::new(program::lbctl()).arg("--help"));
    let verbs =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<_> = verbs
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let page = unzipped(&format!("usr/share/man/man1/lbctl-{verb}.1.gz"));
        assert!(page.contains(&format!("\\fBlbctl {verb}\\fR")), "{verb}: {page}");
    }
    assert!(unzipped("usr/share/man/man1/lbctl-upgrade.1.gz").contains("How long connections may go on"));
    assert!(!path("usr/share/man/man1/lbctl-speaker.1.gz").exists());
    assert!(!unzipped("usr/share/man/man1/lbctl-run.1.gz").contains("take\\-over"));
}

/// What mandoc(1) warns of, and what groff does when man(1) shows the page.
#[test]
fn pages_are_ones_that_man_and_mandoc_have_nothing_to_say_of() {
    let folder = path("usr/share/man/man1");
    let mut pages: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 25, "{pages:?}");
    for page in pages {
        let name = page.file_stem().unwrap().to_str().unwrap();
        let plain = built().folder.join(name);
        fs::write(&plain, said(tool("gzip").arg("-dc").arg(&page))).unwrap();
        let lint = tool("mandoc").args(["-Tlint", "-Wwarning"]).arg(&plain).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&lint.stdout), "", "{name}");
        let mut man = tool("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&plain).env("MANWIDTH", "80");
        let man = man.env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(man.status.success(), "{name}");
        assert_eq!(String::from_utf8_lossy(&man.stderr), "", "{name}");
        let text = fs::read_to_string(&plain).unwrap();
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"] {
            assert!(
                text.contains(&format!("\n.SH {heading}\n"))
                    || text.contains(&format!("\n.SH \"{heading}\"\n")),
                "{name}: {heading}"
            );
        }
        assert!(!text.contains("EXTRA"), "{name}");
    }
}

/// Those that `shells.rs` tries in the shells.
#[test]
fn completions_are_what_the_program_prints() {
    for (shell, name) in [
        ("bash", "usr/share/bash-completion/completions/lbctl"),
        ("zsh", "usr/share/zsh/vendor-completions/_lbctl"),
        ("fish", "usr/share/fish/vendor_completions.d/lbctl.fish"),
    ] {
        let printed = said(Command::new(program::lbctl()).args(["completions", shell]));
        assert!(
            printed.contains(&format!("LBCTL_COMPLETE=\"{shell}\""))
                || printed.contains(&format!("LBCTL_COMPLETE={shell}")),
            "{printed}"
        );
        assert_eq!(fs::read_to_string(path(name)).unwrap(), printed, "{name}");
    }
}

#[test]
fn scripts_of_the_package_are_ones_of_a_plain_shell() {
    for name in ["DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm", "etc/init.d/lbctl"] {
        let script = path(name);
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755, "{name}");
        said(tool("dash").arg("-n").arg(&script));
    }
}

#[test]
fn rpm_has_the_same_files_and_takes_over_like_the_deb() {
    let files = said(tool("rpm").args(["-qp", "--list"]).arg(&built().rpm));
    for line in CONTENT.lines() {
        let file = line.split(' ').nth(2).unwrap();
        let file = file.replace("vendor-completions", "site-functions");
        let only_of_debian = ["init.d", "lintian", "changelog.Debian"].iter().any(|name| file.contains(name));
        assert_eq!(files.lines().any(|has| has == file), !only_of_debian, "{file}");
    }
    let configuration = said(tool("rpm").args(["-qp", "--configfiles"]).arg(&built().rpm));
    assert_eq!(configuration, "/etc/lbctl/lb.toml.example\n/etc/logrotate.d/lbctl\n");
    // As in the .deb: nothing that anybody else may write, nothing that is somebody else's.
    let modes = said(
        tool("rpm")
            .args(["-qp", "--qf", "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]"])
            .arg(&built().rpm),
    );
    for line in CONTENT.lines().filter(|line| {
        !line.contains("init.d") && !line.contains("lintian") && !line.contains("changelog.Debian")
    }) {
        let line = line.replace("vendor-completions", "site-functions");
        let has = |mode: &&str| {
            mode.split_whitespace().collect::<Vec<_>>()[1..].join(" ") == line[4..]
                && octal(mode.split(' ').next().unwrap()) == line[..3]
        };
        assert!(modes.lines().any(|mode| has(&mode)), "{line} in {modes}");
    }
    let scripts = said(tool("rpm").args(["-qp", "--scripts"]).arg(&built().rpm));
    assert!(
        scripts.contains("lbctl upgrade --control") && scripts.contains("systemd-sysusers lbctl.conf"),
        "{scripts}"
    );
}
