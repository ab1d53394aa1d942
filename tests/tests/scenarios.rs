//! What the lab on virtual machines says before it does anything.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
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

/// The script, for a lab of this kind.
fn scenario(lab: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(vagrant().join("scenario"));
    command.args(arguments).env("LBCTL_LAB", lab).env("PATH", program::path_with_lbctl());
    command
}

#[test]
fn what_can_not_be_played_is_said_with_what_to_do() {
    let run = |lab: &str, arguments: &[&str]| scenario(lab, arguments).output().unwrap();
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

    let no_lab = scenario("namespaces", &["kill"]).env("LBCTL_LAB_NAME", "nowhere").output().unwrap();
    assert_eq!(no_lab.status.code(), Some(1));
    assert!(said(&no_lab).contains("start one: lbctl lab --name nowhere up"), "{}", said(&no_lab));

    let tools = tempfile::tempdir().unwrap();
    for tool in ["bash", "dirname", "mktemp", "head", "rm"] {
        symlink(program::find(tool), tools.path().join(tool)).unwrap();
    }
    let of_machines = || scenario("vagrant", &["kill"]).env("PATH", tools.path()).output().unwrap();
    assert!(
        said(&of_machines()).contains("vagrant is missing: apt install vagrant; without it"),
        "{}",
        said(&of_machines())
    );
    let vagrant = "#!/bin/sh\necho 'The machine `lb2` is not created.' >&2\nexit 1\n";
    fs::write(tools.path().join("vagrant"), vagrant).unwrap();
    fs::set_permissions(tools.path().join("vagrant"), fs::Permissions::from_mode(0o755)).unwrap();
    let half = of_machines();
    assert_eq!(half.status.code(), Some(1));
    let expected = "the lab is not up, or not all of it: vagrant up (The machine `lb2` is not created.)";
    assert!(said(&half).contains(expected), "{}", said(&half));
}

/// A machine on which `vagrant up` is typed: libvirt, hardware virtualisation, memory, the box and the package are there, and all
/// that a test takes away or adds.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        host.file("usr/sbin/libvirtd", "#!/bin/sh\n");
        host.file("dev/kvm", "");
        host.file("proc/meminfo", "MemTotal: 9999999 kB\nMemAvailable: 9000000 kB\n");
        host.file("lbctl.deb", "");
        host.file("home/boxes/debian-VAGRANTSLASH-bookworm64/1/libvirt/box.img", "");
        host
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn with(self, path: &str, text: &str) -> Self {
        self.file(path, text);
        self
    }

    fn without(self, path: &str) -> Self {
        let path = self.0.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        self
    }

    /// A machine `lb1` and a network `front` of a lab that has our name.
    fn with_other_lab(self, machine: &str, network: &str) -> Self {
        let answers = format!(
            "case \"$4 $5\" in 'list --all') echo {machine};; 'net-list --all') echo {network};; domuuid*) echo 1-2;; net-uuid*) echo 3-4;; \
             desc*) echo Source: /srv/other/vagrant/Vagrantfile;; esac"
        );
        self.with("bin/virsh", &format!("#!/bin/sh\n{answers}\n"))
    }

    /// What is said before a machine is made; nothing if all is there.
    fn says(&self, settings: &[(&str, &str)], arguments: &[&str]) -> String {
        let script = "print Requirements.missing(ARGV.drop(1), machines: %w[web1 web2 lb1 lb2 client], \
             box: ENV.fetch('LBCTL_BOX', 'debian/bookworm64'), package: ENV.fetch('LBCTL_PACKAGE', File.join(ARGV[0], 'lbctl.deb')), \
             driver: ENV.fetch('LBCTL_LIBVIRT_DRIVER', 'kvm'), memory: ENV.fetch('LBCTL_MEMORY', '512'), \
             lab: ENV.fetch('LBCTL_LAB_NAME', 'lab'), plugin: !ENV.key?('NO_PLUGIN'), folder: File.join(ARGV[0], 'vagrant'), root: ARGV[0])";
        self.asks(script, settings, arguments)
    }

    /// What a line of Ruby prints, which has this machine's folder as its first argument.
    fn asks(&self, script: &str, settings: &[(&str, &str)], arguments: &[&str]) -> String {
        let asked = Command::new(program::find("ruby"))
            .arg("-r")
            .arg(vagrant().join("requirements.rb"))
            .args(["-e", script, &self.0.path().display().to_string(), "up"])
            .args(arguments)
            .env("PATH", self.0.path().join("bin"))
            .env("VAGRANT_HOME", self.0.path().join("home"))
            .env_remove("VAGRANT_DEFAULT_PROVIDER")
            .env_remove("https_proxy")
            .envs(settings.iter().copied())
            .output()
            .unwrap();
        assert!(asked.status.success(), "{}", said(&asked));
        said(&asked)
    }
}

/// A machine, settings, arguments, and what is said.
type Case = (Host, &'static [(&'static str, &'static str)], &'static [&'static str], &'static str);

#[test]
fn what_virtual_machines_need_is_said_before_one_is_made() {
    let little = "MemAvailable: 921600 kB\n";
    let box_image = "home/boxes/debian-VAGRANTSLASH-bookworm64/1";
    let cases: [Case; 19] = [
        (Host::new().without("usr/sbin/libvirtd"), &[], &[], "No hypervisor is here."),
        (Host::new(), &[], &["--provider", "docker"], "libvirt or virtualbox, not with docker"),
        (Host::new(), &[], &["--provider=virtualbox"], "virtualbox is not here, but libvirt is"),
        (Host::new(), &[("NO_PLUGIN", "")], &[], "plugin for it is not: apt install vagrant-libvirt"),
        (
            Host::new(),
            &[("VAGRANT_DEFAULT_PROVIDER", "hyperv")],
            &[],
            "libvirt or virtualbox, not with hyperv",
        ),
        (Host::new(), &[("LBCTL_LAB_NAME", "my lab")], &[], "`my lab` is no name for a lab"),
        (Host::new().without("dev/kvm"), &[], &[], "LBCTL_LIBVIRT_DRIVER=qemu vagrant up"),
        (Host::new(), &[("LBCTL_LIBVIRT_DRIVER", "xen")], &[], "is kvm or qemu, not xen"),
        (Host::new().with("proc/meminfo", little), &[], &[], "need 2560 MB of memory, and 900 MB are free"),
        (Host::new().with("proc/meminfo", little), &[], &["lb1", "lb2"], "need 1024 MB of memory"),
        (Host::new(), &[("LBCTL_MEMORY", "1G")], &[], "in MB, 256 or more, and not 1G"),
        (Host::new(), &[("LBCTL_PACKAGE", "")], &[], "/cli/package/build makes it"),
        (
            Host::new().with("bin/dpkg-deb", "#!/bin/sh\necho 'libc6 (>= 2.38), adduser'"),
            &[],
            &[],
            "needs the C library 2.38, and the box debian/bookworm64 has 2.36",
        ),
        (Host::new(), &[("LBCTL_PACKAGE", "/gone.deb")], &[], "/gone.deb is missing (LBCTL_PACKAGE)"),
        (
            Host::new(),
            &[("LBCTL_BOX", "lbctl-lab")],
            &[],
            "lbctl-lab is not here (vagrant box list). Build one: sudo /",
        ),
        (
            Host::new().without(box_image).with(&format!("{box_image}/virtualbox/box.vmdk"), ""),
            &[],
            &[],
            "is here, but not for libvirt",
        ),
        // Nobody listens on port 1, as it is without the internet.
        (
            Host::new().without("home"),
            &[("VAGRANT_SERVER_URL", "http://127.0.0.1:1")],
            &[],
            "and 127.0.0.1, where it is, can't be reached. Build one: sudo /",
        ),
        (
            Host::new().with("bin/virsh", "#!/bin/sh\necho 'error: Failed to connect socket' >&2\nexit 1\n"),
            &[],
            &[],
            "libvirt does not answer (error: Failed to connect socket). Does it run: sudo systemctl start libvirtd",
        ),
        (
            Host::new().with_other_lab("lbctl-lab-lb1", "default"),
            &[],
            &[],
            "The machine lbctl-lab-lb1 is here already, and not this lab's but of /srv/other/vagrant",
        ),
    ];
    for (host, settings, arguments, expected) in cases {
        let said = host.says(settings, arguments);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let network = Host::new().with_other_lab("elsewhere", "lbctl-lab-front").says(&[], &[]);
    assert!(network.contains("The network lbctl-lab-front is here already"), "{network}");
}

/// Vagrant knows of nothing any more, and libvirt of everything: all of it is named, with what removes it.
#[test]
fn lab_that_runs_while_vagrants_folder_is_gone_is_told_whole_with_what_removes_it() {
    let host = Host::new();
    let here = host.0.path().display().to_string();
    let log = host.0.path().join("log");
    let answers = format!(
        "case \"$4 $5\" in 'list --all') echo lbctl-lab-lb1; echo lbctl-lab-web2; echo other;; \
         'net-list --all') echo default; echo lbctl-lab-front; echo lbctl-lab-back;; domuuid*) echo 1-2;; net-uuid*) echo 3-4;; \
         desc*) echo Source: {here}/Vagrantfile;; esac"
    );
    // As it is typed: virsh -c URI ...
    let typed = format!(
        "case \"$1 $2\" in '-c qemu:///system') shift 2; echo \"$@\" >>{};; *) {answers};; esac",
        log.display()
    );
    let host = host.with("bin/virsh", &format!("#!/bin/sh\n{typed}\n"));
    let said = host.says(&[], &[]);
    let expected = "The machines lbctl-lab-web2, lbctl-lab-lb1 are here already, made in this folder, and Vagrant's own folder .vagrant, \
         which knew of that, is gone. Remove all of it: ";
    assert!(said.starts_with(expected) && said.ends_with("; then again: vagrant up"), "{said}");
    let removal = said.strip_prefix(expected).unwrap().strip_suffix("; then again: vagrant up").unwrap();
    let shell = Command::new("/bin/sh").args(["-c", removal]).env("PATH", host.0.path().join("bin")).status();
    assert!(shell.unwrap().success(), "{removal}");
    let done = fs::read_to_string(log).unwrap();
    let expected: String = ["lbctl-lab-web2", "lbctl-lab-lb1"]
        .map(|name| format!("destroy {name}\nundefine --remove-all-storage {name}\n"))
        .into_iter()
        .chain(
            ["lbctl-lab-front", "lbctl-lab-back"]
                .map(|name| format!("net-destroy {name}\nnet-undefine {name}\n")),
        )
        .collect();
    assert_eq!(done, expected);
}

#[test]
fn a_lab_that_is_half_up_needs_what_is_missing_and_no_more() {
    let half = Host::new()
        .with_other_lab("lbctl-lab-lb1", "lbctl-lab-front")
        .with("vagrant/machines/lb1/libvirt/id", "1-2")
        .with("vagrant/machines/lb1/libvirt/created_networks", "3-4\n")
        .with("proc/meminfo", "MemAvailable: 2457600 kB\n");
    assert_eq!(half.says(&[], &[]), "");
    let made = half.without("home").with("proc/meminfo", "MemAvailable: 1024 kB\n");
    assert_eq!(made.says(&[], &["lb1"]), "");
    assert!(made.says(&[], &["lb1", "web1"]).contains("need 512 MB"));
}

/// What a killed `vagrant up` has made and not written down is removed; what is of another folder, or runs, or is known, is not.
#[test]
fn leftovers_of_an_interrupted_up_are_removed_and_nothing_else() {
    let removed = |source: &str, state: &str, known: bool| {
        let mut host = Host::new();
        let log = host.0.path().join("log");
        let source = source.replace("HERE", &host.0.path().display().to_string());
        let answers = format!(
            "case \"$4 $5\" in 'list {state}') echo lbctl-lab-lb1;; desc*) echo Source: {source}/Vagrantfile;; undefine*) echo $4 $5 $6 >> {};; esac",
            log.display()
        );
        host.file("bin/virsh", &format!("#!/bin/sh\n{answers}\n"));
        if known {
            host = host.with(".vagrant/machines/lb1/libvirt/id", "1-2");
        }
        let script = "print Requirements.remove_leftovers('lab', %w[web1 lb1], File.join(ARGV[0], '.vagrant')).join(' ')";
        let said = host.asks(script, &[], &[]);
        (said, fs::read_to_string(log).unwrap_or_default())
    };
    assert_eq!(
        removed("HERE", "--state-shutoff", false),
        ("lb1".to_owned(), "undefine --remove-all-storage lbctl-lab-lb1\n".to_owned())
    );
    for (source, state, known) in [
        ("/elsewhere", "--state-shutoff", false),
        ("HERE", "--state-running", false),
        ("HERE", "--state-shutoff", true),
    ] {
        assert_eq!(removed(source, state, known), (String::new(), String::new()), "{source} {state} {known}");
    }
}

/// Copies of the box are compared by their size, which is all that a killed `vagrant up` leaves to be seen.
#[test]
fn copy_of_the_box_that_is_not_whole_is_told_before_machines_are_made_of_it() {
    let with_copy = |bytes: usize| {
        let answers =
            "case \"$4 $9\" in 'vol-info debian-VAGRANTSLASH-bookworm64_vagrant_box_image_1_box.img')";
        Host::new()
            .with("home/boxes/debian-VAGRANTSLASH-bookworm64/1/libvirt/box.img", "123456789")
            .with(
                "bin/virsh",
                &format!("#!/bin/sh\n{answers} echo Type: file; echo \"Physical:   {bytes} bytes\";; esac\n"),
            )
            .says(&[], &[])
    };
    assert_eq!(with_copy(9), "");
    let half = with_copy(4);
    let remedy = "vol-delete --pool default debian-VAGRANTSLASH-bookworm64_vagrant_box_image_1_box.img";
    assert!(half.starts_with("libvirt's copy of the box is not whole") && half.ends_with(remedy), "{half}");
}

#[test]
fn lab_that_is_half_up_goes_on_with_what_it_began_with() {
    let half = || {
        Host::new()
            .with("bin/VBoxManage", "#!/bin/sh\n")
            .with("home/boxes/debian-VAGRANTSLASH-bookworm64/1/virtualbox/box.vmdk", "")
            .with("vagrant/machines/lb1/virtualbox/id", "1-2")
    };
    let both = "The lab is up with virtualbox, or half up";
    for (settings, arguments, expected) in [
        // libvirt is the first of two.
        (&[][..], &[][..], both),
        (&[], &["lb2"], both),
        (&[("VAGRANT_DEFAULT_PROVIDER", "libvirt")], &[], both),
        (&[], &["--provider", "libvirt"], both),
        (&[], &["--provider", "virtualbox"], ""),
        (&[], &["lb1"], ""),
        (&[("VAGRANT_DEFAULT_PROVIDER", "libvirt")], &["lb1"], ""),
    ] {
        let said = half().says(settings, arguments);
        assert!(
            said.starts_with(expected) && said.is_empty() == expected.is_empty(),
            "{settings:?} {arguments:?}: {said}"
        );
    }
}

#[test]
fn what_virtualbox_lacks_is_said_too() {
    let host = |its_network: &str| {
        let answers = format!(
            "case \"$*\" in 'list runningvms') echo '\"other_lb1_7\" {{1-2}}';; 'showvminfo 1-2 --machinereadable') \
             echo 'intnet2=\"{its_network}\"';; esac"
        );
        Host::new()
            .with("proc/cpuinfo", "processor : 0\nflags : fpu vmx\n")
            .with("bin/VBoxManage", &format!("#!/bin/sh\n{answers}\n"))
            .with("home/boxes/debian-VAGRANTSLASH-bookworm64/1/virtualbox/box.vmdk", "")
    };
    let says = |host: &Host| host.says(&[], &["--provider=virtualbox"]);
    assert_eq!(says(&host("lbctl-lab2-front")), "");
    let taken = says(&host("lbctl-lab-front"));
    assert!(
        taken.starts_with(
            "The machine other_lb1_7 (in the network lbctl-lab-front) is running, and not this lab's."
        ),
        "{taken}"
    );
    assert!(taken.contains("for m in 1-2; do VBoxManage controlvm $m poweroff; done"), "{taken}");
    assert_eq!(says(&host("lbctl-lab-front").with("vagrant/machines/lb1/virtualbox/id", "1-2")), "");
    let emulated = says(&host("").with("proc/cpuinfo", "flags : fpu\n"));
    assert!(
        emulated.contains("no hardware virtualisation (vmx or svm in /proc/cpuinfo), which VirtualBox needs"),
        "{emulated}"
    );
}

#[test]
fn networks_that_no_machine_is_there_for_are_removed_and_no_others() {
    let removed = |machine: &str| {
        let host = Host::new();
        let log = host.0.path().join("log");
        let answers = format!(
            "case \"$4 $5\" in 'list --all') echo {machine};; 'net-list --all') echo lbctl-lab-back; echo lbctl-lab2-back;; \
             net-*) echo $4 $5 >> {};; esac",
            log.display()
        );
        let host = host.with("bin/virsh", &format!("#!/bin/sh\n{answers}\n"));
        let script = "print Requirements.remove_leftovers('lab', %w[web1 lb1], File.join(ARGV[0], '.vagrant')).join(' ')";
        (host.asks(script, &[], &[]), fs::read_to_string(log).unwrap_or_default())
    };
    let commands = "net-destroy lbctl-lab-back\nnet-undefine lbctl-lab-back\n";
    assert_eq!(removed("lbctl-lab2-lb1"), ("lbctl-lab-back".to_owned(), commands.to_owned()));
    assert_eq!(removed("lbctl-lab-client"), (String::new(), String::new()));
}

#[test]
fn a_machine_that_has_all_hears_nothing() {
    assert_eq!(Host::new().says(&[], &[]), "");
    let virtualbox = Host::new()
        .without("usr/sbin/libvirtd")
        .without("dev/kvm")
        .with("usr/sbin/VBoxManage", "#!/bin/sh\n");
    let virtualbox = virtualbox.with("home/boxes/debian-VAGRANTSLASH-bookworm64/1/virtualbox/box.vmdk", "");
    assert_eq!(virtualbox.with("bin/VBoxManage", "#!/bin/sh\n").says(&[], &["--provider", "virtualbox"]), "");
}

#[test]
fn machines_in_software_emulation_get_a_patient_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let slower = format!(
        "set -e; eval \"$(sed -n '/^slower()/,/^}}/p' provision.sh)\"; slower <../cli/src/lab/lab.toml >{0}; lbctl check --effective {0}",
        file.path().display()
    );
    let mut shell = Command::new("bash");
    shell.args(["-c", &slower]).current_dir(vagrant()).env("PATH", program::path_with_lbctl());
    let effective = shell.output().unwrap();
    assert!(effective.status.success(), "{}", said(&effective));
    for setting in ["advertisement_interval = \"1s\"", "stall_timeout = \"5s\""] {
        assert!(said(&effective).contains(setting), "{setting}: {}", said(&effective));
    }
}
