//! Calls of the system that may not return: a file whose server is gone, a user that a directory service is asked for.
//!
//! Such a call can't be stopped. It is made on a thread of its own, and whoever wants its outcome stops waiting.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

/// For one call.
pub const LIMIT: Duration = Duration::from_secs(5);

/// For one call while another one is overdue: many files of one dead file system are not waited for in full one by one.
const LIMIT_BESIDE: Duration = Duration::from_secs(1);

static CALLS: Calls = Calls(Mutex::new(List { next: 0, calls: Vec::new() }));

/// Those that are not over.
struct Calls(Mutex<List>);

struct List {
    next: u64,
    calls: Vec<Call>,
}

struct Call {
    number: u64,
    /// What it is about.
    about: String,
    /// Nobody waits for it any more.
    is_overdue: bool,
}

/// Takes it off the list, however it ends.
struct End(&'static Calls, u64);

/// The outcome of `call`. There is at most one thread that hangs for each thing that calls are `about`.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] after [`LIMIT`], or at once while an overdue call is about the same; any other if there is no
/// thread.
pub fn within<T: Send + 'static>(about: &str, call: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    CALLS.within(about, LIMIT, call)
}

impl Calls {
    fn within<T: Send + 'static>(
        &'static self,
        about: &str,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (number, limit) = self.begin(about, limit)?;
        let end = End(self, number);
        let (done, outcome) = sync_channel(1);
        thread::Builder::new().name("lbctl-patience".to_owned()).spawn(move || {
            let _end = end;
            // Nobody may wait any more.
            let _ = done.send(call());
        })?;
        match outcome.recv_timeout(limit) {
            Ok(outcome) => Ok(outcome),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("its thread has died")),
            Err(RecvTimeoutError::Timeout) => {
                let mut list = self.list();
                match list.calls.iter_mut().find(|call| call.number == number) {
                    Some(call) => call.is_overdue = true,
                    // It has ended just now.
                    None => return outcome.try_recv().map_err(|_| io::ErrorKind::TimedOut.into()),
                }
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Its number, and how long to wait for it.
    fn begin(&self, about: &str, limit: Duration) -> io::Result<(u64, Duration)> {
        let mut list = self.list();
        let overdue: Vec<_> = list.calls.iter().filter(|call| call.is_overdue).collect();
        if overdue.iter().any(|call| call.about == about) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let limit = if overdue.is_empty() { limit } else { limit.min(LIMIT_BESIDE) };
        let number = list.next;
        list.next += 1;
        list.calls.push(Call { number, about: about.to_owned(), is_overdue: false });
        Ok((number, limit))
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.list().calls.retain(|call| call.number != self.1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn call_that_hangs_keeps_only_its_own_kind_back_and_only_until_it_ends() {
        static CALLS: Calls = Calls(Mutex::new(List { next: 0, calls: Vec::new() }));
        let (go_on, wait) = channel::<()>();
        let hang = move || wait.recv().is_ok();
        let short = Duration::from_millis(10);
        let error = CALLS.within("/nfs/a", short, hang).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let error = CALLS.within("/nfs/a", LIMIT, || panic!("a second thread")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(CALLS.list().calls.len(), 1);
        assert_eq!(CALLS.within("/nfs/b", LIMIT, || 7).unwrap(), 7);

        go_on.send(()).unwrap();
        while !CALLS.list().calls.is_empty() {
            thread::yield_now();
        }
        assert_eq!(CALLS.within("/nfs/a", LIMIT, || 8).unwrap(), 8);
    }

    #[test]
    fn call_that_panics_is_an_error_and_is_over() {
        static CALLS: Calls = Calls(Mutex::new(List { next: 0, calls: Vec::new() }));
        let error = CALLS.within::<()>("/nfs/a", LIMIT, || panic!("as it should")).unwrap_err();
        assert_eq!(error.to_string(), "its thread has died");
        while !CALLS.list().calls.is_empty() {
            thread::yield_now();
        }
    }
}
