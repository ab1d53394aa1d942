//! One speaker process and the socket to it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::{fs::MetadataExt, net::UnixDatagram as StdSocket},
    process::Stdio,
    sync::Arc,
};

use tokio::{net::UnixDatagram, process::Command, runtime::Handle, sync::oneshot};

use super::{SpeakerSettings, process::SpeakerProcess};
use crate::{
    keeper::{End, Page, Side, watch},
    packets,
    privileges::{Launcher, Purpose},
    speaker::protocol::{FromSpeaker, MESSAGE_MAX, ToSpeaker},
};

#[derive(Debug)]
pub(super) struct Child {
    process: SpeakerProcess,
    launcher: Launcher,
    socket: UnixDatagram,
    packet: Vec<u8>,
    /// Said by the mutex; before the first message nobody waits for it.
    died: Option<oneshot::Receiver<End>>,
}

/// What a speaker did.
#[derive(Debug)]
pub(super) enum News {
    Said(FromSpeaker),
    /// Something that this daemon can't read; with its length.
    Unreadable(usize),
    /// Its mutex, its socket or its process ended: how that was seen.
    Ended(&'static str),
}

impl Child {
    /// Starts a speaker and tells it what to run, by a `Configure`. The socket pair is its stdin and the page its stdout, so nothing else
    /// that the daemon starts at the same time can inherit them.
    pub(super) fn start(
        settings: &SpeakerSettings,
        page: &Arc<Page>,
        configuration: &ToSpeaker,
    ) -> io::Result<Self> {
        let (ours, theirs) = packets::pair()?;
        page.count_speaker();
        let mut command = Command::new(&settings.program);
        command
            .arg0("lbctl")
            .arg("speaker")
            .arg("--runtime-dir")
            .arg(&settings.runtime_dir)
            .args(settings.is_unconfined.then_some("--unconfined"))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(page.file().try_clone()?));
        let runtime = Handle::current();
        let process = settings.launcher.run(Purpose::Speaker, move || {
            let _inside = runtime.enter();
            command.spawn()
        })??;
        let child = Self::with(SpeakerProcess::Own(process), ours, settings.launcher.clone())?;
        child.tell(configuration)?;
        Ok(child)
    }

    /// The speaker that the daemon before this one has started, which has the other end of `socket` by now.
    pub(super) fn adopt(
        process: SpeakerProcess,
        socket: OwnedFd,
        page: &Page,
        launcher: Launcher,
    ) -> io::Result<Self> {
        page.count_speaker();
        Self::with(process, socket, launcher)
    }

    fn with(process: SpeakerProcess, socket: OwnedFd, launcher: Launcher) -> io::Result<Self> {
        let socket = StdSocket::from(socket);
        socket.set_nonblocking(true)?;
        let socket = UnixDatagram::from_std(socket)?;
        Ok(Self { process, launcher, socket, packet: vec![0; MESSAGE_MAX], died: None })
    }

    /// Gives it these ends of a link to another daemon.
    pub(super) fn hand_over(&self, socket: &OwnedFd, page: &OwnedFd) -> io::Result<()> {
        packets::send(&self.socket, &ToSpeaker::HandOver, &[socket.as_fd(), page.as_fd()])
    }

    /// Its number, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Was it started from another file than this daemon?
    pub(super) fn is_another_program(&self) -> bool {
        let file = |process: &str| {
            let found = std::fs::metadata(format!("/proc/{process}/exe")).ok()?;
            Some((found.dev(), found.ino()))
        };
        let Some(pid) = self.pid() else { return false };
        // Only who has the speaker's capabilities may look (PTRACE_MODE_READ).
        let theirs = self.launcher.run(Purpose::Speaker, move || file(&pid.to_string()));
        theirs.is_ok_and(|theirs| theirs.is_some() && theirs != file("self"))
    }

    /// Waits on the speaker's mutex. To be called once it holds it: after its first message.
    pub(super) fn watch(&mut self, page: &Arc<Page>) -> io::Result<()> {
        let (sender, died) = oneshot::channel();
        watch(Arc::clone(page), Side::Speaker, move |end| {
            let _ = sender.send(end);
        })?;
        self.died = Some(died);
        Ok(())
    }

    /// Sends a message; a speaker that does not read gets it with the next repetition, or is found frozen.
    pub(super) fn tell(&self, message: &ToSpeaker) -> io::Result<()> {
        let packet = serde_json::to_vec(message).map_err(io::Error::other)?;
        if packet.len() > MESSAGE_MAX {
            return Err(io::Error::other(super::too_long("")));
        }
        // Not tokio's `try_send`: that refuses until the runtime has seen the socket writable for the first time.
        packets::send_packet(&self.socket, &packet, &[])
    }

    /// What it does next.
    pub(super) async fn news(&mut self) -> News {
        let Self { process, socket, packet, died, .. } = self;
        let received = tokio::select! {
            biased;
            received = socket.recv(packet) => received,
            _ = wait_for(died) => return News::Ended("died"),
            () = process.reaped() => return News::Ended("has ended"),
        };
        // Nothing but an end makes a packet empty. One that can't be read is no end: the speaker does its work all the same.
        match received {
            Ok(length) if length > 0 => read(packet, length).map_or(News::Unreadable(length), News::Said),
            Ok(_) | Err(_) => News::Ended("closed its end"),
        }
    }

    /// Takes what it had said before it ended.
    pub(super) fn last_words(&mut self) -> Vec<FromSpeaker> {
        let mut words = Vec::new();
        while let Ok(length) = self.socket.try_recv(&mut self.packet) {
            if length == 0 {
                break;
            }
            words.extend(read(&self.packet, length));
        }
        words
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        // An error means that it has ended.
        let _ = self.process.kill();
    }

    /// Closes this end of the conversation.
    pub(super) fn let_go(self) -> SpeakerProcess {
        self.process
    }

    /// Waits until the kernel has taken it down.
    pub(super) async fn ended(&mut self) {
        let _ = self.process.ended().await;
    }
}

fn read(packet: &[u8], length: usize) -> Option<FromSpeaker> {
    packet.get(..length).and_then(|packet| serde_json::from_slice(packet).ok())
}

async fn wait_for(died: &mut Option<oneshot::Receiver<End>>) {
    match died {
        Some(died) => drop(died.await),
        None => std::future::pending().await,
    }
}
