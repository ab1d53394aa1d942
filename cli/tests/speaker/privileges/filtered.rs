//! The filters of system calls of the processes that run: their threads are held and made to call what they never call.
//!
//! ```text
//! test ── seize ──▶ thread in a call ── its instruction again, with another number ──▶ what the kernel answers
//! ```
//! No argument is good, so a call that is let through does nothing. Written for the registers of one processor; the list is the
//! same on each.

use std::{fs, path::Path};

use libc::{c_int, c_long};
use nix::{
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use super::{Jailed, as_root, wait_for};

/// Bad as a pointer, a descriptor, a process, a user, and as flags.
const BAD: u64 = u64::MAX;

const REFUSED: i64 = -(libc::EPERM as i64);
const NOT_THERE: i64 = -(libc::ENOSYS as i64);
const BAD_ADDRESS: i64 = -(libc::EFAULT as i64);
const BAD_DESCRIPTOR: i64 = -(libc::EBADF as i64);

/// What docs/operations.md says that nobody of lbctl calls.
const NEVER: &[&[c_long]] = &[
    // Other processes' memory.
    &[libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_process_madvise],
    &[libc::SYS_pidfd_getfd, libc::SYS_kcmp],
    // Kernel modules, and other ways into the kernel.
    &[libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module],
    &[libc::SYS_kexec_load, libc::SYS_kexec_file_load, libc::SYS_personality, libc::SYS_syslog],
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_userfaultfd],
    // bpf, perf, io_uring.
    &[libc::SYS_bpf, libc::SYS_perf_event_open],
    &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
    // Mounts, and files by other ways than their names.
    &[libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_open_tree],
    &[libc::SYS_move_mount, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick],
    &[libc::SYS_mount_setattr, libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at],
    &[libc::SYS_fanotify_init, libc::SYS_mknod, libc::SYS_mknodat],
    // Namespaces, keys.
    &[libc::SYS_unshare, libc::SYS_setns],
    &[libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl],
    // The machine, its clocks.
    &[libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct, libc::SYS_quotactl],
    &[libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_settimeofday, libc::SYS_clock_settime],
    &[libc::SYS_adjtimex, libc::SYS_clock_adjtime],
    // Users.
    &[libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setresuid],
    &[libc::SYS_setresgid, libc::SYS_setfsuid, libc::SYS_setfsgid, libc::SYS_setgroups],
];

/// Those of the list that the kernel would let anybody try: nothing but the filter refuses them.
const OTHERWISE_LET_IN: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_personality,
    libc::SYS_unshare,
    libc::SYS_setuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
];

/// A thread that is held, and calls what it is told to.
struct Held {
    thread: Pid,
    registers: libc::user_regs_struct,
}

impl Held {
    /// Waits until it is in a call.
    fn new(thread: Pid) -> Self {
        wait_for("a thread that waits in the kernel", || {
            ptrace::seize(thread, ptrace::Options::empty()).unwrap();
            ptrace::interrupt(thread).unwrap();
            wait_for_stop(thread);
            let registers = ptrace::getregs(thread).unwrap();
            let at = usize::try_from(registers.rip - 2).unwrap();
            let instruction = ptrace::read(thread, std::ptr::without_provenance_mut(at)).unwrap();
            if instruction.to_le_bytes()[..2] == [0x0f, 0x05] {
                return Some(Self { thread, registers });
            }
            ptrace::detach(thread, None).unwrap();
            None
        })
    }

    /// The kernel's answer.
    fn call(&self, number: c_long, arguments: [u64; 3]) -> i64 {
        let [rdi, rsi, rdx] = arguments;
        // On the instruction that it stands behind, and in no call that is to be begun again.
        let (rip, orig_rax) = (self.registers.rip - 2, u64::MAX);
        let (rax, rest) = (number.cast_unsigned(), BAD);
        let told = libc::user_regs_struct {
            rip,
            orig_rax,
            rax,
            rdi,
            rsi,
            rdx,
            r10: rest,
            r8: rest,
            r9: rest,
            ..self.registers
        };
        ptrace::setregs(self.thread, told).unwrap();
        ptrace::step(self.thread, None).unwrap();
        wait_for_stop(self.thread);
        let after = ptrace::getregs(self.thread).unwrap();
        assert_eq!(after.rip, self.registers.rip, "it has made one step");
        after.rax.cast_signed()
    }

    fn refuses_all_of_the_list(&self) {
        for call in NEVER.concat() {
            assert_eq!(self.call(call, [BAD; 3]), REFUSED, "call {call}");
            // Its second number, for programs with short pointers.
            assert_eq!(self.call(call | 0x4000_0000, [BAD; 3]), NOT_THERE, "call {call}");
        }
        // New threads, in no new namespace; the call whose flags no filter sees is not there.
        let namespace = u64::try_from(libc::CLONE_NEWUSER).unwrap();
        assert_eq!(self.call(libc::SYS_clone, [namespace, 0, 0]), REFUSED);
        assert_eq!(self.call(libc::SYS_clone3, [BAD; 3]), NOT_THERE);
        // Typing into a terminal: TIOCSTI, TIOCLINUX, TIOCSETD; and FIONREAD, which is let in.
        for request in [0x5412, 0x541c, 0x5423] {
            assert_eq!(self.call(libc::SYS_ioctl, [BAD, request, BAD]), REFUSED, "{request:#x}");
        }
        assert_eq!(self.call(libc::SYS_ioctl, [BAD, 0x541b, BAD]), BAD_DESCRIPTOR);
    }

    /// No program, and no capability that it has not.
    fn starts(&self, allowed: bool) {
        let expected = if allowed { BAD_ADDRESS } else { REFUSED };
        for call in [libc::SYS_execve, libc::SYS_capset] {
            assert_eq!(self.call(call, [BAD; 3]), expected, "call {call}");
        }
    }

    fn may_have_a_socket(&self, family: c_int) -> bool {
        let family = u64::try_from(family).unwrap();
        let answer = self.call(libc::SYS_socket, [family, u64::try_from(libc::SOCK_DGRAM).unwrap(), 0]);
        assert!(answer >= 0 || answer == REFUSED, "{family}: {answer}");
        answer >= 0
    }

    fn has_sockets(&self, families: &[c_int]) {
        let all = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];
        let others = [libc::AF_ALG, libc::AF_VSOCK, libc::AF_BLUETOOTH, libc::AF_XDP];
        for family in all.into_iter().chain(others) {
            assert_eq!(self.may_have_a_socket(family), families.contains(&family), "family {family}");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let back = ptrace::setregs(self.thread, self.registers);
        let _ = back.and_then(|()| ptrace::detach(self.thread, None));
    }
}

fn wait_for_stop(thread: Pid) {
    waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
}

/// All threads with their names.
fn threads(of: Pid) -> Vec<(String, Pid)> {
    let named =
        |path: &Path| Some((fs::read_to_string(path.join("comm")).ok()?.trim().to_owned(), number(path)?));
    let tasks = fs::read_dir(format!("/proc/{of}/task")).unwrap().flatten();
    tasks.filter_map(|task| named(&task.path())).collect()
}

fn number(path: &Path) -> Option<Pid> {
    path.file_name()?.to_str()?.parse().ok().map(Pid::from_raw)
}

const OF_THE_DAEMON: [c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
const OF_THE_SPEAKER: [c_int; 5] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

#[test]
fn each_thread_is_refused_what_is_on_the_list_and_goes_on() {
    as_root("privileges::filtered::each_thread_is_refused_what_is_on_the_list_and_goes_on", || {
        let jailed = Jailed::start();
        let (daemon, speaker) = (jailed.node.daemon(), jailed.node.speaker());
        let mut names = Vec::new();
        for (name, thread) in threads(daemon) {
            let held = Held::new(thread);
            held.refuses_all_of_the_list();
            held.starts(name == "launcher");
            if name != "launcher" {
                // Packet sockets take a capability that it has not; the others take none.
                held.has_sockets(&OF_THE_DAEMON);
            }
            names.push(name);
        }
        for name in ["lbctl", "launcher", "guard", "log", "lbctl-worker-0", "alive"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        wait_for("it serves on", || (jailed.node.has_vip() && jailed.node.state() == "Active").then_some(()));
        jailed.done(&["reload"]);
        assert_eq!(jailed.node.speaker(), speaker, "no filter ends it");
        // It would kill a speaker that does not move.
        jailed.node.signal(daemon, Signal::SIGSTOP);
        for (_, thread) in threads(speaker) {
            let held = Held::new(thread);
            held.refuses_all_of_the_list();
            held.starts(false);
            held.has_sockets(&OF_THE_SPEAKER);
        }
        jailed.node.signal(daemon, Signal::SIGCONT);
        wait_for("they serve on", || {
            (jailed.node.has_vip() && jailed.node.state() == "Active").then_some(())
        });
        assert_eq!(jailed.node.speaker(), speaker, "what it was made to call did not end it");
    });
}

/// It is the filter that refuses them.
#[test]
fn without_the_filter_the_kernel_answers_otherwise() {
    as_root("privileges::filtered::without_the_filter_the_kernel_answers_otherwise", || {
        let jailed = Jailed::start_with(&["--unconfined"]);
        let worker = threads(jailed.node.daemon()).into_iter().find(|(name, _)| name == "lbctl-worker-0");
        let held = Held::new(worker.unwrap().1);
        for call in OTHERWISE_LET_IN {
            assert!(NEVER.concat().contains(call));
            assert_ne!(held.call(*call, [BAD; 3]), REFUSED, "call {call}");
        }
        held.starts(true);
        assert!(held.may_have_a_socket(libc::AF_NETLINK));
        assert_eq!(held.call(libc::SYS_clone3, [BAD; 3]), -i64::from(libc::E2BIG));
    });
}
