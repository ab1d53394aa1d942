//! Certificates and keys out of their files: with the configuration, and again when the files change.

use std::path::{Path, PathBuf};

use lb_proxy::{
    config::TlsFiles,
    file::{self, ReadError},
    tls::{Certificate, CertificateError, Shown},
};

/// Of a file with certificates or a key, in bytes.
const LARGEST: u64 = 1 << 20;

/// Files of a folder that are none with certificates, by their ends. HAProxy passes over the same.
const OTHERS: [&str; 4] = [".key", ".issuer", ".ocsp", ".sctl"];

/// What is added to the name of a certificate that is there with several kinds of keys, each in its own file, as in HAProxy.
const KINDS: [&str; 2] = [".rsa", ".ecdsa"];

/// What was found in the files of a listener.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of the configuration, and in a folder by name; with the entry of the configuration that names each.
    pub(crate) shown: Vec<(usize, Shown)>,
    /// What was looked at, also in vain.
    pub(crate) paths: Vec<PathBuf>,
    /// What is wrong.
    pub(crate) wrong: Vec<Wrong>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wrong {
    /// Which entry of the configuration names it.
    pub(crate) entry: usize,
    /// It is the one that `key` names.
    pub(crate) is_key: bool,
    pub(crate) file: String,
    /// The end of a sentence that begins with the file.
    pub(crate) why: String,
}

/// The files that stand for one of this name with several kinds of keys.
pub(crate) fn kinds(name: &str) -> [String; 2] {
    KINDS.map(|kind| format!("{name}{kind}"))
}

/// Reads all of `files`, whose paths are relative to `folder`.
pub(crate) fn read(files: &[TlsFiles], folder: &Path) -> Found {
    let mut found = Found::default();
    for (entry, files) in files.iter().enumerate() {
        Reader { entry, files, folder, found: &mut found }.read();
    }
    found
}

struct Reader<'a> {
    entry: usize,
    files: &'a TlsFiles,
    folder: &'a Path,
    found: &'a mut Found,
}

impl Reader<'_> {
    fn read(&mut self) {
        let name = &self.files.certificate;
        let key = self.files.key.as_ref().map(|key| (key, self.content(key)));
        match self.content(name) {
            Err(ReadError::NoFile(_)) if self.folder.join(name).is_dir() => match &key {
                None => self.read_folder(name),
                Some(_) => self.wrong(name, "is a folder, and `key` is of one certificate; leave `key` out"),
            },
            Err(ReadError::Missing) if key.is_none() && self.read_kinds(name) => {}
            Err(error) => {
                self.wrong(name, &told(&error));
                self.key_wrong(&key);
            }
            Ok(certificates) => match &key {
                Some((_, Err(_))) => self.key_wrong(&key),
                Some((file, Ok(secret))) => match Certificate::from_pem(&certificates, Some(secret)) {
                    Ok(certificate) => self.show(name, certificate),
                    Err(error) if error.is_of_key() => self.add(true, file, error.to_string()),
                    Err(error) => self.wrong(name, &error.to_string()),
                },
                None => self.read_one(name, &certificates),
            },
        }
    }

    fn key_wrong(&mut self, key: &Option<(&String, Result<Vec<u8>, ReadError>)>) {
        if let Some((file, Err(error))) = key {
            self.add(true, file, told(error));
        }
    }

    /// All files of a folder, by name.
    fn read_folder(&mut self, folder: &str) {
        let names = match file::list(&self.folder.join(folder)) {
            Ok(names) => names,
            Err(error) => return self.wrong(folder, &told(&error)),
        };
        let is_certificate =
            |name: &String| !name.starts_with('.') && !OTHERS.iter().any(|end| name.ends_with(end));
        let mut is_empty = true;
        for name in names.into_iter().filter(is_certificate) {
            let name = format!("{}/{name}", folder.trim_end_matches('/'));
            match self.content(&name) {
                Err(ReadError::NoFile(_)) => continue,
                Err(error) => self.wrong(&name, &told(&error)),
                Ok(certificates) => self.read_one(&name, &certificates),
            }
            is_empty = false;
        }
        if is_empty {
            self.wrong(folder, "is a folder without a certificate; they are in files like site.pem");
        }
    }

    /// Those of `site.pem` are in `site.pem.rsa` and `site.pem.ecdsa`. Are any there?
    fn read_kinds(&mut self, name: &str) -> bool {
        let mut is_there = false;
        for kind in kinds(name) {
            match self.content(&kind) {
                Err(ReadError::Missing) => continue,
                Err(error) => self.wrong(&kind, &told(&error)),
                Ok(certificates) => self.read_one(&kind, &certificates),
            }
            is_there = true;
        }
        is_there
    }

    /// One whose key is in the same file, or beside it under a name that follows from its own, as in HAProxy.
    fn read_one(&mut self, name: &str, certificates: &[u8]) {
        let mut outcome = Certificate::from_pem(certificates, None);
        if matches!(outcome, Err(CertificateError::NoKey)) {
            for beside in [format!("{name}.key"), Path::new(name).with_extension("key").display().to_string()]
            {
                match self.content(&beside) {
                    Ok(secret) => outcome = Certificate::from_pem(certificates, Some(&secret)),
                    Err(ReadError::Missing) => continue,
                    Err(error) => return self.wrong(&beside, &told(&error)),
                }
                if let Err(error) = &outcome
                    && error.is_of_key()
                {
                    return self.wrong(&beside, &error.to_string());
                }
                break;
            }
        }
        match outcome {
            Ok(certificate) => self.show(name, certificate),
            Err(error) => self.wrong(name, &error.to_string()),
        }
    }

    fn content(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        let path = self.folder.join(name);
        let content = file::read(&path, LARGEST);
        self.found.paths.push(path);
        content
    }

    fn show(&mut self, name: &str, certificate: Certificate) {
        let names = self.files.names.clone();
        self.found.shown.push((self.entry, Shown { file: name.to_owned(), certificate, names }));
    }

    fn wrong(&mut self, file: &str, why: &str) {
        self.add(false, file, why.to_owned());
    }

    fn add(&mut self, is_key: bool, file: &str, why: String) {
        self.found.wrong.push(Wrong { entry: self.entry, is_key, file: file.to_owned(), why });
    }
}

fn told(error: &ReadError) -> String {
    match error {
        ReadError::TooLarge => format!("is larger than {} kB", LARGEST / 1024),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CERTIFICATE: &str = include_str!("../../tests/good/site.crt");
    const KEY: &str = include_str!("../../tests/good/site.key");

    fn one(certificate: &str) -> [TlsFiles; 1] {
        [TlsFiles { certificate: certificate.to_owned(), key: None, names: None }]
    }

    fn files(found: &Found) -> Vec<&str> {
        found.shown.iter().map(|(_, shown)| &*shown.file).collect()
    }

    #[test]
    fn key_is_found_beside_its_certificate_and_what_is_no_certificate_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
        fs::create_dir(folder.path().join("all")).unwrap();
        fs::create_dir(folder.path().join("all/folder")).unwrap();
        write("all/b.pem", CERTIFICATE);
        write("all/b.pem.key", KEY);
        write("all/a.crt", CERTIFICATE);
        write("all/a.key", KEY);
        write("all/c.pem", &format!("{KEY}{CERTIFICATE}"));
        for passed in ["c.pem.ocsp", "c.pem.issuer", "c.pem.sctl", ".c.pem.swp"] {
            write(&format!("all/{passed}"), "nothing");
        }
        let found = read(&one("all"), folder.path());
        assert_eq!(found.wrong, []);
        assert_eq!(files(&found), ["all/a.crt", "all/b.pem", "all/c.pem"]);
        assert!(found.paths.contains(&folder.path().join("all/a.key")), "{:?}", found.paths);
        let found = read(&one("all/b.pem"), folder.path());
        assert_eq!(files(&found), ["all/b.pem"]);
    }

    #[test]
    fn certificate_of_several_kinds_has_a_file_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = || read(&one("site.pem"), folder.path()).wrong;
        assert_eq!(wrong()[0].file, "site.pem");
        fs::write(folder.path().join("site.pem.ecdsa"), format!("{KEY}{CERTIFICATE}")).unwrap();
        let found = read(&one("site.pem"), folder.path());
        assert_eq!((files(&found), found.wrong.len()), (vec!["site.pem.ecdsa"], 0));
        // One that comes later is looked for.
        assert!(found.paths.contains(&folder.path().join("site.pem.rsa")), "{:?}", found.paths);
        fs::write(folder.path().join("site.pem.rsa"), "nonsense").unwrap();
        assert_eq!(wrong()[0].file, "site.pem.rsa");
    }

    #[test]
    fn key_beside_a_certificate_that_is_not_its_own_is_said_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("site.crt"), CERTIFICATE).unwrap();
        let wrong = || read(&one("site.crt"), folder.path()).wrong;
        assert!(wrong()[0].why.starts_with("has no private key; "), "{:?}", wrong());
        fs::write(folder.path().join("site.key"), include_str!("../../tests/bad/tls-other.key")).unwrap();
        let why = "does not belong to the certificate: its key is another one".to_owned();
        assert_eq!(wrong(), [Wrong { entry: 0, is_key: false, file: "site.key".to_owned(), why }]);
    }
}
