//! What makes the speaker hard to end by accident and hard to delay. Best effort: without the rights it runs like others.
#![allow(unsafe_code, reason = "signal dispositions, and a scheduling call that nix does not have")]

use nix::{
    sys::{
        mman::{MlockAllFlags, mlockall},
        resource::{Resource, setrlimit},
        signal::{SigHandler, Signal, signal},
    },
    unistd::setsid,
};

/// SCHED_RR priority: above everything ordinary, below the kernel's own threads (50).
const PRIORITY: i32 = 10;

/// A speaker that spins for so long without ever waiting is killed by the kernel, and replaced; microseconds.
const RUNAWAY: u64 = 500_000;

/// What an ordinary thread wants of the processor at a time, in nanoseconds: the least there is. The scheduler (Linux 6.12
/// and later) gives a thread that wants little its turn earlier when it wakes up; anyone may ask for that.
const SLICE: u64 = 100_000;

/// What ends others. SIGABRT is systemd's for a daemon that hangs; abort(3) ends this process all the same.
const DEAF_TO: [Signal; 10] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTOU,
    Signal::SIGTTIN,
    Signal::SIGTSTP,
    Signal::SIGABRT,
];

/// Leaves the terminal: own name, own session, and deaf to what a terminal or a service manager sends to a whole group. The
/// speaker ends when the daemon says so or is gone.
pub fn leave_terminal() {
    // Started from /proc/self/exe, it would be called `exe` in lists of processes. A name can't be refused.
    let _ = nix::sys::prctl::set_name(c"lbctl-speaker");
    // Fails only for a group leader, which a child is not; then it is in its own group anyway.
    let _ = setsid();
    DEAF_TO.into_iter().for_each(ignore);
}

/// As does whatever this process starts from then on, until it says otherwise itself.
pub fn ignore(ignored: Signal) {
    // SAFETY: ignoring a signal runs no handler.
    let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
}

/// Asks to be run before others. To be called before the first thread is started, which inherit it. Returns what was refused, in
/// words.
pub fn prefer_over_others() -> Option<String> {
    let limit = setrlimit(Resource::RLIMIT_RTTIME, RUNAWAY, RUNAWAY);
    let error = limit.and_then(|()| run_before_others()).err()?;
    prefer_by_fairness();
    Some(format!(
        "no real-time priority (CAP_SYS_NICE, or LimitRTPRIO=): {error}; on a busy machine advertisements may be late"
    ))
}

/// Asks for all memory of this process to stay where it is, also what it allocates later, for which it has to be allowed (`may`). That
/// takes 1 to 2 ms, and longer where not all of the program was read yet. Returns what was refused, in words.
pub fn stay_in_memory(may: bool) -> Option<String> {
    let locked = if may {
        mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
    } else {
        Err(nix::errno::Errno::EPERM)
    };
    locked.err().map(|error| format!("memory is not locked (CAP_IPC_LOCK, LimitMEMLOCK): {error}"))
}

/// The calling thread alone asks to be run before others.
pub fn prefer_thread() {
    if run_before_others().is_err() {
        prefer_by_fairness();
    }
}

/// Whether a thread of this process may; tried by one that ends at once.
pub fn may_run_before_others() -> bool {
    std::thread::spawn(run_before_others).join().is_ok_and(|tried| tried.is_ok())
}

/// The calling thread alone is run before others, and what it starts from here on, if that is allowed.
pub fn prefer_starter() -> bool {
    run_before_others().is_ok()
}

/// Does `work` as others do on a thread of which [`prefer_starter`] was true.
pub fn as_others<T>(work: impl FnOnce() -> T) -> T {
    // Whoever may have more may have less, and again what it had.
    let _ = schedule(libc::SCHED_OTHER, 0);
    let done = work();
    let _ = run_before_others();
    done
}

fn run_before_others() -> nix::Result<()> {
    schedule(libc::SCHED_RR, PRIORITY)
}

fn schedule(policy: libc::c_int, priority: libc::c_int) -> nix::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the structure is whole, and 0 is the calling thread.
    nix::errno::Errno::result(unsafe { libc::sched_setscheduler(0, policy, &parameters) }).map(drop)
}

/// The next best to a real-time priority: the highest ordinary one, where that is allowed, and short turns.
fn prefer_by_fairness() {
    let attributes = |nice: libc::c_int| libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    // The second without a right to the first: it leaves the priority what it is.
    // SAFETY: getpriority touches no memory of ours.
    let current = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    for nice in [-20, current] {
        let wanted = attributes(nice);
        // SAFETY: the structure is whole and says its size, and 0 is the calling thread.
        let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
        if set == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_turns_are_granted_to_anyone() {
        // A thread of its own: the priority stays with it.
        let granted = std::thread::spawn(|| {
            prefer_by_fairness();
            let mut got = std::mem::MaybeUninit::<libc::sched_attr>::zeroed();
            let size = size_of::<libc::sched_attr>();
            // SAFETY: the kernel writes at most `size` bytes, and zeros are a whole structure.
            let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, got.as_mut_ptr(), size, 0) };
            assert_eq!(read, 0);
            // SAFETY: as above.
            unsafe { got.assume_init() }.sched_runtime
        });
        let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
        let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
        let knows = (numbers.next(), numbers.next()) >= (Some(6), Some(12));
        assert_eq!(granted.join().unwrap(), if knows { SLICE } else { 0 }, "Linux {release}");
    }
}
