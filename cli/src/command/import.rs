//! `lbctl import`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use lb_vrrp::VirtualAddress;

use crate::{
    config::{self, Diagnostics, text},
    exit::Exit,
    import::{
        self, Refused, Vip,
        haproxy::{self, Options},
        keepalived::{self, Pair},
    },
};

/// Arguments of `lbctl import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lbctl import haproxy.cfg -o lb.toml && lbctl check lb.toml
  lbctl import haproxy.cfg lb1.conf lb2.conf -o lb.toml
  lbctl import haproxy.cfg keepalived.conf --node lb1=192.0.2.11 --node lb2=192.0.2.12 -o lb.toml
  lbctl import haproxy.cfg --vip 192.0.2.10 --node lb1=192.0.2.11 --node lb2=192.0.2.12 -o lb.toml

Every line is converted, or named on stderr with what to do about it. What HAProxy or Keepalived does without a
word and lbctl would do otherwise is written out, so that a converted file behaves as before.

Exit codes: 0 converted, 1 with --strict something could not be, or the file could not be written, 78 a file
can't be read as HAProxy's or Keepalived's.")]
pub struct ImportArguments {
    /// A file of HAProxy's, files of Keepalived's (one for each node), or both; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose the files are; without it their first words say it
    #[arg(long, value_name = "PROGRAM")]
    from: Option<From>,
    /// Where to write; `-`, or nothing, is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// Write nothing unless everything can be converted
    #[arg(long)]
    strict: bool,
    /// An address the nodes will share: a listener on it, or on a node's own address, becomes the pair's
    #[arg(long = "vip", value_name = "ADDRESS", requires = "nodes", value_parser = vip)]
    vips: Vec<Vip>,
    /// A node of the pair and its own address; once for each node, the preferred one first
    #[arg(long = "node", value_name = "NAME=ADDRESS", value_parser = super::init::node)]
    nodes: Vec<(String, Ipv4Addr)>,
    /// Number of the virtual router; no other one on the same network may have it (51 if nothing says it)
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    vrid: Option<u8>,
    /// The node that runs Keepalived a while longer: version, priorities and password stay as they are
    #[arg(long, value_name = "NODE")]
    foreign: Option<String>,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum From {
    /// haproxy.cfg
    Haproxy,
    /// keepalived.conf
    Keepalived,
}

/// A file as it was read.
struct Given {
    name: String,
    bytes: Vec<u8>,
    folder: PathBuf,
}

/// What came out of all files.
struct Whole {
    toml: String,
    notes: Vec<Diagnostics>,
    lost: usize,
    /// What must not be missed.
    before: Vec<String>,
}

/// Two `--node` that can't both be.
fn twin(nodes: &[(String, Ipv4Addr)]) -> Option<String> {
    nodes.iter().enumerate().find_map(|(at, (name, address))| {
        let before = nodes[..at].iter().find(|(other, at)| other == name || at == address)?;
        Some(format!(
            "--node {name}={address}: the {} is that of --node {}={} already",
            if before.0 == *name { "name" } else { "address" },
            before.0,
            before.1
        ))
    })
}

/// Runs the verb.
pub fn run(arguments: &ImportArguments) -> Exit {
    let mut files = Vec::new();
    for path in &arguments.files {
        match config::read(path) {
            Ok((name, bytes)) => {
                files.push(Given { name, bytes, folder: path.parent().unwrap_or(Path::new("")).to_owned() });
            }
            Err(report) => return unreadable(&report),
        }
    }
    let (of_keepalived, of_haproxy): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| match arguments.from {
            Some(from) => from == From::Keepalived,
            None => keepalived::is_keepalived(&file.bytes),
        });
    let wrong = wrong_arguments(arguments, &of_keepalived, &of_haproxy).or_else(|| twin(&arguments.nodes));
    if let Some(wrong) = wrong {
        eprintln!("lbctl: {wrong}; nothing was written");
        return Exit::Usage;
    }
    let output = arguments.output.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(path) = output.filter(|path| !arguments.force && path.exists()) {
        eprintln!("lbctl: {} is there already; --force writes over it", path.display());
        return Exit::Failure;
    }
    let salt = match random() {
        Ok(salt) => salt,
        Err(error) => {
            eprintln!("lbctl: can't read /dev/urandom: {error}");
            return Exit::Failure;
        }
    };
    let names: Vec<_> = of_haproxy.iter().chain(&of_keepalived).map(|file| file.name.clone()).collect();
    let names = names.join(", ");
    let whole = match convert(arguments, of_keepalived, of_haproxy, &names, salt) {
        Ok(whole) => whole,
        Err(Refused::Source(report)) => return unreadable(&report),
        Err(Refused::Arguments(why)) => {
            eprintln!("lbctl: {why}; nothing was written");
            return Exit::Usage;
        }
        Err(Refused::Bug(bug)) => {
            eprint!("{}", bug.report);
            eprintln!(
                "lbctl: what was made of {names} is refused by lbctl itself. That is a fault of lbctl: please report it with \
                 the lines above and the part of the file that they come from. Nothing was written."
            );
            return Exit::Failure;
        }
    };
    for notes in &whole.notes {
        eprint!("{notes}");
    }
    if arguments.strict && whole.lost > 0 {
        eprintln!("{}. Nothing was written.", Diagnostics::summary_of(&whole.notes));
        return Exit::Failure;
    }
    let written = match output {
        Some(path) => write_file(path, &whole.toml, arguments.force),
        None => write_stdout(&whole.toml),
    };
    if let Err(error) = written {
        let place = output.map_or_else(|| "stdout".to_owned(), |path| path.display().to_string());
        eprintln!("lbctl: can't write to {place}: {error}");
        return Exit::Failure;
    }
    if let Some(path) = output {
        eprintln!("{}: written{}", path.display(), verdict(&whole));
    }
    for reason in &whole.before {
        eprintln!("BEFORE IT SERVES: {reason}");
    }
    Exit::Fine
}

fn unreadable(report: &Diagnostics) -> Exit {
    eprint!("{report}");
    eprintln!("Nothing was written.");
    Exit::Configuration
}

/// Arguments that don't go together, or not with these files.
fn wrong_arguments(
    arguments: &ImportArguments,
    of_keepalived: &[Given],
    of_haproxy: &[Given],
) -> Option<String> {
    if let [_, second, ..] = of_haproxy {
        let message = "is the second file of HAProxy's, and one is converted at a time; put them together first, as in \
                       cat a.cfg b.cfg > whole.cfg";
        return Some(format!("{} {message}", second.name));
    }
    if of_keepalived.is_empty() {
        if !arguments.nodes.is_empty() && arguments.vips.is_empty() {
            return Some(
                "--node needs --vip, the address that the nodes share, or a file of Keepalived's".into(),
            );
        }
        return arguments.foreign.is_some().then(|| "--foreign is for files of Keepalived's".into());
    }
    if !arguments.vips.is_empty() || arguments.vrid.is_some() {
        let given = if arguments.vips.is_empty() { "--vrid" } else { "--vip" };
        return Some(format!(
            "{given} is for files of HAProxy's alone; here {} says it",
            of_keepalived[0].name
        ));
    }
    (of_keepalived.len() > 5).then(|| "a cluster has at most 5 nodes, and each has one file".into())
}

fn convert(
    arguments: &ImportArguments,
    of_keepalived: Vec<Given>,
    of_haproxy: Vec<Given>,
    names: &str,
    salt: [u8; 16],
) -> Result<Whole, Refused> {
    let output = arguments.output.as_deref().filter(|path| *path != Path::new("-"));
    let output = output.map_or_else(|| "lb.toml".to_owned(), |path| path.display().to_string());
    let pair = if of_keepalived.is_empty() {
        None
    } else {
        let inputs: Vec<_> = of_keepalived
            .into_iter()
            .map(|file| keepalived::Input { name: file.name, bytes: file.bytes, folder: file.folder })
            .collect();
        let options = keepalived::Options {
            strict: arguments.strict,
            nodes: arguments.nodes.clone(),
            foreign: arguments.foreign.clone(),
        };
        Some(keepalived::read(&inputs, &options)?)
    };
    let Some(file) = of_haproxy.into_iter().next() else {
        let pair = pair.expect("clap asks for one file at least");
        let toml = import::alone(&pair, names, &output)?;
        let Pair { notes, lost, missing, .. } = pair;
        return Ok(Whole { toml, notes, lost, before: missing.into_iter().collect() });
    };
    let options = Options {
        salt,
        strict: arguments.strict,
        vips: pair.as_ref().map_or_else(|| arguments.vips.clone(), |pair| pair.vips.clone()),
        nodes: pair.as_ref().map_or_else(|| arguments.nodes.clone(), |pair| pair.nodes.clone()),
        vrid: arguments.vrid.unwrap_or(haproxy::VRID),
        // A variable that is no text can't be one of the file's.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        folder: file.folder,
        output,
        called: names.to_owned(),
        pair: pair.clone(),
    };
    let imported = haproxy::import(&file.bytes, &file.name, &options)?;
    let mut whole = Whole {
        toml: imported.toml,
        notes: vec![imported.notes],
        lost: imported.lost,
        before: imported.opened.into_iter().collect(),
    };
    if let Some(Pair { notes, lost, missing, .. }) = pair {
        whole.notes.extend(notes);
        whole.lost += lost;
        whole.before.extend(missing);
    }
    Ok(whole)
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// `, with 3 warnings; 2 about what is not in it, or not the same`
fn verdict(whole: &Whole) -> String {
    let summary = Diagnostics::summary_of(&whole.notes);
    match whole.lost {
        _ if summary.is_empty() => String::new(),
        0 => format!(", with {summary}; all that decides what is served is in it"),
        lost => format!(", with {summary}; {lost} about what is not in it, or not the same"),
    }
}

/// Whole or not at all: what is there stays until the new file is complete.
fn write_file(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let scratch = folder.join(format!(".{name}.{}", std::process::id()));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&scratch)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if force { fs::rename(&scratch, path) } else { fs::hard_link(&scratch, path) }
    })();
    // After a rename it is gone already.
    let _ = fs::remove_file(&scratch);
    result
}

fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that went away (`| head`) has seen what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn vip(argument: &str) -> Result<Vip, String> {
    let VirtualAddress { address, .. } =
        text::virtual_address(argument).map_err(|why| format!("it {why}"))?;
    Ok(Vip { text: argument.to_owned(), address, table: "web".to_owned() })
}
