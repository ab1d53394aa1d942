//! The hello's shell: a session, its socket, and lines for the log.

use std::{io, net::IpAddr, os::fd::OwnedFd, time::Duration};

use lb_vrrp::{Moment, Secret};

use super::{
    Daemon, clock,
    hello::{
        Event, KnownSession, Local, Refusal, Session,
        endpoint::{Datagram, Endpoint, PORT},
    },
};
use crate::signing;

/// Between two attempts to bind the hello's port.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks at the addresses that hellos name: whoever forges hellos makes no more orders for the speaker than that.
const NAMED_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Neighbours {
    session: Session,
    own: IpAddr,
    endpoint: Result<Endpoint, (io::Error, Moment)>,
    send_failed: bool,
    /// What hellos named at the last look, and when the next one is due.
    named: (Vec<IpAddr>, Moment),
}

impl Neighbours {
    /// `own` is this node's address in the file, `given` the socket of the process before: between two bindings anybody on this
    /// machine could take the port and speak for this node.
    pub(super) fn start(
        now: Moment,
        own: IpAddr,
        given: Option<OwnedFd>,
        known: Option<KnownSession>,
        local: Local,
        peers: Vec<(String, IpAddr)>,
    ) -> Self {
        let mut session = Session::new(now, boot_id(), local, peers);
        if let Some(known) = known {
            session.go_on(known);
        }
        let taken = given.and_then(|socket| Endpoint::take_over(own, socket).ok());
        let endpoint = taken.map_or_else(|| Endpoint::bind(own), Ok).map_err(|error| (error, now));
        if let Err((error, _)) = &endpoint {
            tracing::warn!(%error, address = %own, port = PORT, "can't bind the hello's port; trying each second");
        }
        Self { session, own, endpoint, send_failed: false, named: (Vec::new(), now) }
    }

    /// The socket, for another process or session, and what is known.
    pub(super) fn let_go(self) -> (Option<OwnedFd>, KnownSession) {
        let known = self.session.known();
        (self.endpoint.ok().and_then(|endpoint| endpoint.let_go().ok()), known)
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The addresses that the other nodes say they have, as they said at the last look.
    pub(super) fn named(&mut self, now: Moment) -> &[IpAddr] {
        let (named, next) = &mut self.named;
        if now >= *next {
            (*named, *next) = (self.session.sources(), now + NAMED_EVERY);
        }
        named
    }

    /// Why no hello leaves or comes, if that is so.
    pub(super) fn error(&self) -> Option<&io::Error> {
        self.endpoint.as_ref().err().map(|(error, _)| error)
    }

    /// The next datagram; never, without a socket.
    pub(super) async fn receive(&self) -> io::Result<Datagram> {
        match &self.endpoint {
            Ok(endpoint) => endpoint.receive().await,
            Err(_) => std::future::pending().await,
        }
    }

    pub(super) fn handle(&mut self, now: Moment, received: io::Result<Datagram>) {
        match received {
            Ok(datagram) => {
                self.session.handle_datagram(now, datagram.source, datagram.ttl, &datagram.bytes);
            }
            Err(error) => {
                tracing::warn!(%error, "can't receive hellos; binding the port again");
                self.endpoint = Err((error, now));
            }
        }
    }

    /// Says hello to these from now on.
    pub(super) fn set_peers(&mut self, now: Moment, peers: Vec<(String, IpAddr)>) {
        self.session.handle_peers(now, peers);
    }

    /// Signs what it says by this from now on, and believes nothing else.
    pub(super) fn set_secret(&mut self, secret: Option<Secret>) {
        self.session.handle_secret(secret);
    }

    /// Says what is to be said; returns whether a peer came back.
    pub(super) fn settle(&mut self, now: Moment, local: Local) -> bool {
        self.rebind(now);
        self.session.handle_local(now, local);
        self.session.handle_timeout(now);
        self.send();
        self.report()
    }

    /// Says that this node ends.
    pub(super) fn end(&mut self, now: Moment, local: Local) {
        self.session.handle_ending(now, local);
        self.session.handle_timeout(now);
        self.send();
    }

    fn send(&mut self) {
        while let Some((to, bytes)) = self.session.poll_transmit() {
            if let Ok(endpoint) = &self.endpoint {
                let sent = endpoint.send(to, &bytes);
                if let (Err(error), false) = (&sent, self.send_failed) {
                    tracing::warn!(%error, %to, "can't send the hello");
                }
                self.send_failed = sent.is_err();
            }
        }
    }

    /// Lines for the log; returns whether a peer came back.
    fn report(&mut self) -> bool {
        let mut reappeared = false;
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Appeared { peer, why } => {
                    reappeared = true;
                    tracing::info!(peer, why, "a node says hello");
                }
                Event::Ended { peer } => tracing::info!(peer, "a node ends"),
                Event::Silent { peer } => tracing::warn!(peer, "a node is silent"),
                Event::Refused { peer, why } => {
                    let why = match why {
                        Refusal::Unsigned => "not signed: no secret_file there, or none that is in force",
                        Refusal::OtherSecret => "signed with another secret than ours",
                        Refusal::Unreadable => {
                            "this program can't read them: another version of lbctl, or not lbctl"
                        }
                    };
                    tracing::warn!(peer, why, "hellos of a node are not believed");
                }
                Event::Puzzles { peer, what } => tracing::warn!(
                    peer,
                    what = what.join(", "),
                    "a node says what this program does not understand, and it is taken to promise nothing by that: a newer lbctl?"
                ),
                Event::FileDiffers { peer, theirs } => {
                    tracing::warn!(peer, theirs, "the file differs");
                }
            }
        }
        reappeared
    }

    /// When `settle` is wanted next.
    pub(super) fn poll_timeout(&self) -> Moment {
        let retry = self.endpoint.as_ref().err().map(|(_, at)| *at + RETRY);
        retry.map_or(self.session.poll_timeout(), |retry| retry.min(self.session.poll_timeout()))
    }

    fn rebind(&mut self, now: Moment) {
        if let Err((_, at)) = &self.endpoint
            && now >= *at + RETRY
        {
            self.endpoint = Endpoint::bind(self.own).map_err(|error| (error, now));
            if self.endpoint.is_ok() {
                tracing::info!(address = %self.own, port = PORT, "bound the hello's port");
            }
        }
    }
}

impl Daemon {
    pub(super) fn say_hello(&mut self, address: IpAddr, given: Option<OwnedFd>, known: Option<KnownSession>) {
        let peers = self.identity.peers(&self.config);
        if !peers.is_empty() {
            let mut neighbours = Neighbours::start(clock::now(), address, given, known, self.local(), peers);
            neighbours.set_secret(self.config.cluster.secret());
            self.neighbours = Some(neighbours);
        }
    }

    /// The nodes that are heard, and how far they are with signed advertisements.
    pub(super) fn others(&self) -> Vec<signing::Other> {
        self.neighbours.as_ref().map_or_else(Vec::new, |neighbours| neighbours.session().others())
    }

    /// What it says of itself.
    pub(super) fn local(&self) -> Local {
        let now = clock::now();
        Local {
            node: self.identity.name().to_owned(),
            file: self.config.hash.clone(),
            signs: self.config.cluster.sign_advertisements,
            drained: self.drained_since,
            groups: self.groups.iter().map(|group| group.local(now, self.started.moment)).collect(),
            addresses: self.sources.clone(),
        }
    }
}

/// The kernel makes another one at each read.
pub(super) fn boot_id() -> String {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    match uuid.trim() {
        // Without /proc: unique for as long as the wall clock does not go back.
        "" => format!("{}-{:?}", std::process::id(), std::time::SystemTime::now()),
        uuid => uuid.to_owned(),
    }
}
