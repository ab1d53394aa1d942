//! What the lab on virtual machines says before it does anything.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lb_tests::program;

fn vagrant() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vagrant")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[test]
fn what_can_not_be_played_is_said_with_what_to_do() {
    let run = |lab: &str, arguments: &[&str]| {
        let mut command = Command::new(vagrant().join("scenario"));
        command.args(arguments).env("LBCTL_LAB", lab).env("PATH", program::path_with_lbctl());
        command.output().unwrap()
    };
    let unknown = run("namespaces", &["earthquake"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(
        said(&unknown).contains("split     the nodes don't hear each other's advertisements"),
        "{}",
        said(&unknown)
    );
    let nowhere = run("moon", &["kill"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(said(&nowhere).contains("LBCTL_LAB is vagrant or namespaces, not moon"), "{}", said(&nowhere));
}

/// What `vagrant up` says before it makes a machine, on one that has `programs`, `files` and so much memory.
fn required(arguments: &[&str], programs: &[&str], has_kvm: bool, memory: u32, package: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let make = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    make("proc/meminfo", &format!("MemTotal: 9999999 kB\nMemAvailable: {} kB\n", memory * 1024));
    programs.iter().for_each(|program| make(&format!("usr/sbin/{program}"), "#!/bin/sh\n"));
    if has_kvm {
        make("dev/kvm", "");
    }
    make("lbctl.deb", "");
    let script = "print Requirements.missing(ARGV.drop(2), package: ARGV[1], driver: \"kvm\", memory: 2560, root: ARGV[0])";
    let package =
        if package.is_empty() { String::new() } else { root.path().join(package).display().to_string() };
    let asked = Command::new(program::find("ruby"))
        .arg("-r")
        .arg(vagrant().join("requirements.rb"))
        .args(["-e", script, &root.path().display().to_string(), &package, "up"])
        .args(arguments)
        .env("PATH", "/nonexistent")
        .env_remove("VAGRANT_DEFAULT_PROVIDER")
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", said(&asked));
    said(&asked)
}

#[test]
fn what_virtual_machines_need_is_said_before_one_is_made() {
    let deb = "lbctl.deb";
    let libvirt: &[&str] = &["libvirtd"];
    let cases = [
        (required(&[], &[], true, 9000, deb), "No hypervisor is here."),
        (
            required(&["--provider", "docker"], libvirt, true, 9000, deb),
            "libvirt or virtualbox, not with docker",
        ),
        (
            required(&["--provider=virtualbox"], libvirt, true, 9000, deb),
            "virtualbox is not here, but libvirt is",
        ),
        (required(&[], libvirt, false, 9000, deb), "LBCTL_LIBVIRT_DRIVER=qemu vagrant up"),
        (required(&[], libvirt, true, 900, deb), "need 2560 MB of memory, and 900 MB are free"),
        (required(&[], libvirt, true, 9000, ""), "cli/package/build makes it"),
        (required(&[], libvirt, true, 9000, "gone.deb"), "gone.deb is missing (LBCTL_PACKAGE)"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(required(&[], libvirt, true, 9000, deb), "");
    assert_eq!(required(&["--provider", "virtualbox"], &["VBoxManage"], false, 9000, deb), "");
}
