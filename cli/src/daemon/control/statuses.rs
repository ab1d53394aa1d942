//! The status for all who ask: made when somebody asks, but no more often than the daemon's loop can bear, and written as JSON
//! beside the loop. Who asks gets one that was made after that: nobody sees a time before his own order. Those that are sent are
//! bounded: who does not read his keeps it from nobody, and loses it at last.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Command, Counters,
    body::Shared,
    request::{ENDING, LOOP_TIME, STUCK},
};
use crate::control::Status;

/// Who may wait; there are no more connections.
const WAITING: usize = 512;

/// The loop makes statuses for one part of its time in so many; with thousands of servers one takes long.
const SHARE: u32 = 10;

/// Between two, whatever one takes.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// Bytes of all that are being sent. With thousands of servers one has megabytes, and a hundred may read none of theirs.
const UNREAD: usize = 16 << 20;

type Answer = Result<Shared, &'static str>;

/// See the module. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Statuses(mpsc::Sender<oneshot::Sender<Answer>>);

impl Statuses {
    /// Asks the loop until the last clone is gone.
    pub(super) fn start(commands: mpsc::Sender<Command>, counters: Arc<Counters>) -> Self {
        let (asked, asking) = mpsc::channel(WAITING);
        tokio::spawn(serve(commands, counters, asking));
        Self(asked)
    }

    /// As JSON.
    pub(super) async fn latest(&self) -> Answer {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(reply).await.map_err(|_| ENDING)?;
            answer.await.map_err(|_| ENDING)?
        };
        timeout(LOOP_TIME, asked).await.unwrap_or(Err(STUCK))
    }
}

async fn serve(
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
    mut asking: mpsc::Receiver<oneshot::Sender<Answer>>,
) {
    let mut next = Instant::now();
    let mut sent = VecDeque::new();
    while let Some(first) = asking.recv().await {
        sleep_until(next).await;
        let mut all = vec![first];
        while let Ok(one) = asking.try_recv() {
            all.push(one);
        }
        let begun = Instant::now();
        let status = timeout(LOOP_TIME, ask(&commands)).await.unwrap_or(Err(STUCK));
        next = Instant::now() + (begun.elapsed() * (SHARE - 1)).clamp(SHORTEST, LONGEST);
        let answer = match status {
            Ok(status) => write(status).await,
            Err(why) => Err(why),
        };
        if let Ok(status) = &answer {
            let taken_back = keep(&mut sent, status);
            (0..taken_back).for_each(|_| Counters::count(&counters.taken_back));
        }
        for one in all {
            // Who asked may have gone away.
            let _ = one.send(answer.clone());
        }
    }
}

/// The latest is sent as well; the oldest are taken back where there are too many. Returns how many.
fn keep(sent: &mut VecDeque<Shared>, latest: &Shared) -> usize {
    sent.retain(Shared::is_wanted);
    sent.push_back(latest.clone());
    let mut bytes: usize = sent.iter().map(Shared::len).sum();
    let mut taken_back = 0;
    while bytes > UNREAD && sent.len() > 1 {
        let Some(oldest) = sent.pop_front() else { break };
        bytes -= oldest.len();
        taken_back += usize::from(oldest.take_back());
    }
    taken_back
}

async fn ask(commands: &mpsc::Sender<Command>) -> Result<Box<Status>, &'static str> {
    let (reply, answer) = oneshot::channel();
    commands.send(Command::Status(reply)).await.map_err(|_| ENDING)?;
    answer.await.map_err(|_| ENDING)
}

/// That of thousands of servers takes milliseconds, and so does letting go of it.
async fn write(status: Box<Status>) -> Answer {
    let written = spawn_blocking(move || serde_json::to_vec(&*status));
    match written.await {
        Ok(Ok(bytes)) => Ok(Shared::new(bytes.into())),
        Ok(Err(_)) | Err(_) => Err("can't write the answer"),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Bytes;

    use super::*;
    use crate::{control::Timestamp, daemon::control::body::AnswerBody};

    async fn read(status: Shared) -> Result<Bytes, String> {
        let all = AnswerBody::Shared(status, 0).collect().await;
        all.map(|all| all.to_bytes()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_nobody_reads_is_taken_back_when_there_is_too_much_of_it() {
        let megabyte = |number: u8| Shared::new(vec![number; 1 << 20].into());
        let (mut sent, mut unread) = (VecDeque::new(), Vec::new());
        let mut taken_back = 0;
        for number in 0..100 {
            let status = megabyte(number);
            taken_back += keep(&mut sent, &status);
            // Many have the same one, and hold it once.
            unread.extend([status.clone(), status]);
        }
        assert_eq!((sent.len(), taken_back), (16, 84));
        let latest = unread.pop().expect("a hundred");
        assert_eq!(read(latest).await, Ok(vec![99; 1 << 20].into()));
        assert_eq!(read(unread.swap_remove(0)).await, Err("it was not read in time".to_owned()));
        // Those that were read, or given up, hold nothing.
        unread.clear();
        assert_eq!(keep(&mut sent, &megabyte(100)), 0);
        assert_eq!(sent.len(), 1);
        // One alone may be larger than all together.
        let large = Shared::new(vec![1; UNREAD + 1].into());
        assert_eq!(keep(&mut sent, &large), 0);
        assert_eq!(read(large).await.map(|all| all.len()), Ok(UNREAD + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_the_loop_makes_few_and_nobody_gets_an_old_one() {
        let (commands, mut asked) = mpsc::channel(16);
        let statuses = Statuses::start(commands, Arc::default());
        // A loop that takes 50 ms for each, which has its number.
        let (number, made) = tokio::sync::watch::channel(0_u64);
        tokio::spawn(async move {
            while let Some(Command::Status(reply)) = asked.recv().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
                number.send_modify(|number| *number += 1);
                let status = serde_json::json!({
                    "at": Timestamp::now(), "node": "lb1", "version": "0", "pid": 1, "started": Timestamp::now(),
                    "phase": "running", "file": { "path": "lb.toml", "hash": "0" }, "connections": *number.borrow(),
                });
                let _ = reply.send(serde_json::from_value(status).unwrap());
            }
        });
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let (statuses, made) = (statuses.clone(), made.clone());
                tokio::spawn(async move {
                    let mut answers = 0;
                    while answers < 20 {
                        let before = *made.borrow();
                        let bytes = read(statuses.latest().await.unwrap()).await.unwrap();
                        let status: Status = serde_json::from_slice(&bytes).unwrap();
                        assert!(status.connections > before, "made after the question");
                        answers += 1;
                    }
                })
            })
            .collect();
        let begun = Instant::now();
        for client in clients {
            client.await.unwrap();
        }
        let took = begun.elapsed();
        assert!(*made.borrow() <= 21, "{} for 2,000 questions", *made.borrow());
        assert!(took >= Duration::from_millis(19 * 500), "{took:?}");
    }
}
