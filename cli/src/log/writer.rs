//! stderr, or what takes its place, behind a bounded queue: a full one drops lines and says how many.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::output::text::printable;

/// Lines that wait for a slow reader of stderr.
const QUEUE: usize = 4096;

/// How long the end of the process waits for it.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// Makes one [`Line`] per event.
#[derive(Clone, Debug)]
pub(super) struct QueuedStderr {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// Writes what is queued when it is dropped, within 500 ms.
#[derive(Debug)]
pub struct Flush {
    done: Receiver<()>,
    lines: SyncSender<Vec<u8>>,
}

/// Starts the writing thread.
pub(super) fn start() -> (QueuedStderr, Flush) {
    // Nothing is left to tell if stderr itself is gone.
    start_to(|line| {
        let _ = io::stderr().lock().write_all(line);
    })
}

/// The same to another place than stderr.
pub(super) fn start_to(mut write: impl FnMut(&[u8]) + Send + 'static) -> (QueuedStderr, Flush) {
    let (lines, queue) = sync_channel::<Vec<u8>>(QUEUE);
    let (finished, done) = sync_channel(1);
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    // Without this thread there is no log; the process works on without one.
    let _ = thread::Builder::new().name("log".to_owned()).spawn(move || {
        while let Ok(line) = queue.recv() {
            if line.is_empty() {
                break;
            }
            write(&line);
            match counter.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => write(format!("{}\n", super::lost(lost)).as_bytes()),
            }
        }
        let _ = finished.send(());
    });
    (QueuedStderr { lines: lines.clone(), dropped }, Flush { done, lines })
}

impl Drop for Flush {
    fn drop(&mut self) {
        let end = Instant::now() + FLUSH_LIMIT;
        // The empty line is the end; a full queue gets until the limit to take it.
        while self.lines.try_send(Vec::new()).is_err() {
            match self.done.recv_timeout(Duration::from_millis(10)) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
                _ => return,
            }
        }
        let _ = self.done.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Collects one event and queues it whole.
#[derive(Debug)]
pub(super) struct Line<'a> {
    to: &'a QueuedStderr,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for QueuedStderr {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { to: self, bytes: Vec::with_capacity(160) }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let bytes = one_line(&self.bytes);
        if !bytes.is_empty() && self.to.lines.try_send(bytes).is_err() {
            self.to.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An event is one line whatever is in it: servers, clients and peers have a say in the words, and what looks like a line of its
/// own, or moves the cursor of who reads it, would be theirs.
fn one_line(event: &[u8]) -> Vec<u8> {
    let Some(text) = event.strip_suffix(b"\n") else { return event.to_vec() };
    let mut line = printable(&String::from_utf8_lossy(text)).into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_waiting_and_is_told_how_many() {
        let (begun, has_begun) = channel();
        let (allow, allowed) = channel::<()>();
        let (written, all) = channel();
        let mut first = true;
        let (log, flush) = start_to(move |line| {
            if std::mem::take(&mut first) {
                begun.send(()).unwrap();
                allowed.recv().unwrap();
            }
            written.send(String::from_utf8(line.to_vec()).unwrap()).unwrap();
        });
        let say = |text: &str| log.make_writer().write_all(text.as_bytes()).unwrap();
        say("first\n");
        has_begun.recv().unwrap();
        // One is being written, so many fit the queue, and the rest is lost. None of this waits.
        for _ in 0..QUEUE + 100 {
            say("more\n");
        }
        allow.send(()).unwrap();
        drop(flush);
        let lines: Vec<String> = all.iter().take(QUEUE + 2).collect();
        assert_eq!(lines[0], "first\n");
        assert_eq!(lines[1], "100 lines of the log are lost: nobody read it\n");
        assert!(lines[2..].iter().all(|line| line == "more\n"));
    }

    #[test]
    fn an_event_is_one_line_without_anything_that_a_terminal_obeys() {
        let (written, all) = channel();
        let (log, flush) =
            start_to(move |line| written.send(String::from_utf8(line.to_vec()).unwrap()).unwrap());
        let evil = "no drain: x)\n<0>ERROR lbctl: forged\u{1b}[2J\u{9b}\u{202e}\n";
        log.make_writer().write_all(evil.as_bytes()).unwrap();
        drop(flush);
        assert_eq!(all.iter().collect::<String>(), "no drain: x)?<0>ERROR lbctl: forged?[2J??\n");
    }
}
