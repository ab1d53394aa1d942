//! Landlock (landlock(7)): which files the processes reach, whatever their rights say. It can't be widened afterwards, so
//! folders are let in and not files: one that is replaced, as editors and package managers do, is another file.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};
use nix::unistd::geteuid;

use super::Start;
use crate::config::Config;

/// Handled are the rights of this version; an older kernel handles fewer.
const VERSION: ABI = ABI::V6;

/// Folders of `/` that are closed, unless the file names something in them at the start: those of people, and those that
/// everybody may write. In all others the rights of files decide what is read, also after a reload.
const CLOSED: [&str; 5] = ["/boot", "/dev", "/home", "/root", "/tmp"];

/// Open whatever `/` has at the start.
const READ: [&str; 6] = ["/etc", "/proc", "/run", "/sys", "/usr", "/var"];

/// What every program needs.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// Programs, and the loader and its libraries.
const PROGRAMS: [&str; 5] = ["/lib", "/lib64", "/nix", "/opt", "/usr"];

/// Where logs are.
const LOGS: &str = "/var/log";

/// Where Unix sockets are. Root could take those of others away there.
const SOCKETS: &str = "/run";

/// What is allowed in which folders.
#[derive(Debug, Default, Eq, PartialEq)]
struct Reach {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    sockets: BTreeSet<PathBuf>,
    programs: BTreeSet<PathBuf>,
}

impl Reach {
    /// `is_root`: whoever runs it may do in folders whatever is let in here.
    fn of(config: &Config, start: Start<'_>, is_root: bool) -> Self {
        let mut reach = Self::default();
        reach.read.extend(READ.map(PathBuf::from));
        let found = fs::read_dir("/").into_iter().flatten().flatten().map(|entry| entry.path());
        let is_open =
            |folder: &PathBuf| folder.is_dir() && CLOSED.iter().all(|closed| folder != Path::new(closed));
        reach.read.extend(found.filter(is_open));
        let files = config.files.iter().chain(config.proxy.maps.iter().map(|map| &map.file));
        for file in files.map(PathBuf::as_path).chain([start.file]) {
            reach.read.extend(folders_of(file));
        }
        reach.write.extend([PathBuf::from(LOGS), start.runtime_dir.to_owned()]);
        for file in config.log_files().chain([start.control]).chain(start.pid_file) {
            reach.write.extend(folders_of(file));
        }
        if !is_root {
            reach.sockets.insert(PathBuf::from(SOCKETS));
        }
        let sockets = config.proxy.frontends.iter().flat_map(|frontend| &frontend.unix);
        for path in sockets.filter_map(|bind| bind.address.path()) {
            reach.sockets.extend(folders_of(path));
        }
        reach.programs.extend(PROGRAMS.map(PathBuf::from));
        let own = fs::read_link("/proc/self/exe").ok();
        for program in own.as_deref().into_iter().chain(start.program) {
            reach.programs.extend(folders_of(program));
        }
        reach
    }
}

/// The folder of a file, and that of the file to which links lead. Of a folder that may come later the one in which it
/// would be made. Everything (`/`) is never let in, but a file that is there.
fn folders_of(file: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let folder = |path: PathBuf| {
        let found = path.ancestors().skip(1).find(|folder| folder.is_dir())?.to_owned();
        if found.parent().is_some() { Some(found) } else { path.is_file().then_some(path) }
    };
    let named = std::path::absolute(file).ok();
    let found = fs::canonicalize(file).ok();
    [named, found].into_iter().flatten().filter_map(folder)
}

/// Confines this thread and all that it starts to what `config` names and what is usual. Where that can't be had it goes on
/// without: what is to be said then.
pub(super) fn confine(config: &Config, start: Start<'_>) -> Option<String> {
    let reach = Reach::of(config, start, geteuid().is_root());
    let why = match restrict(&reach, scope(config, start)).map(|status| status.ruleset) {
        Ok(RulesetStatus::NotEnforced) => "this kernel has none".to_owned(),
        Ok(RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced) => return None,
        Err(error) => error.to_string(),
    };
    Some(format!(
        "lbctl runs without Landlock, so the rights of files alone say which ones it reaches: {why}"
    ))
}

/// Whom it may not signal, and whose abstract sockets it may not connect to: those of whoever is not confined with it.
fn scope(config: &Config, start: Start<'_>) -> BitFlags<Scope> {
    let mut scope = BitFlags::empty();
    // A speaker of an lbctl that was not confined would be out of reach for who takes it over, and has to be ended at times.
    if !start.takes_over {
        scope |= Scope::Signal;
    }
    let manager = env::var_os("NOTIFY_SOCKET").is_some_and(|at| at.as_bytes().starts_with(b"@"));
    // A speaker asks whose the name of its lock is.
    if !manager && config.groups.is_empty() && !config.names_abstract_sockets() {
        scope |= Scope::AbstractUnixSocket;
    }
    scope
}

fn restrict(reach: &Reach, scope: BitFlags<Scope>) -> Result<RestrictionStatus, RulesetError> {
    let look = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let change = look | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeSock | RemoveFile});
    let rules = Ruleset::default().handle_access(AccessFs::from_all(VERSION))?;
    let rules = if scope.is_empty() { rules } else { rules.scope(scope)? };
    rules
        .create()?
        .add_rules(path_beneath_rules(&reach.read, look))?
        .add_rules(path_beneath_rules(DEVICES, look | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(&reach.write, change))?
        .add_rules(path_beneath_rules(
            &reach.sockets,
            look | make_bitflags!(AccessFs::{MakeSock | RemoveFile}),
        ))?
        .add_rules(path_beneath_rules(&reach.programs, look | AccessFs::Execute))?
        .restrict_self()
}

/// Confines a speaker to its locks: it reads nothing else, starts nothing, and speaks no TCP.
pub(super) fn confine_speaker(runtime_dir: &Path) -> Result<(), RulesetError> {
    let files: BitFlags<AccessFs> = AccessFs::from_all(VERSION);
    let locks = make_bitflags!(AccessFs::{ReadFile | WriteFile | MakeReg});
    Ruleset::default()
        .handle_access(files)?
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules([runtime_dir], locks))?
        .restrict_self()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        os::{
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixListener, UnixStream},
        },
        process::Command,
        thread,
    };

    use super::*;
    use crate::config;

    fn places(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
        (folder.join("lb.toml"), folder.join("run"), folder.join("run/control.sock"))
    }

    fn start<'a>(file: &'a Path, runtime_dir: &'a Path, control: &'a Path) -> Start<'a> {
        Start {
            program: None,
            file,
            runtime_dir,
            control,
            pid_file: None,
            takes_over: false,
            is_unconfined: false,
        }
    }

    #[test]
    fn folders_of_all_that_the_file_names_are_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let (file, runtime_dir, control) = places(folder.path());
        for name in ["pages", "maps", "logs", "sockets", "run"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("pages/503.http"), "sorry").unwrap();
        fs::write(folder.path().join("maps/hosts"), "").unwrap();
        let at = folder.path().display();
        let text = format!(
            "[global]\nlog = [{{ file = \"{at}/logs/later/access.log\" }}, {{ file = \"/nowhere/access.log\" }}]\n\
             [map.hosts]\nfile = \"maps/hosts\"\n[listen.web]\n\
             bind = [\"*:80\", {{ unix = \"{at}/sockets/web.sock\" }}]\nservers = [\"192.0.2.21:80\"]\n\
             error_page = {{ 503 = \"pages/503.http\" }}\n",
        );
        fs::write(&file, text).unwrap();
        let config = config::load(&file).unwrap();
        let reach = Reach::of(&config, start(&file, &runtime_dir, &control), false);
        for read in [folder.path().to_owned(), folder.path().join("pages"), folder.path().join("maps")] {
            assert!(reach.read.contains(&read), "{read:?} {reach:?}");
            assert!(!reach.write.contains(&read) && !reach.programs.contains(&read), "{read:?} {reach:?}");
        }
        let write = [folder.path().join("logs"), "/var/log".into(), runtime_dir];
        assert_eq!(reach.write, BTreeSet::from(write));
        assert_eq!(reach.sockets, BTreeSet::from([folder.path().join("sockets"), "/run".into()]));
        let of_root = Reach::of(&config, start(&file, &places(folder.path()).1, &control), true);
        assert_eq!(
            of_root.sockets,
            BTreeSet::from([folder.path().join("sockets")]),
            "others have theirs in /run"
        );
    }

    #[test]
    fn confined_thread_reaches_its_folders_and_no_others_and_runs_nothing_that_it_can_write() {
        let known = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let (file, runtime_dir, control) = places(known.path());
        fs::create_dir(&runtime_dir).unwrap();
        fs::write(&file, "[listen.web]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\n").unwrap();
        fs::write(other.path().join("secret"), "").unwrap();
        let config = config::load(&file).unwrap();
        let name = format!("lbctl-test-{}", std::process::id());
        let listens = SocketAddr::from_abstract_name(name).unwrap();
        let _listener = UnixListener::bind_addr(&listens).unwrap();
        let (inside, outside) = (known.path().to_owned(), other.path().to_owned());
        thread::spawn(move || {
            let why_not = confine(&config, start(&file, &runtime_dir, &control));
            assert_eq!(why_not, None, "this test needs a kernel with Landlock");
            let is_refused = |outcome: io::Result<()>| {
                outcome.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
            };
            fs::read(&file).unwrap();
            // Replaced as an editor does it, from outside.
            assert!(is_refused(fs::write(inside.join("lb.toml"), "")));
            assert!(is_refused(fs::read(outside.join("secret")).map(|_| ())));
            assert!(is_refused(fs::write(outside.join("new"), "")));
            assert!(is_refused(fs::remove_file(outside.join("secret"))));
            let strange = UnixStream::connect_addr(&listens).map(|_| ());
            assert!(is_refused(strange), "what others offer without a file");
            let program = inside.join("run/program");
            fs::copy("/usr/bin/true", &program).unwrap();
            assert!(is_refused(Command::new(&program).status().map(|_| ())));
            assert!(Command::new("/usr/bin/true").status().unwrap().success());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn speaker_reaches_its_locks_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let runtime_dir = folder.path().to_owned();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        thread::spawn(move || {
            confine_speaker(&runtime_dir).unwrap();
            fs::write(runtime_dir.join("speaker.lock"), "").unwrap();
            assert!(fs::read("/etc/passwd").is_err(), "this test needs a kernel with Landlock");
            assert!(Command::new("/usr/bin/true").status().is_err());
            assert!(std::net::TcpStream::connect(listener.local_addr().unwrap()).is_err());
        })
        .join()
        .unwrap();
    }
}
