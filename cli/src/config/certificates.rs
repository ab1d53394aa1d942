//! Certificates and keys out of their files: with the configuration, and again when the files change.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use lb_proxy::{
    config::TlsFiles,
    file::{self, ReadError},
    tls::{Certificate, CertificateError, Shown},
};
use zeroize::Zeroizing;

/// Of a file with certificates or a key, in bytes.
const LARGEST: u64 = 1 << 20;

/// Files of a folder that are none with certificates, by their ends. HAProxy passes over the same.
const OTHERS: [&str; 4] = [".key", ".issuer", ".ocsp", ".sctl"];

/// What is added to the name of a certificate that is there with several kinds of keys, each in its own file, as in HAProxy.
const KINDS: [&str; 2] = [".ecdsa", ".rsa"];

/// What was found in the files of a listener.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of the configuration, and in a folder by name; with the entry of the configuration that names each.
    pub(crate) shown: Vec<(usize, Shown)>,
    /// What was looked at, also in vain.
    pub(crate) paths: Vec<PathBuf>,
    /// What is wrong.
    pub(crate) wrong: Vec<Wrong>,
    /// Responses of OCSP that are not shown beside their certificates.
    pub(crate) unstapled: Vec<Unstapled>,
}

/// A response of OCSP beside a certificate, and why it is not shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unstapled {
    /// Which entry of the configuration names the certificate.
    pub(crate) entry: usize,
    pub(crate) file: String,
    pub(crate) certificate: String,
    /// The end of a sentence that begins with the file.
    pub(crate) why: String,
    /// Time has done it, and not a hand.
    pub(crate) is_of_time: bool,
}

/// What is wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wrong {
    /// Which entry of the configuration names it.
    pub(crate) entry: usize,
    /// It is the one that `key` names.
    pub(crate) is_key: bool,
    pub(crate) file: String,
    /// The certificate that can't be shown: `file`, or the one that this is the key of.
    pub(crate) certificate: String,
    /// It is one of a folder, which may have others.
    pub(crate) is_of_folder: bool,
    /// The end of a sentence that begins with the file.
    pub(crate) why: String,
}

/// The names among `names` of a folder's files that are certificates, and not what is beside them.
pub(crate) fn among(names: Vec<String>) -> impl Iterator<Item = String> {
    let is_other = |name: &String| name.starts_with('.') || OTHERS.iter().any(|end| name.ends_with(end));
    names.into_iter().filter(move |name| !is_other(name))
}

/// The names under which the key of a certificate may be beside it, as in HAProxy.
pub(crate) fn keys(name: &str) -> [String; 2] {
    [format!("{name}.key"), Path::new(name).with_extension("key").display().to_string()]
}

/// Where what an authority has said of a certificate is, as in HAProxy.
pub(crate) fn ocsp(name: &str) -> String {
    format!("{name}.ocsp")
}

/// The files that stand for one of this name with several kinds of keys.
pub(crate) fn kinds(name: &str) -> [String; 2] {
    KINDS.map(|kind| format!("{name}{kind}"))
}

/// Reads all of `files`, whose paths are relative to `folder`. What is over at `now` is not stapled.
pub(crate) fn read(files: &[TlsFiles], folder: &Path, now: SystemTime) -> Found {
    let mut found = Found::default();
    for (entry, files) in files.iter().enumerate() {
        Reader { entry, files, folder, now, is_of_folder: false, found: &mut found }.read();
    }
    found
}

/// What is in a file. There may be a key in it: these bytes are overwritten when the certificate is made.
type Content = Result<Zeroizing<Vec<u8>>, ReadError>;

struct Reader<'a> {
    entry: usize,
    files: &'a TlsFiles,
    folder: &'a Path,
    now: SystemTime,
    is_of_folder: bool,
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
                Some((file, Ok(secret))) => {
                    match Certificate::from_pem(&certificates, Some(secret.as_slice())) {
                        Ok(certificate) => self.show(name, certificate),
                        Err(error) if error.is_of_key() => self.add(true, file, name, error.to_string()),
                        Err(error) => self.wrong(name, &error.to_string()),
                    }
                }
                None => self.read_one(name, &certificates),
            },
        }
    }

    fn key_wrong(&mut self, key: &Option<(&String, Content)>) {
        if let Some((file, Err(error))) = key {
            let certificate = self.files.certificate.clone();
            self.add(true, file, &certificate, told(error));
        }
    }

    /// All files of a folder, by name.
    fn read_folder(&mut self, folder: &str) {
        let names = match file::list(&self.folder.join(folder)) {
            Ok(names) => names,
            Err(error) => return self.wrong(folder, &told(&error)),
        };
        let mut is_empty = true;
        self.is_of_folder = true;
        for name in among(names) {
            let name = format!("{}/{name}", folder.trim_end_matches('/'));
            match self.content(&name) {
                Err(ReadError::NoFile(_)) => continue,
                Err(error) => self.wrong(&name, &told(&error)),
                Ok(certificates) => self.read_one(&name, &certificates),
            }
            is_empty = false;
        }
        self.is_of_folder = false;
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
            for beside in keys(name) {
                match self.content(&beside) {
                    Ok(secret) => outcome = Certificate::from_pem(certificates, Some(secret.as_slice())),
                    Err(ReadError::Missing) => continue,
                    Err(error) => return self.add(false, &beside, name, told(&error)),
                }
                if let Err(error) = &outcome
                    && error.is_of_key()
                {
                    return self.add(false, &beside, name, error.to_string());
                }
                break;
            }
        }
        match outcome {
            Ok(certificate) => self.show(name, certificate),
            Err(error) => self.wrong(name, &error.to_string()),
        }
    }

    fn content(&mut self, name: &str) -> Content {
        let path = self.folder.join(name);
        let content = file::read_secret(&path, LARGEST);
        self.found.paths.push(path);
        content
    }

    fn show(&mut self, name: &str, mut certificate: Certificate) {
        let file = ocsp(name);
        let (why, is_of_time) = match self.content(&file) {
            Err(ReadError::Missing) => (None, false),
            Err(error) => (Some(told(&error)), false),
            Ok(response) => {
                let error = certificate.staple(&response, self.now).err();
                (error.as_ref().map(ToString::to_string), error.is_some_and(|error| error.is_of_time()))
            }
        };
        let (entry, certificate_file) = (self.entry, name.to_owned());
        let unstapled =
            why.map(|why| Unstapled { entry, file, certificate: certificate_file, why, is_of_time });
        self.found.unstapled.extend(unstapled);
        let names = self.files.names.clone();
        self.found.shown.push((self.entry, Shown { file: name.to_owned(), certificate, names }));
    }

    fn wrong(&mut self, file: &str, why: &str) {
        self.add(false, file, file, why.to_owned());
    }

    fn add(&mut self, is_key: bool, file: &str, certificate: &str, why: String) {
        self.found.wrong.push(Wrong {
            entry: self.entry,
            is_key,
            file: file.to_owned(),
            certificate: certificate.to_owned(),
            is_of_folder: self.is_of_folder,
            why,
        });
    }
}

/// The files among `paths` with a private key that everybody on this machine may read.
pub(crate) fn open_keys(paths: &[PathBuf]) -> Vec<PathBuf> {
    let is_open = |path: &&PathBuf| {
        let mode = std::fs::metadata(path).map_or(0, |found| found.mode());
        mode & 0o004 != 0 && file::read_secret(path, LARGEST).is_ok_and(|text| has_key(&text))
    };
    let mut open: Vec<_> = paths.iter().filter(is_open).cloned().collect();
    open.sort();
    open.dedup();
    open
}

fn has_key(text: &[u8]) -> bool {
    const KEY: &[u8] = b"PRIVATE KEY-----";
    text.windows(KEY.len()).any(|window| window == KEY)
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
        let found = read(&one("all"), folder.path(), SystemTime::now());
        assert_eq!(found.wrong, []);
        assert_eq!(files(&found), ["all/a.crt", "all/b.pem", "all/c.pem"]);
        assert!(found.paths.contains(&folder.path().join("all/a.key")), "{:?}", found.paths);
        let found = read(&one("all/b.pem"), folder.path(), SystemTime::now());
        assert_eq!(files(&found), ["all/b.pem"]);
    }

    #[test]
    fn key_that_everybody_may_read_is_found() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for (name, content, mode) in
            [("open.pem", KEY, 0o644), ("closed.pem", KEY, 0o640), ("certificate.crt", CERTIFICATE, 0o644)]
        {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let paths = ["open.pem", "closed.pem", "certificate.crt", "missing", "open.pem"];
        let open = open_keys(&paths.map(|name| folder.path().join(name)));
        assert_eq!(open, [folder.path().join("open.pem")]);
    }

    #[test]
    fn certificate_of_several_kinds_has_a_file_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = || read(&one("site.pem"), folder.path(), SystemTime::now()).wrong;
        assert_eq!(wrong()[0].file, "site.pem");
        fs::write(folder.path().join("site.pem.ecdsa"), format!("{KEY}{CERTIFICATE}")).unwrap();
        let found = read(&one("site.pem"), folder.path(), SystemTime::now());
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
        let wrong = || read(&one("site.crt"), folder.path(), SystemTime::now()).wrong;
        assert!(wrong()[0].why.starts_with("has no private key; "), "{:?}", wrong());
        fs::write(folder.path().join("site.key"), include_str!("../../tests/bad/tls-other.key")).unwrap();
        let why = "does not belong to the certificate: its key is another one".to_owned();
        let [only] = &*wrong() else { panic!("{:?}", wrong()) };
        assert_eq!((&*only.file, &*only.certificate, &only.why), ("site.key", "site.crt", &why));
        assert!(!only.is_key && !only.is_of_folder, "{only:?}");
    }
}
