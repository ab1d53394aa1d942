//! `lbctl import`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use lb_vrrp::VirtualAddress;

use crate::{
    config::{self, text},
    exit::Exit,
    import::haproxy::{self, Options, Refused, Vip},
};

/// Arguments of `lbctl import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lbctl import haproxy.cfg -o lb.toml && lbctl check lb.toml
  lbctl import haproxy.cfg --vip 192.0.2.10 --node lb1=192.0.2.11 --node lb2=192.0.2.12 -o lb.toml

Every line is converted, or named on stderr with what to do about it. What HAProxy does without a word and
lbctl would do otherwise is written out, so that a converted file behaves as before.

Exit codes: 0 converted, 1 with --strict something could not be, or the file could not be written, 78 the file
can't be read as HAProxy's.")]
pub struct ImportArguments {
    /// HAProxy's file; `-` reads standard input
    file: PathBuf,
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
    #[arg(long = "node", value_name = "NAME=ADDRESS", requires = "vips", value_parser = super::init::node)]
    nodes: Vec<(String, Ipv4Addr)>,
    /// Number of the virtual router; no other one on the same network may have it
    #[arg(long, default_value_t = 51, value_parser = clap::value_parser!(u8).range(1..))]
    vrid: u8,
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
    let (name, bytes) = match config::read(&arguments.file) {
        Ok(read) => read,
        Err(report) => {
            eprint!("{report}");
            eprintln!("Nothing was written.");
            return Exit::Configuration;
        }
    };
    if let Some(twin) = twin(&arguments.nodes) {
        eprintln!("lbctl: {twin}; nothing was written");
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
    let options = Options {
        salt,
        strict: arguments.strict,
        vips: arguments.vips.clone(),
        nodes: arguments.nodes.clone(),
        vrid: arguments.vrid,
        // A variable that is no text can't be one of the file's.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        folder: arguments.file.parent().unwrap_or(Path::new("")).to_owned(),
        output: output.map_or_else(|| "lb.toml".to_owned(), |path| path.display().to_string()),
    };
    let imported = match haproxy::import(&bytes, &name, &options) {
        Ok(imported) => imported,
        Err(Refused::Source(report)) => {
            eprint!("{report}");
            eprintln!("Nothing was written.");
            return Exit::Configuration;
        }
        Err(Refused::Bug(bug)) => {
            eprint!("{}", bug.report);
            eprintln!(
                "lbctl: what was made of {name} is refused by lbctl itself. That is a fault of lbctl: please report it with \
                 the lines above and the part of the file that they come from. Nothing was written."
            );
            return Exit::Failure;
        }
    };
    eprint!("{}", imported.notes);
    if arguments.strict && imported.lost > 0 {
        eprintln!("{}. Nothing was written.", imported.notes.summary());
        return Exit::Failure;
    }
    let written = match output {
        Some(path) => write_file(path, &imported.toml, arguments.force),
        None => write_stdout(&imported.toml),
    };
    if let Err(error) = written {
        let place = output.map_or_else(|| "stdout".to_owned(), |path| path.display().to_string());
        eprintln!("lbctl: can't write to {place}: {error}");
        return Exit::Failure;
    }
    if let Some(path) = output {
        eprintln!("{}: written{}", path.display(), verdict(&imported));
    }
    if let Some(opened) = &imported.opened {
        eprintln!("BEFORE IT SERVES: {opened}");
    }
    Exit::Fine
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// `, with 3 warnings; 2 about what is not in it, or not the same`
fn verdict(imported: &crate::import::Imported) -> String {
    match (imported.notes.warnings(), imported.lost) {
        (0, _) => String::new(),
        (_, 0) => format!(", with {}; all that decides what is served is in it", imported.notes.summary()),
        (_, lost) => {
            format!(", with {}; {lost} about what is not in it, or not the same", imported.notes.summary())
        }
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
    Ok(Vip { text: argument.to_owned(), address })
}
