//! What the next process writes to stderr where that would be nothing (`--daemon`): why a program does not start is said nowhere else.

use std::{
    io::Read,
    process::ChildStderr,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::sleep;

/// Bytes and lines of it that are kept: the last ones.
const MOST: usize = 2048;
const LINES: usize = 5;

/// Reads that many bytes at once, and needs little else.
const STACK: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Output {
    last: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Output {
    /// Reads until whoever writes there has closed it.
    pub(super) fn read(mut stderr: ChildStderr) -> std::io::Result<Self> {
        let last = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&last);
        let reader = move || {
            let mut room = [0; 1024];
            while let Ok(length @ 1..) = stderr.read(&mut room) {
                let mut last = own.lock().unwrap_or_else(PoisonError::into_inner);
                last.extend(&room[..length]);
                let old = last.len().saturating_sub(MOST);
                last.drain(..old);
            }
        };
        let reader =
            thread::Builder::new().name("upgrade-stderr".to_owned()).stack_size(STACK).spawn(reader)?;
        Ok(Self { last, reader })
    }

    /// The last lines, in one; `None` if it has said nothing.
    pub(super) async fn last_lines(&self) -> Option<String> {
        // What is on its way when its writer ends comes at once.
        for _ in 0..100 {
            if self.reader.is_finished() {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let last =
            String::from_utf8_lossy(&self.last.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        let lines: Vec<_> = last.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let first = lines.len().saturating_sub(LINES);
        (!lines.is_empty()).then(|| lines[first..].join(" / "))
    }
}
