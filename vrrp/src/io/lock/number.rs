//! The numbers of the descriptors of locks. What a dying process has open the kernel lets go of one after the other, the highest number
//! first (`task_work_run`), and at each packet socket it waits for 6 to 20 ms (`synchronize_net`). A successor waits for the locks alone.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;

/// Higher than what else a speaker has open, as far as its limit (RLIMIT_NOFILE, 1024 by default) goes.
const LEAST: [i32; 2] = [2048, 512];

/// To be called before the first thread is started, with any descriptor. Once there are threads the kernel waits as long as for a packet
/// socket before it gives out numbers that it has no room for yet.
pub fn make_room_for_locks(any: impl AsFd) {
    // An error means that there are no such numbers.
    let _ = LEAST.into_iter().find(|least| fcntl_dupfd_cloexec(&any, *least).is_ok());
}

/// The same under a number that goes first.
pub(super) fn raised(lock: OwnedFd) -> OwnedFd {
    // Without one it goes later.
    LEAST.into_iter().find_map(|least| fcntl_dupfd_cloexec(&lock, least).ok()).unwrap_or(lock)
}
