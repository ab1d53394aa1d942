//! `lbctl man`.

use std::{fs, io, path::PathBuf};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::Arguments;
use crate::exit::Exit;

/// Arguments of `lbctl man`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "One page for the program and one for each verb: lbctl.1, lbctl-run.1 and so on. The packages have \
                  them. Without a package: lbctl man /usr/local/share/man/man1\n\nExit codes: 0 written, 1 not, 64 usage."
)]
pub struct ManArguments {
    /// The folder for all pages, which is made; without it the first page is printed
    folder: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: &ManArguments) -> Exit {
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        return match Man::new(Arguments::command()).render(&mut page) {
            Ok(()) => super::print_all(&page),
            Err(error) => failed(&error, "the page"),
        };
    };
    let written =
        fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    match written {
        Ok(()) => Exit::Fine,
        Err(error) => failed(&error, &folder.display().to_string()),
    }
}

fn failed(error: &io::Error, what: &str) -> Exit {
    eprintln!("lbctl man: can't write {what}: {error}");
    Exit::Failure
}
