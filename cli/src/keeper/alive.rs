//! Being known to be alive, and finding out that the other side is not.
#![allow(unsafe_code, reason = "pthread mutexes in shared memory")]

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
};

use super::page::{Page, Side};

/// These threads only wait; the whole of their stacks stays in memory.
const STACK: usize = 128 * 1024;

/// Held by a thread of its own, which does nothing else, until it is dropped. Dropping says: a clean end.
#[derive(Debug)]
pub struct Alive {
    release: Option<Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

/// How the other side ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// It let go.
    Clean,
    /// It died.
    Died,
}

impl Alive {
    /// Takes the mutex of `side`; returns once it is held.
    ///
    /// # Errors
    /// No thread, or the mutex is unusable.
    pub fn hold(page: Arc<Page>, side: Side) -> io::Result<Self> {
        let (release, released) = channel();
        let (taken, is_taken) = channel();
        let holder = thread::Builder::new().name("alive".to_owned()).stack_size(STACK).spawn(move || {
            let locked = lock(&page, side).map(drop);
            let held = locked.is_ok();
            let _ = taken.send(locked);
            if held {
                // Ends when the sender is dropped, too.
                let _ = released.recv();
                unlock(&page, side);
            }
        })?;
        is_taken.recv().map_err(io::Error::other)??;
        Ok(Self { release: Some(release), holder: Some(holder) })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(holder) = self.holder.take() {
            let _ = holder.join();
        }
    }
}

/// Calls `ended` from a thread of its own once `side`, which has to hold its mutex already, ends. The mutex is free again
/// then.
///
/// # Errors
/// No thread.
pub fn watch(page: Arc<Page>, side: Side, ended: impl FnOnce(End) + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("watcher".to_owned()).stack_size(STACK).spawn(move || {
        // An unusable mutex can't be told from a death, and is treated as one: the other side is replaced.
        let end = lock(&page, side);
        if end.is_ok() {
            unlock(&page, side);
        }
        ended(end.unwrap_or(End::Died));
    })?;
    Ok(())
}

/// Waits for the mutex. A dead holder's mutex is made usable again.
fn lock(page: &Page, side: Side) -> io::Result<End> {
    let mutex = page.mutex(side);
    // SAFETY: `page` keeps the mapping alive, and its creator initialised the mutex before it was handed out.
    match unsafe { libc::pthread_mutex_lock(mutex) } {
        0 => Ok(End::Clean),
        libc::EOWNERDEAD => {
            // SAFETY: this thread holds the mutex since the call above.
            unsafe { libc::pthread_mutex_consistent(mutex) };
            Ok(End::Died)
        }
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn unlock(page: &Page, side: Side) {
    // SAFETY: only called by the thread that holds the mutex.
    unsafe { libc::pthread_mutex_unlock(page.mutex(side)) };
}
