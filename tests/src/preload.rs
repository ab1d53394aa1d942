//! `lbctl` with something of the C library replaced (LD_PRELOAD): the clock of the day, which a test can't set without setting it
//! for the whole machine, and a death at one moment.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    package::said,
    program::{self, Installed, write_script},
};

/// Where the machine's clock of the day stands, as the programs see it that [`Clock::program`] starts.
#[derive(Debug)]
pub struct Clock {
    ahead: File,
    program: PathBuf,
}

impl Clock {
    /// One that is right. `folder` keeps what belongs to it.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let (path, program) = (folder.join("ahead"), folder.join("lbctl"));
        let ahead = File::options().create_new(true).write(true).open(&path).expect("a file");
        // In its jail a daemon may read what is in the folder of its program.
        let (library, ours) = (build("clock", folder), copy(folder));
        let variables = format!("LBCTL_TESTS_CLOCK={} LD_PRELOAD={}", path.display(), library.display());
        write_script(&program, &format!("{variables} exec {} \"$@\"", ours.display()));
        let clock = Self { ahead, program };
        clock.set_ahead(0);
        clock
    }

    /// What is to be started in the place of `lbctl`.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// It jumps: so many seconds before the right time from now on.
    ///
    /// # Panics
    /// The file is gone.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead.write_all_at(&seconds.to_ne_bytes(), 0).expect("written");
    }
}

/// Installs an lbctl that is killed when it has the speaker and is not in charge yet, as the next process of an upgrade.
///
/// # Panics
/// There is no C compiler.
pub fn install_dying(program: &Installed) {
    let folder = program.path().parent().expect("a folder");
    let (library, ours) = (build("death", folder), copy(folder));
    program.install_script(&format!("LD_PRELOAD={} exec {} \"$@\"", library.display(), ours.display()));
}

fn copy(folder: &Path) -> PathBuf {
    let copy = folder.join("lbctl-itself");
    fs::copy(program::lbctl(), &copy).expect("a copy");
    copy
}

fn build(name: &str, folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/preload/{name}.c"));
    let library = folder.join(format!("{name}.so"));
    // Rust links with it, so it is there.
    let mut compiler = Command::new(program::find("cc"));
    said(compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(source).arg("-ldl"));
    library
}
