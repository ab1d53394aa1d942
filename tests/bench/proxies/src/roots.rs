//! Programs of a Debian that is not this machine's: unpacked, not installed, into a folder that is kept. They run with the
//! loader and the libraries that belong to them, so nothing is mounted and nobody has to be root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// A release of Debian.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Debian {
    Bookworm,
    Trixie,
}

impl Debian {
    pub(crate) fn codename(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Bookworm => 12,
            Self::Trixie => 13,
        }
    }
}

/// Where programs are and how they are run.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// This machine's.
    Here,
    There {
        root: PathBuf,
        loader: PathBuf,
        libraries: PathBuf,
    },
}

/// Changes with what is in a root.
const EDITION: u32 = 1;
const PACKAGES: &str = "haproxy,nginx,libnginx-mod-stream";
/// Written last: a root without it is half of one.
const WHOLE: &str = "whole";

impl Root {
    /// This machine's where it is that Debian, else the one in `cache`, made where it is missing or broken.
    pub(crate) fn of(debian: Debian, cache: &Path) -> anyhow::Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if codename(&release) == Some(debian.codename()) {
            return Ok(Self::Here);
        }
        let root = cache.join(format!("{}-{EDITION}", debian.codename()));
        let is_whole = root.join(WHOLE).exists();
        if is_whole && let Ok(found) = Self::find(&root) {
            return Ok(found);
        }
        eprintln!("making a root of Debian {} in {}", debian.number(), root.display());
        make(debian, &release, &root).with_context(|| {
            format!("no programs of Debian {0}; `--peers` can leave them out", debian.number())
        })?;
        Self::find(&root)
    }

    fn find(root: &Path) -> anyhow::Result<Self> {
        let loader = first(
            &[root.join("usr/lib64"), root.join("usr/lib"), root.join("lib64"), root.join("lib")],
            |name| name.starts_with("ld-linux") && name.contains(".so"),
        );
        let libraries = first(&[root.join("usr/lib")], |name| name.ends_with("-linux-gnu"));
        let (Some(loader), Some(libraries)) = (loader, libraries) else {
            bail!("{} has no loader or no libraries", root.display());
        };
        let found = Self::There { root: root.to_owned(), loader, libraries };
        for (program, words) in [("haproxy", ["-v"]), ("nginx", ["-v"])] {
            let output = found.command(program).args(words).output()?;
            if !output.status.success() {
                bail!(
                    "{program} of {} does not run: {}",
                    root.display(),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        Ok(found)
    }

    /// A program of it.
    pub(crate) fn command(&self, program: &str) -> Command {
        match self {
            Self::Here => Command::new(sbin(Path::new("/"), program)),
            Self::There { root, loader, libraries } => {
                let mut command = Command::new(loader);
                command.arg("--library-path").arg(libraries).arg(sbin(root, program));
                command
            }
        }
    }

    /// The module of nginx for tcp; `None` where it is built in.
    pub(crate) fn stream_module(&self) -> Option<PathBuf> {
        let root = match self {
            Self::Here => Path::new("/"),
            Self::There { root, .. } => root,
        };
        let module = root.join("usr/lib/nginx/modules/ngx_stream_module.so");
        module.exists().then_some(module)
    }
}

fn sbin(root: &Path, program: &str) -> PathBuf {
    let places = ["usr/local/sbin", "usr/sbin", "usr/bin"].map(|folder| root.join(folder).join(program));
    let found = places.iter().find(|place| place.is_file());
    found.unwrap_or(&places[1]).clone()
}

fn first(folders: &[PathBuf], is_it: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&is_it))
}

fn codename(release: &str) -> Option<&str> {
    release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))
}

/// From the place that apt of this machine takes its packages from.
fn make(debian: Debian, release: &str, root: &Path) -> anyhow::Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    fs::create_dir_all(root.parent().context("a root is in a folder")?)?;
    let here = codename(release).context("this is no Debian")?;
    let targets = said(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME)",
        "Created-By: Packages",
    ]))?;
    let mirror = mirror(&targets, here).with_context(|| format!("apt-get knows no source of {here}"))?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=extract", "--quiet", "--include", PACKAGES, "--aptopt=Acquire::Retries \"5\""]);
    for kind in ["http", "https"] {
        let setting =
            said(Command::new("apt-config").args(["shell", "P", &format!("Acquire::{kind}::Proxy")]))?;
        if let Some(proxy) = setting.trim().strip_prefix("P='").and_then(|rest| rest.strip_suffix('\'')) {
            command.arg(format!("--aptopt=Acquire::{kind}::Proxy \"{proxy}\""));
        }
    }
    for unused in ["doc", "locale", "man"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unused}/*"));
    }
    said(command.arg(debian.codename()).arg(root).arg(mirror))?;
    fs::write(root.join(WHOLE), "")?;
    Ok(())
}

/// Of lines with a place and what it has, the first place that has `codename`.
fn mirror<'a>(targets: &'a str, codename: &str) -> Option<&'a str> {
    let pairs = targets.lines().filter_map(|line| line.split_once(' '));
    pairs.into_iter().find(|(_, has)| *has == codename).map(|(place, _)| place)
}

/// What a command wrote.
pub(crate) fn said(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let output = command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} is missing: tests/bench/run installs it"))?;
    if !output.status.success() {
        bail!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_that_of_the_release_and_not_that_of_its_updates() {
        let targets = "http://d.example/security/ bookworm-security\nhttp://d.example/debian/ bookworm\n\
                       http://d.example/debian/ bookworm-updates\n";
        assert_eq!(mirror(targets, "bookworm"), Some("http://d.example/debian/"));
        assert_eq!(mirror(targets, "trixie"), None);
    }

    #[test]
    fn the_release_of_this_machine_is_in_its_file() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("ID=other\n"), None);
    }
}
