//! The status for all who ask: made when somebody asks, but no more often than the daemon's loop can bear, and written as JSON
//! beside the loop. Who asks gets one that was made after that: nobody sees a time before his own order.

use std::time::Duration;

use hyper::body::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Command,
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

type Answer = Result<Bytes, &'static str>;

/// See the module. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Statuses(mpsc::Sender<oneshot::Sender<Answer>>);

impl Statuses {
    /// Asks the loop until the last clone is gone.
    pub(super) fn start(commands: mpsc::Sender<Command>) -> Self {
        let (asked, asking) = mpsc::channel(WAITING);
        tokio::spawn(serve(commands, asking));
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

async fn serve(commands: mpsc::Sender<Command>, mut asking: mpsc::Receiver<oneshot::Sender<Answer>>) {
    let mut next = Instant::now();
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
        for one in all {
            // Who asked may have gone away.
            let _ = one.send(answer.clone());
        }
    }
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
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(_)) | Err(_) => Err("can't write the answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Timestamp;

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_the_loop_makes_few_and_nobody_gets_an_old_one() {
        let (commands, mut asked) = mpsc::channel(16);
        let statuses = Statuses::start(commands);
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
                        let bytes = statuses.latest().await.unwrap();
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
