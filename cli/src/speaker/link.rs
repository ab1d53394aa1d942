//! The speaker's end of what joins it to its daemon: the socket, the page, and who notices that the daemon is gone.
//! Another daemon can take the place of the one that started it.

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    os::unix::net::UnixDatagram as StdSocket,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lb_vrrp::io::Command;
use tokio::{io::Interest, net::UnixDatagram, sync::mpsc::UnboundedSender, time::timeout};

use super::protocol::{MESSAGE_MAX, ToSpeaker};
use crate::{
    keeper::{Alive, End, Page, Side, watch},
    packets,
};

/// For a daemon to read that it has given its speaker away.
const LINGER: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Link(RefCell<Ends>);

#[derive(Debug)]
struct Ends {
    socket: Rc<UnixDatagram>,
    page: Arc<Page>,
    /// Tells the daemon that this process lives.
    _alive: Alive,
    /// The end of this daemon is that of the speaker.
    counts: Arc<AtomicBool>,
}

impl Ends {
    fn new(socket: StdSocket, page: Arc<Page>, alive: Alive) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = Rc::new(UnixDatagram::from_std(socket)?);
        Ok(Self { socket, page, _alive: alive, counts: Arc::new(AtomicBool::new(true)) })
    }

    /// Tells when the daemon is gone, unless another one has taken over by then.
    fn watch(&self, commands: &UnboundedSender<Command>) -> io::Result<()> {
        let (commands, counts) = (commands.clone(), Arc::clone(&self.counts));
        watch(Arc::clone(&self.page), Side::Daemon, move |end| {
            let reason = match end {
                End::Died => "the daemon died",
                End::Clean => "the daemon ended",
            };
            if counts.load(Ordering::Acquire) {
                let _ = commands.send(Command::DaemonGone { reason: reason.to_owned() });
            }
        })
    }
}

impl Link {
    /// To the daemon that started this process.
    pub(super) fn new(socket: StdSocket, page: Arc<Page>, alive: Alive) -> io::Result<Self> {
        Ok(Self(RefCell::new(Ends::new(socket, page, alive)?)))
    }

    pub(super) fn socket(&self) -> Rc<UnixDatagram> {
        Rc::clone(&self.0.borrow().socket)
    }

    pub(super) fn page(&self) -> Arc<Page> {
        Arc::clone(&self.0.borrow().page)
    }

    pub(super) fn watch(&self, commands: &UnboundedSender<Command>) -> io::Result<()> {
        self.0.borrow().watch(commands)
    }

    /// Another daemon has the other ends of these: its page gets what the last one was told. Returns the ends of the last one;
    /// nothing has changed if this fails.
    pub(super) fn adopt(
        &self,
        descriptors: Vec<OwnedFd>,
        commands: &UnboundedSender<Command>,
    ) -> io::Result<Before> {
        let Ok([socket, page]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let page = Arc::new(Page::open(page)?);
        let alive = Alive::hold(Arc::clone(&page), Side::Speaker)?;
        let ends = Ends::new(StdSocket::from(socket), page, alive)?;
        ends.watch(commands)?;
        let before = self.0.replace(ends);
        before.counts.store(false, Ordering::Release);
        self.page().go_on(&before.page);
        Ok(Before(before))
    }

    /// The next message that can be read; `None` at the end.
    pub(super) async fn receive(&self, packet: &mut [u8]) -> Option<(ToSpeaker, Vec<OwnedFd>)> {
        loop {
            let socket = self.socket();
            let receive = || packets::receive(&*socket, &mut packet[..]);
            match socket.async_io(Interest::READABLE, receive).await {
                Ok(message) => return message,
                // The other end is the same program, or one of the same protocol that says more.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(_) => return None,
            }
        }
    }
}

/// The ends to a daemon that has given this speaker away.
#[derive(Debug)]
pub(super) struct Before(Ends);

impl Before {
    /// Stays alive for that daemon until it has read its last word and closed its end: else that looks like a death.
    pub(super) async fn linger(self) {
        let closed = async { while self.0.socket.recv(&mut [0]).await.is_ok_and(|length| length > 0) {} };
        let _ = timeout(LINGER, closed).await;
    }
}

/// Room for one message.
pub(super) fn room() -> Vec<u8> {
    vec![0; MESSAGE_MAX]
}
