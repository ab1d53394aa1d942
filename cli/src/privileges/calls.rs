//! Which system calls the processes never make, and would be of use to whoever got into one. What is named here is refused
//! (EPERM), and the rest allowed: a list of what is allowed would be another one for each version of libc, and what it
//! forgets ends a daemon at night.

use std::io;

use libc::{c_int, c_long};

use super::filter::{Rule, Rules, apply};

/// Other processes, the kernel itself, mounts, namespaces, keys, clocks, users: nobody needs them.
const NEVER: &[c_long] = &[
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Code in the kernel, and ways into it.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    // libc has no number for it there.
    #[cfg(not(all(target_arch = "aarch64", target_env = "musl")))]
    libc::SYS_kexec_file_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_personality,
    libc::SYS_syslog,
    // Another view of the file system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_mknodat,
    // Namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    // Keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    // Other users.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
];

/// Of a terminal: type into it what its shell reads next (Linux has that for others' terminals off by default since 6.2), on
/// the console as well, and have another driver for it. A daemon in the foreground has root's terminal.
const OF_TERMINALS: &[u32] = &[libc::TIOCSTI as u32, TIOCLINUX, libc::TIOCSETD as u32];

/// Of ioctl_console(2); libc has no name for it.
const TIOCLINUX: u32 = 0x541c;

/// Whoever starts no program.
const STARTS: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_capset];

/// Namespaces that clone(2) makes.
const NAMESPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Sockets of the daemon.
const DAEMON: &[c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Sockets of the speaker: also one for announcements.
const SPEAKER: &[c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

/// For this thread and all that it starts, programs as well.
pub(super) fn forbid() -> io::Result<()> {
    let mut rules = always(NEVER, libc::EPERM);
    rules.insert(libc::SYS_clone, Rule::RefuseFlags(NAMESPACES.cast_unsigned()));
    rules.insert(libc::SYS_ioctl, Rule::RefuseSecond(OF_TERMINALS));
    apply(&rules, true)?;
    // Its flags are in memory, where no filter looks. libc takes the other one then, at each thread: not for a log.
    apply(&always(&[libc::SYS_clone3], libc::ENOSYS), false)
}

/// For this thread and those that it starts: no programs, and no sockets but the daemon's.
pub(super) fn forbid_programs() -> io::Result<()> {
    forbid_others_than(DAEMON)
}

/// The same of a speaker.
pub(super) fn forbid_programs_of_a_speaker() -> io::Result<()> {
    forbid_others_than(SPEAKER)
}

fn forbid_others_than(families: &'static [c_int]) -> io::Result<()> {
    let mut rules = always(STARTS, libc::EPERM);
    rules.insert(libc::SYS_socket, Rule::Only(families));
    apply(&rules, true)
}

/// Calls that are refused whatever their arguments.
fn always(calls: &[c_long], error: c_int) -> Rules {
    calls.iter().map(|call| (*call, Rule::Refuse(error))).collect()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixDatagram, process::Command, thread};

    use nix::{
        errno::Errno,
        sched::{CloneFlags, unshare},
        sys::socket::{AddressFamily, SockFlag, SockType, socket},
        unistd::Pid,
    };

    use super::*;

    #[test]
    fn what_nobody_needs_is_refused_and_programs_and_threads_start() {
        thread::spawn(|| {
            // Without that only root may have a filter.
            rustix::thread::set_no_new_privs(true).unwrap();
            forbid().unwrap();
            assert_eq!(unshare(CloneFlags::CLONE_NEWUSER), Err(Errno::EPERM));
            assert_eq!(nix::sys::ptrace::attach(Pid::from_raw(1)), Err(Errno::EPERM));
            // Of this thread alone: libc would have all of them take it.
            assert_eq!(rustix::thread::set_thread_groups(&[]), Err(rustix::io::Errno::PERM));
            assert!(Command::new("true").status().unwrap().success());
            // What is started has it as well.
            let refused = Command::new("unshare").args(["--user", "true"]).output().unwrap();
            assert!(!refused.status.success());
            thread::spawn(|| ()).join().unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn who_starts_nothing_has_its_sockets_and_no_others() {
        thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            forbid_programs().unwrap();
            let started = Command::new("true").status();
            assert_eq!(started.unwrap_err().raw_os_error(), Some(libc::EPERM));
            let open = |family| socket(family, SockType::Datagram, SockFlag::empty(), None).map(|_| ());
            assert_eq!(open(AddressFamily::Alg), Err(Errno::EPERM));
            assert_eq!(open(AddressFamily::Packet), Err(Errno::EPERM));
            TcpListener::bind("127.0.0.1:0").unwrap();
            UnixDatagram::unbound().unwrap();
            open(AddressFamily::Netlink).unwrap_or_else(|error| assert_ne!(error, Errno::EPERM));
        })
        .join()
        .unwrap();
    }
}
