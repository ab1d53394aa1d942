//! The log of a daemon in the background: the syslog of this machine (syslog(3)).

use std::{io, os::unix::net::UnixDatagram, path::Path, time::Duration};

/// Of the machine.
const SOCKET: &str = "/dev/log";

/// The facility `daemon`, in its place in a priority.
pub(super) const DAEMON: u8 = 3 << 3;

/// A syslog daemon that takes nothing for so long loses the line.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Is there somebody who would hear it?
pub fn listens() -> bool {
    connect(Path::new(SOCKET)).is_ok()
}

/// Who logs. The time is what the syslog daemon adds.
pub(super) fn tag() -> String {
    format!("lbctl[{}]: ", std::process::id())
}

/// Writes each line as a datagram.
pub(super) fn writer() -> impl FnMut(&[u8]) + Send + 'static {
    writer_to(Path::new(SOCKET))
}

/// A syslog daemon that was restarted has another socket by the same name. While there is none, lines are lost: nothing is
/// left that could tell of them.
fn writer_to(path: &Path) -> impl FnMut(&[u8]) + Send + use<> {
    let (path, mut socket) = (path.to_owned(), None);
    move |line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        for _ in 0..2 {
            let Some(open) = socket.take().or_else(|| connect(&path).ok()) else { return };
            if open.send(line).is_ok() {
                socket = Some(open);
                return;
            }
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(TAKEN_WITHIN))?;
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_line_is_a_datagram_also_for_the_next_daemon_by_that_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let heard = |from: &UnixDatagram| {
            let mut line = [0; 100];
            let length = from.recv(&mut line).unwrap();
            String::from_utf8(line[..length].to_vec()).unwrap()
        };
        let mut write = writer_to(&path);
        write(b"nobody hears this\n");
        let first = UnixDatagram::bind(&path).unwrap();
        write(b"<30>lbctl[1]: one\n");
        write(b"<30>lbctl[1]: two\n");
        assert_eq!((heard(&first), heard(&first)), ("<30>lbctl[1]: one".into(), "<30>lbctl[1]: two".into()));
        drop(first);
        fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        write(b"<28>lbctl[1]: three\n");
        assert_eq!(heard(&second), "<28>lbctl[1]: three");
    }
}
