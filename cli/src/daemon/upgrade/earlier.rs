//! Processes before this one whose connections still end. They are told whatever this one does that is about those
//! connections as well, and have the same patience.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    task::AbortHandle,
    time::timeout,
};

use super::{
    channel::{self, Channel},
    words::{FromNext, Order, ToNext},
};
use crate::{
    control::{EarlierProcess, ServerOrder},
    daemon::wake::Step,
};

/// Past the time that an order takes: for the answer, for threads to end and logs to be written.
const MARGIN: Duration = Duration::from_secs(2);

/// They say each second what they have left: one that has said nothing for so long is stopped or stuck.
const SILENCE: Duration = Duration::from_millis(2_500);

/// See the module. Clones are the same processes.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Earlier(Vec<Arc<Conversation>>);

/// With one of them.
#[derive(Debug)]
struct Conversation {
    channel: Channel,
    asked: Arc<Asked>,
    next: AtomicU64,
    /// It has not answered an order in time since [`Earlier::ask_anew`].
    owes: AtomicBool,
    reader: Mutex<Option<AbortHandle>>,
}

/// What is heard of a process; `None` once it is gone.
#[derive(Debug)]
struct Asked(Mutex<Option<Heard>>);

#[derive(Debug)]
struct Heard {
    /// Orders without an answer by their numbers.
    orders: HashMap<u64, oneshot::Sender<u64>>,
    /// What it said last of itself.
    left: Option<EarlierProcess>,
    /// When it said something last.
    at: Instant,
}

impl Earlier {
    /// Nothing is heard of them before [`Self::listen`].
    pub(in crate::daemon) fn new(channels: Vec<Channel>) -> Self {
        Self(channels.into_iter().map(Conversation::new).collect())
    }

    pub(super) fn add(&mut self, channel: Channel) {
        self.0.push(Conversation::new(channel));
    }

    /// This process is in charge: what they say is for it. What they count comes as a step of its loop.
    pub(in crate::daemon) fn listen(&self, steps: &UnboundedSender<Step>) {
        self.0.iter().for_each(|one| one.listen(steps));
    }

    /// What they say is for another process.
    pub(super) fn leave_to_next(&self) {
        self.0.iter().for_each(|one| one.leave_to_next());
    }

    /// For the process after this one.
    pub(super) fn share(&self) -> io::Result<Vec<OwnedFd>> {
        let there = self.0.iter().filter(|one| one.asked.is_there());
        there.map(|one| one.channel.share()).collect()
    }

    /// What they have left, as they said last.
    pub(in crate::daemon) fn left(&self) -> Vec<EarlierProcess> {
        self.0.iter().filter_map(|one| one.asked.lock().as_ref()?.left(Instant::now())).collect()
    }

    /// From now on it counts who does not answer.
    pub(in crate::daemon) fn ask_anew(&self) {
        self.0.iter().for_each(|one| one.owes.store(false, Ordering::Relaxed));
    }

    /// How many have not answered since: what they cut is in no number.
    pub(in crate::daemon) fn unanswered(&self) -> u64 {
        self.0.iter().filter(|one| one.owes.load(Ordering::Relaxed)).count() as u64
    }

    /// Files of logs are opened anew; how many can't be.
    pub(in crate::daemon) fn reopen_logs(&self) -> impl Future<Output = u64> + use<> {
        self.order(Order::ReopenLogs, MARGIN * 2)
    }

    /// An operator has ordered something of a server; how much was in flight there.
    pub(in crate::daemon) fn order_server(
        &self,
        backend: &str,
        server: &str,
        order: &ServerOrder,
        by: &str,
    ) -> impl Future<Output = u64> + use<> {
        let (backend, server) = (backend.to_owned(), server.to_owned());
        self.order(Order::Server { backend, server, order: order.clone(), by: by.to_owned() }, MARGIN)
    }

    /// Short exchanges finish, for at most `limit`; how many are left.
    pub(in crate::daemon) fn drain(&self, limit: Duration) -> impl Future<Output = u64> + use<> {
        self.order(Order::Drain { limit }, limit + MARGIN)
    }

    /// Addresses leave while the others stay: connections on them end, or are reset after `limit`; how many those were.
    pub(in crate::daemon) fn leave(
        &self,
        addresses: &[IpAddr],
        limit: Duration,
    ) -> impl Future<Output = u64> + use<> {
        self.order(Order::Leave { addresses: addresses.to_vec(), limit }, limit + MARGIN)
    }

    /// Connections on these addresses are reset; how many, as far as that was said within `limit`.
    pub(in crate::daemon) fn reset(
        &self,
        addresses: &[IpAddr],
        limit: Duration,
    ) -> impl Future<Output = u64> + use<> {
        self.order(Order::Reset { addresses: addresses.to_vec() }, limit)
    }

    /// They end once nothing is in flight, or after `limit`; how many connections that cut.
    pub(in crate::daemon) fn end(&self, limit: Duration) -> impl Future<Output = u64> + use<> {
        self.order(Order::End { limit }, limit + MARGIN)
    }

    /// All at once. One that has ended counts nothing, and one that does not answer in time is remembered.
    fn order(&self, order: Order, limit: Duration) -> impl Future<Output = u64> + use<> {
        let orders = self.0.clone().into_iter().filter(|one| one.asked.is_there()).map(move |one| {
            let order = order.clone();
            async move {
                let Ok(answer) = timeout(limit, one.order(order)).await else {
                    one.owes.store(true, Ordering::Relaxed);
                    let pid =
                        one.asked.lock().as_ref().and_then(|heard| heard.left.as_ref().map(|left| left.pid));
                    tracing::warn!(pid, "a process before an upgrade does not answer");
                    return 0;
                };
                answer.unwrap_or(0)
            }
        });
        let orders: Vec<_> = orders.collect();
        async { join_all(orders).await.into_iter().sum() }
    }
}

impl Conversation {
    fn new(channel: Channel) -> Arc<Self> {
        // An answer to a process between the two is none to this one.
        let first = u64::from(process::id()) << 32;
        let heard = Heard { orders: HashMap::new(), left: None, at: Instant::now() };
        let asked = Arc::new(Asked(Mutex::new(Some(heard))));
        let (next, owes) = (AtomicU64::new(first), AtomicBool::new(false));
        Arc::new(Self { channel, asked, next, owes, reader: Mutex::new(None) })
    }

    async fn order(&self, order: Order) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.asked.lock().as_mut()?.orders.insert(number, answer);
        // One that is gone is heard of as well.
        let _ = self.channel.send(&FromNext::Order { number, order }, &[]);
        answered.await.ok()
    }

    fn listen(&self, steps: &UnboundedSender<Step>) {
        let mut reader = self.reader();
        if reader.is_none() {
            let (channel, asked, steps) = (self.channel.clone(), Arc::clone(&self.asked), steps.clone());
            let hears = async move { asked.hear(&channel, &steps).await };
            *reader = Some(tokio::spawn(hears).abort_handle());
        }
    }

    fn leave_to_next(&self) {
        if let Some(reader) = self.reader().take() {
            reader.abort();
        }
    }

    fn reader(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.leave_to_next();
    }
}

impl Heard {
    /// What it has left, and for how long it has said nothing if that is too long.
    fn left(&self, now: Instant) -> Option<EarlierProcess> {
        let passed = now.saturating_duration_since(self.at);
        let silent_ms = (passed > SILENCE).then(|| u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        Some(EarlierProcess { silent_ms, ..self.left.clone()? })
    }
}

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Option<Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_there(&self) -> bool {
        self.lock().is_some()
    }

    /// Takes answers until the process is gone.
    async fn hear(&self, channel: &Channel, steps: &UnboundedSender<Step>) {
        let mut room = vec![0; channel::ROOM];
        loop {
            match channel.listen(&mut room).await {
                Ok(ToNext::Done { number, count }) => {
                    let answer = self.lock().as_mut().and_then(|heard| heard.orders.remove(&number));
                    // Who asked may wait no longer.
                    let _ = answer.map(|answer| answer.send(count));
                }
                Ok(ToNext::Left(process)) => {
                    if let Some(heard) = self.lock().as_mut() {
                        (heard.left, heard.at) = (Some(process), Instant::now());
                    }
                }
                Ok(ToNext::Counted(grown)) => {
                    let _ = steps.send(Step::Counted(grown));
                }
                Ok(_) => {}
                // Another program may say more.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(_) => break,
            }
        }
        *self.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{control::Timestamp, packets};

    /// The other end of a conversation with one.
    fn earlier() -> (Earlier, Channel) {
        let (ours, theirs) = packets::pair().expect("a pair");
        let earlier = Earlier::new(vec![Channel::new(ours).expect("a channel")]);
        earlier.listen(&mpsc::unbounded_channel().0);
        (earlier, Channel::new(theirs).expect("a channel"))
    }

    async fn asked(channel: &Channel) -> (u64, Order) {
        match channel.listen(&mut vec![0; channel::ROOM]).await {
            Ok(FromNext::Order { number, order }) => (number, order),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_answer_belongs_to_its_order_and_one_that_is_gone_counts_nothing() {
        let (earlier, channel) = earlier();
        let limit = Duration::from_secs(60);
        let (drain, reset) = (tokio::spawn(earlier.drain(limit)), async { asked(&channel).await });
        let (first, order) = reset.await;
        assert!(matches!(order, Order::Drain { .. }), "{order:?}");
        let reset = tokio::spawn(earlier.reset(&[], limit));
        let (second, _) = asked(&channel).await;
        // Of a program that says more, and to a process between the two.
        packets::send_packet(channel.share().expect("shared"), b"{\"More\":1}", &[]).expect("sent");
        for (number, count) in [(7, 1), (second, 2), (first, 3)] {
            channel.send(&ToNext::Done { number, count }, &[]).expect("sent");
        }
        assert_eq!((drain.await.expect("no panic"), reset.await.expect("no panic")), (3, 2));
        let end = tokio::spawn(earlier.end(limit));
        asked(&channel).await;
        drop(channel);
        assert_eq!(end.await.expect("no panic"), 0);
        assert!(earlier.share().expect("shared").is_empty());
        assert_eq!(earlier.drain(limit).await, 0);
        assert_eq!(earlier.unanswered(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_is_told_of_with_how_long_and_what_it_cuts_is_not_known() {
        let (earlier, channel) = earlier();
        let now = Timestamp::parse("2026-09-21T14:13:20Z").expect("a time");
        let left = EarlierProcess {
            pid: 7,
            version: String::new(),
            since: now,
            until: now,
            connections: 1,
            exchanges: 0,
            silent_ms: None,
        };
        channel.send(&ToNext::Left(left.clone()), &[]).expect("sent");
        while earlier.left().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(earlier.left(), [left]);
        let at = |passed| {
            let heard = earlier.0[0].asked.lock();
            let heard = heard.as_ref().expect("it is there");
            heard.left(heard.at + passed).expect("what it said").silent_ms
        };
        assert_eq!((at(SILENCE), at(Duration::from_secs(12))), (None, Some(12_000)));
        assert_eq!((earlier.end(Duration::ZERO).await, earlier.unanswered()), (0, 1));
        earlier.ask_anew();
        assert_eq!(earlier.unanswered(), 0);
    }
}
