//! The speaker's end of what joins it to its daemon: the socket, the page, and who notices that the daemon is gone.
//! Another daemon can take the place of the one that started it: on trial, for as long as the one before keeps its end. If the other
//! one ends meanwhile, the speaker is that of the one before again.

use std::{
    cell::RefCell,
    future::pending,
    io,
    os::fd::OwnedFd,
    os::unix::net::UnixDatagram as StdSocket,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lb_vrrp::io::Command;
use tokio::{
    io::Interest,
    net::UnixDatagram,
    sync::{Notify, mpsc::UnboundedSender},
};

use super::protocol::{MESSAGE_MAX, ToSpeaker};
use crate::{
    keeper::{Alive, End, Page, Side, watch},
    packets,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    ends: RefCell<Ends>,
    /// To the daemon that has given this speaker away, until that closes its end.
    before: RefCell<Option<Ends>>,
}

#[derive(Debug)]
struct Ends {
    socket: Rc<UnixDatagram>,
    page: Arc<Page>,
    /// Tells the daemon that this process lives.
    _alive: Alive,
    /// The end of this daemon is that of the speaker.
    counts: Arc<AtomicBool>,
    /// Its end is not: there is one before it.
    is_on_trial: Arc<AtomicBool>,
    /// It has ended on trial.
    fell: Arc<Notify>,
}

impl Ends {
    fn new(socket: StdSocket, page: Arc<Page>, alive: Alive, is_on_trial: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Rc::new(UnixDatagram::from_std(socket)?),
            page,
            _alive: alive,
            counts: Arc::new(AtomicBool::new(true)),
            is_on_trial: Arc::new(AtomicBool::new(is_on_trial)),
            fell: Arc::default(),
        })
    }

    /// Tells when the daemon is gone, unless another one has taken over by then.
    fn watch(&self, commands: &UnboundedSender<Command>) -> io::Result<()> {
        let (commands, counts) = (commands.clone(), Arc::clone(&self.counts));
        let (is_on_trial, fell) = (Arc::clone(&self.is_on_trial), Arc::clone(&self.fell));
        watch(Arc::clone(&self.page), Side::Daemon, move |end| {
            let reason = match end {
                End::Died => "the daemon died",
                End::Clean => "the daemon ended",
            };
            if !counts.load(Ordering::Acquire) {
                return;
            }
            if is_on_trial.load(Ordering::Acquire) {
                return fell.notify_one();
            }
            let _ = commands.send(Command::DaemonGone { reason: reason.to_owned() });
        })
    }
}

impl Link {
    /// To the daemon that started this process.
    pub(super) fn new(socket: StdSocket, page: Arc<Page>, alive: Alive) -> io::Result<Self> {
        let ends = Ends::new(socket, page, alive, false)?;
        Ok(Self { ends: RefCell::new(ends), before: RefCell::default() })
    }

    pub(super) fn socket(&self) -> Rc<UnixDatagram> {
        Rc::clone(&self.ends.borrow().socket)
    }

    pub(super) fn page(&self) -> Arc<Page> {
        Arc::clone(&self.ends.borrow().page)
    }

    pub(super) fn watch(&self, commands: &UnboundedSender<Command>) -> io::Result<()> {
        self.ends.borrow().watch(commands)
    }

    /// Another daemon has the other ends of these: its page gets what the last one was told. Nothing has changed if this fails.
    pub(super) fn adopt(
        &self,
        descriptors: Vec<OwnedFd>,
        commands: &UnboundedSender<Command>,
    ) -> io::Result<()> {
        let Ok([socket, page]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let page = Arc::new(Page::open(page)?);
        let alive = Alive::hold(Arc::clone(&page), Side::Speaker)?;
        let ends = Ends::new(StdSocket::from(socket), page, alive, true)?;
        ends.watch(commands)?;
        let before = self.ends.replace(ends);
        before.counts.store(false, Ordering::Release);
        self.page().go_on(&before.page);
        before.page.hand_on();
        // For the one before it lives on as well: else that would look like a death.
        self.before.replace(Some(before));
        Ok(())
    }

    /// The daemon is gone: the one before has the speaker again. False if there is none.
    pub(super) fn take_back(&self) -> bool {
        let Some(before) = self.before.take() else { return false };
        before.counts.store(true, Ordering::Release);
        let fallen = self.ends.replace(before);
        fallen.counts.store(false, Ordering::Release);
        self.page().go_on(&fallen.page);
        fallen.page.hand_on();
        true
    }

    /// Ends when the daemon, on trial, has ended.
    pub(super) async fn fell(&self) {
        let fell = Arc::clone(&self.ends.borrow().fell);
        fell.notified().await;
    }

    /// Ends when the daemon before has let go: the other one is on trial no more.
    pub(super) async fn is_let_go(&self) {
        let before = self.before.borrow().as_ref().map(|before| Rc::clone(&before.socket));
        let Some(before) = before else { return pending().await };
        while before.recv(&mut [0]).await.is_ok_and(|length| length > 0) {}
        self.before.take();
        self.ends.borrow().is_on_trial.store(false, Ordering::Release);
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

/// Room for one message.
pub(super) fn room() -> Vec<u8> {
    vec![0; MESSAGE_MAX]
}
