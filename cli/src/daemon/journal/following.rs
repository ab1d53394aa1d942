//! `GET /v1/events`: the journal line by line, to one who may be slow, stand still or go away.

use std::{sync::Arc, time::Duration};

use hyper::body::Bytes;
use tokio::{sync::mpsc, time::timeout};

use super::{End, Journal};
use crate::control::{EventLine, LAST_EVENTS};

/// Followers at a time, of those who may only read, and of those who may change something: neither keeps the others out.
const MOST: usize = 16;

/// Events that are taken out of the journal at once.
const AT_ONCE: usize = 64;

/// Between two empty lines while nothing happens.
const ALIVE: Duration = Duration::from_secs(1);

/// Whoever reads nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a reader wants.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::daemon) struct Wanted {
    /// Also what is still to come.
    pub(in crate::daemon) follow: bool,
    /// Those after the one with this number; else the last ones.
    pub(in crate::daemon) after: Option<u64>,
}

/// One each for who follows now, and one more: of those who may only read, and of the others.
#[derive(Debug, Default)]
pub(super) struct Followers {
    readers: Arc<()>,
    others: Arc<()>,
}

/// Why nothing is told.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::daemon) enum Refused {
    /// The request is off.
    Request(String),
    /// Too many follow already.
    Full(String),
}

impl Wanted {
    /// Of the query of a request.
    pub(in crate::daemon) fn parse(query: &str) -> Result<Self, Refused> {
        let mut wanted = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("follow", "" | "true") => wanted.follow = true,
                ("after", number) if number.parse::<u64>().is_ok() => wanted.after = number.parse().ok(),
                _ => {
                    return Err(Refused::Request(format!(
                        "`{}` is nothing that /v1/events takes; it takes follow=true and after=NUMBER",
                        pair.escape_debug()
                    )));
                }
            }
        }
        Ok(wanted)
    }
}

/// Sends lines until there are no more, or nobody reads them. What its connection needs in order not to be idle is `in_hand`.
pub(in crate::daemon) fn run<T: Send + 'static>(
    journal: &Arc<Journal>,
    wanted: Wanted,
    may_change: bool,
    lines: mpsc::Sender<Bytes>,
    in_hand: T,
) -> Result<(), Refused> {
    let followers = if may_change { &journal.followers.others } else { &journal.followers.readers };
    let follower = wanted.follow.then(|| Arc::clone(followers));
    // The journal has one, and so has this one.
    if wanted.follow && Arc::strong_count(followers) > MOST + 1 {
        return Err(Refused::Full(format!(
            "{MOST} readers follow the events already; end one of them (Ctrl-C) first"
        )));
    }
    let journal = Arc::clone(journal);
    tokio::spawn(async move {
        tell(&journal, wanted, &lines).await;
        drop((in_hand, follower));
    });
    Ok(())
}

/// `None` if nobody reads it.
async fn tell(journal: &Journal, wanted: Wanted, lines: &mpsc::Sender<Bytes>) -> Option<()> {
    let mut ended = journal.subscribe();
    let newest = journal.newest();
    let mut had = match wanted.after {
        // Of a daemon that was there before this one.
        Some(after) if after > newest => 0,
        Some(after) => after,
        None => journal.last(LAST_EVENTS).first().map_or(newest, |first| first.number - 1),
    };
    loop {
        // Before the events are taken: none of those that come meanwhile is overlooked.
        let end = *ended.borrow_and_update();
        let batch = journal.after(had, AT_ONCE);
        if batch.lost > 0 {
            send(lines, &EventLine::Lost { lost: batch.lost }).await?;
        }
        let is_all = batch.events.len() < AT_ONCE;
        for event in batch.events {
            send(lines, &EventLine::Event(event)).await?;
        }
        had = batch.newest;
        if !is_all {
            continue;
        }
        match end {
            Some(End::Elsewhere) if wanted.follow => return None,
            Some(End::Over) if wanted.follow => {
                return send(lines, &EventLine::Over { over: "lbctl ends".to_owned() }).await;
            }
            _ if !wanted.follow => {
                return send(lines, &EventLine::Over { over: "these are all".to_owned() }).await;
            }
            _ => {}
        }
        tokio::select! {
            () = lines.closed() => return None,
            changed = timeout(ALIVE, ended.changed()) => match changed {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => write(lines, Bytes::from_static(b"\n")).await?,
            },
        }
    }
}

async fn send(lines: &mpsc::Sender<Bytes>, line: &EventLine) -> Option<()> {
    let mut text = serde_json::to_vec(line).ok()?;
    text.push(b'\n');
    write(lines, text.into()).await
}

async fn write(lines: &mpsc::Sender<Bytes>, bytes: Bytes) -> Option<()> {
    timeout(PATIENCE, lines.send(bytes)).await.ok()?.ok()
}
