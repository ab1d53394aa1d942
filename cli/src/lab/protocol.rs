//! What is said on the lab's socket: one JSON line each way, more lines back while something takes its time. With
//! `Exec` come three file descriptors (SCM_RIGHTS): stdin, stdout and stderr of the command.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IoSlice, IoSliceMut, Read as _, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{fault::How, record::Event, status::LabStatus};

/// The longest line: a configuration file, a command with a long argument, a whole record.
const MAX_LINE: usize = 16 << 20;

/// The line on the stdout of a lab that is starting.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "lab", rename_all = "lowercase")]
pub(crate) enum Ready {
    Up,
    Error { text: String },
}

/// A wish.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Runs a command on a node until it ends, or until the connection does.
    Exec { node: String, command: Vec<String>, folder: PathBuf, environment: BTreeMap<String, String> },
    /// Starts a process that stays.
    Spawn { node: String, name: String, command: Vec<String> },
    /// Sends a signal to a process that `Spawn` started.
    Signal { pid: i32, signal: i32 },
    /// Waits for the end of a process that `Spawn` started.
    Wait { pid: i32 },
    /// Does harm.
    Fail { node: String, how: How },
    /// Undoes it, and starts what is dead.
    Heal { node: String },
    /// Starts `lbctl run` on a node that has none yet, and waits as `Heal` does.
    Start { node: String },
    /// Waits until a node is ready.
    Ready { node: String },
    /// Lets multicast pass in the front network, or drops it.
    Multicast { passes: bool },
    /// How the lab is.
    Status,
    /// Who has the virtual address.
    Holders,
    /// Events from the given one on.
    Record { from: usize },
    /// Everything ends.
    Down,
}

/// An answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub(crate) enum Response {
    /// Not the end yet.
    Progress { text: String },
    /// It did not work.
    Error { text: String },
    /// It is done; `at` is the moment just before it began to act.
    Done { at: Moment },
    /// The process that was started.
    Started { pid: i32 },
    /// A process ended.
    Ended { code: Option<i32>, signal: Option<i32> },
    /// How the lab is.
    Status(Box<LabStatus>),
    /// Who has the virtual address.
    Holders { names: Vec<String> },
    /// A part of the record.
    Record { events: Vec<Event>, overruns: u64 },
}

/// Writes one value as a line.
///
/// # Errors
/// The other side is gone.
pub(crate) fn write_line<T: Serialize>(writer: &mut impl Write, value: &T) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()?;
    Ok(())
}

/// Reads one value from a line.
///
/// # Errors
/// No line, or no JSON.
pub(crate) fn read_line<T: DeserializeOwned>(reader: &mut impl BufRead) -> anyhow::Result<T> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    serde_json::from_str(&line).context("not understood")
}

/// Writes one value as a line; `files` go with its first byte.
///
/// # Errors
/// The other side is gone.
pub(crate) fn send<T: Serialize>(
    stream: &UnixStream,
    value: &T,
    files: &[BorrowedFd<'_>],
) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        bail!("at most three files");
    }
    let sent = loop {
        match rustix::net::sendmsg(stream.as_fd(), &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)
        {
            Ok(sent) => break sent,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut writer = stream;
    writer.write_all(&line[sent..])?;
    Ok(())
}

/// Reads lines and the file descriptors that came with them.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: UnixStream,
    bytes: Vec<u8>,
    pub(crate) files: Vec<OwnedFd>,
}

impl Reader {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), files: Vec::new() }
    }

    /// The next value; `None` at the end of the stream.
    ///
    /// # Errors
    /// No JSON, or a line that is too long.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).context("not understood")?));
            }
            if self.bytes.len() > MAX_LINE {
                bail!("a line of more than {MAX_LINE} bytes");
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Blocks until the other side has closed the stream; what it says is dropped.
    pub(crate) fn wait_for_end(&mut self) {
        let mut sink = [0; 64];
        while matches!(self.stream.read(&mut sink), Ok(n) if n > 0) {}
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let mut chunk = [0; 65536];
        let received = loop {
            match rustix::net::recvmsg(
                self.stream.as_fd(),
                &mut [IoSliceMut::new(&mut chunk)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(received) => break received.bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        self.bytes.extend_from_slice(&chunk[..received]);
        Ok(received > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use super::*;

    #[test]
    fn file_descriptors_arrive_with_the_line_they_were_sent_with() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut out, inlet) = io::pipe().unwrap();
        let request = Request::Heal { node: "lb1".to_owned() };
        send(&left, &request, &[inlet.as_fd()]).unwrap();
        drop(inlet);
        let mut reader = Reader::new(right);
        let received: Request = reader.next().unwrap().unwrap();
        assert!(matches!(received, Request::Heal { node } if node == "lb1"));
        let mut file = File::from(reader.files.pop().unwrap());
        file.write_all(b"through the other end").unwrap();
        drop(file);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the other end");
    }

    #[test]
    fn two_lines_in_one_read_are_two_values() {
        let (left, right) = UnixStream::pair().unwrap();
        (&left).write_all(b"{\"verb\":\"status\"}\n{\"verb\":\"down\"}\n").unwrap();
        drop(left);
        let mut reader = Reader::new(right);
        assert!(matches!(reader.next().unwrap(), Some(Request::Status)));
        assert!(matches!(reader.next().unwrap(), Some(Request::Down)));
        assert!(reader.next::<Request>().unwrap().is_none());
    }
}
