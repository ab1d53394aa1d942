//! Programs that the tests run.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Where the program `name` of another project is.
///
/// # Panics
/// It is not installed: a test that can't be run has not shown what it shows, so it fails.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: tests/run installs it"))
}

/// Our own program, the one that the lab runs: `LBCTL`, or what cargo built beside this test.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn lbctl() -> String {
    let built = || {
        let test = env::current_exe().expect("a test has a path");
        // target/PROFILE/deps/TEST
        test.parent().and_then(Path::parent).expect("cargo's folders").join("lbctl")
    };
    let path = env::var_os("LBCTL").map_or_else(built, PathBuf::from);
    assert!(path.is_file(), "{} is missing: cargo build -p lbctl", path.display());
    path.to_str().expect("UTF-8").to_owned()
}
