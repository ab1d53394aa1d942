//! Unix-domain sockets in the file: `unix:/run/app.sock`, or `unix:@app` for a name that is no file.

use lb_proxy::config::{UnixAddress, UnixBind};

/// `None` if the text is no attempt at one.
pub(crate) fn unix_address(text: &str) -> Option<Result<UnixAddress, String>> {
    if text.starts_with('/') {
        return Some(Err(format!("is a path; for a Unix socket write \"unix:{text}\"")));
    }
    if let Some(path) = text.strip_prefix("unix@") {
        return Some(Err(format!("is HAProxy's form; write \"unix:{path}\"")));
    }
    if let Some(name) = text.strip_prefix("abns@").or_else(|| text.strip_prefix("abnsz@")) {
        return Some(Err(format!("is HAProxy's form; write \"unix:@{name}\"")));
    }
    // A machine may be called like this.
    let rest = text.strip_prefix("unix:").filter(|rest| rest.parse::<u16>().is_err())?;
    Some(UnixAddress::new(rest).map_err(|error| error.to_string()))
}

/// The path of a socket that is made, as a table has it: without `unix:`.
pub(crate) fn unix_bind(text: &str) -> Result<UnixBind, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Err(format!("has a `unix:` too many; write unix = \"{path}\""));
    }
    UnixAddress::new(text).map_err(|error| error.to_string()).and_then(listening)
}

/// A socket is made under another name in its folder.
pub(crate) fn listening(address: UnixAddress) -> Result<UnixBind, String> {
    let folder = address.path().and_then(|path| path.parent()).map_or(0, |folder| folder.as_os_str().len());
    let longest = UnixAddress::LONGEST - UnixBind::TEMPORARY - 1;
    if folder > longest {
        return Err(format!(
            "has a folder of {folder} bytes; that of a socket has at most {longest}, choose a shorter one"
        ));
    }
    Ok(address.into())
}

/// Rights in octal, as chmod(1) has them.
pub(crate) fn file_mode(text: &str) -> Result<u32, String> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| is_octal && mode <= 0o777);
    mode.ok_or_else(|| "is no mode of a file; write three octal digits, as in \"0660\"".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_programs_write_is_told_in_our_words() {
        let wrong = |text: &str| unix_address(text).and_then(Result::err).unwrap_or_default();
        assert_eq!(wrong("/run/a"), "is a path; for a Unix socket write \"unix:/run/a\"");
        assert_eq!(wrong("unix@/run/a"), "is HAProxy's form; write \"unix:/run/a\"");
        assert_eq!(wrong("abns@a"), "is HAProxy's form; write \"unix:@a\"");
        assert!(wrong("unix:run/a").starts_with("is no absolute path"));
        for text in ["unix:80", "unix", "192.0.2.1:80", "app.internal:80"] {
            assert!(unix_address(text).is_none(), "{text}");
        }
        for text in ["unix:/run/a", "unix:@a"] {
            assert_eq!(unix_address(text).unwrap().unwrap().to_string(), text);
        }
    }

    #[test]
    fn folder_leaves_room_for_another_name() {
        let at = |folder: usize| unix_bind(&format!("/{}/a", "x".repeat(folder - 1)));
        assert!(at(94).is_ok());
        assert_eq!(
            at(95),
            Err("has a folder of 95 bytes; that of a socket has at most 94, choose a shorter one".into())
        );
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(file_mode("0660"), Ok(0o660));
        assert_eq!(file_mode("660"), Ok(0o660));
        for text in ["", "0o660", "60", "680", "1777", "00660", "+66"] {
            assert!(file_mode(text).is_err(), "{text}");
        }
    }
}
