//! A filter of system calls as seccomp(2) takes it: a program of classic BPF over the number of the call and its arguments.
//!
//! ```text
//! processor ─▶ short pointers? ─▶ search by halves among the numbers ─▶ refused | looks at an argument | allowed
//! ```
//! What is allowed whatever its arguments costs nothing from Linux 5.11 on, which then does not run the filter; before,
//! it is one comparison for each doubling of the list.
#![allow(unsafe_code, reason = "a system call that neither nix nor rustix has")]

use std::{collections::BTreeMap, io, mem::offset_of};

use libc::{c_int, c_long, seccomp_data, sock_filter};
use nix::errno::Errno;

/// What becomes of a call that has a rule; all others are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// It fails with this.
    Refuse(c_int),
    /// It fails with EPERM if its first argument has one of these bits.
    RefuseFlags(u32),
    /// It fails with EPERM unless its first argument is one of these.
    Only(&'static [c_int]),
    /// It fails with EPERM if its second argument is one of these.
    RefuseSecond(&'static [u32]),
}

/// The rules by number of the call.
pub(super) type Rules = BTreeMap<c_long, Rule>;

/// AUDIT_ARCH_* of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const PROCESSOR: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const PROCESSOR: Option<u32> = Some(0xc000_00b7);
#[cfg(target_arch = "riscv64")]
const PROCESSOR: Option<u32> = Some(0xc000_00f3);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const PROCESSOR: Option<u32> = None;

/// On x86-64 each call has a second number, for programs with short pointers. Elsewhere nothing has such a number.
const SHORT_POINTERS: u32 = 0x4000_0000;

/// For this thread and all that it starts, programs as well. The kernel logs what it refuses, if `is_logged`.
///
/// # Errors
/// The kernel has no filters, or none for this processor.
pub(super) fn apply(rules: &Rules, is_logged: bool) -> io::Result<()> {
    let program = program(rules).ok_or_else(|| io::Error::other("not for this processor"))?;
    // No code of others runs here, so nobody needs the brake on speculation that kernels before 5.16 put on else.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let flags = if is_logged { flags | libc::SECCOMP_FILTER_FLAG_LOG } else { flags };
    match install(&program, flags) {
        // Before 4.17.
        Err(Errno::EINVAL) => Ok(install(&program, 0)?),
        outcome => Ok(outcome?),
    }
}

fn install(program: &[sock_filter], flags: libc::c_ulong) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let operation = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies `len` instructions from `filter`, which outlives the call, and writes nothing.
    let outcome = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) };
    Errno::result(outcome).map(drop)
}

fn program(rules: &Rules) -> Option<Vec<sock_filter>> {
    let number = |(call, rule): (&c_long, &Rule)| Some((u32::try_from(*call).ok()?, *rule));
    let rules: Vec<_> = rules.iter().map(number).collect::<Option<_>>()?;
    let mut program = vec![load(offset_of!(seccomp_data, arch))];
    program.extend([jump(libc::BPF_JEQ, PROCESSOR?, 1, 0), refuse(libc::ENOSYS)]);
    program.extend([load(offset_of!(seccomp_data, nr)), jump(libc::BPF_JGE, SHORT_POINTERS, 0, 1)]);
    program.push(refuse(libc::ENOSYS));
    program.extend(search(&rules)?);
    Some(program)
}

/// By halves, so that the last call of a long list is found as fast as the first one.
fn search(rules: &[(u32, Rule)]) -> Option<Vec<sock_filter>> {
    match rules {
        [] => Some(vec![allow()]),
        [(number, rule)] => {
            let found = outcome(*rule)?;
            let mut program = vec![jump(libc::BPF_JEQ, *number, 0, length(&found)?)];
            program.extend(found);
            program.push(allow());
            Some(program)
        }
        _ => {
            let (lower, upper) = rules.split_at(rules.len() / 2);
            let (first, _) = upper.first()?;
            let lower = search(lower)?;
            let mut program = vec![jump(libc::BPF_JGE, *first, length(&lower)?, 0)];
            program.extend(lower);
            program.extend(search(upper)?);
            Some(program)
        }
    }
}

/// What is done about a call that was found.
fn outcome(rule: Rule) -> Option<Vec<sock_filter>> {
    // The lower half of 64 bits, which is all that such an argument has.
    let half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let argument = load(offset_of!(seccomp_data, args) + half);
    Some(match rule {
        Rule::Refuse(error) => vec![refuse(error)],
        Rule::RefuseFlags(bits) => {
            vec![argument, jump(libc::BPF_JSET, bits, 0, 1), refuse(libc::EPERM)]
        }
        Rule::Only(values) => {
            let mut program = vec![argument];
            for (index, value) in values.iter().enumerate() {
                // Over the others and the refusal.
                let rest = u8::try_from(values.len() - index).ok()?;
                program.push(jump(libc::BPF_JEQ, value.cast_unsigned(), rest, 0));
            }
            program.push(refuse(libc::EPERM));
            program
        }
        Rule::RefuseSecond(values) => {
            let mut program = vec![load(offset_of!(seccomp_data, args) + size_of::<u64>() + half)];
            for (index, value) in values.iter().enumerate() {
                // Over the others and the permission.
                let rest = u8::try_from(values.len() - index).ok()?;
                program.push(jump(libc::BPF_JEQ, *value, rest, 0));
            }
            program.extend([allow(), refuse(libc::EPERM)]);
            program
        }
    })
}

fn length(program: &[sock_filter]) -> Option<u8> {
    u8::try_from(program.len()).ok()
}

fn load(offset: usize) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, u32::try_from(offset).unwrap_or(u32::MAX), 0, 0)
}

/// Skips `yes` or `no` instructions.
fn jump(comparison: u32, with: u32, yes: u8, no: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, with, yes, no)
}

fn refuse(error: c_int) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error.cast_unsigned(), 0, 0)
}

fn allow() -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    const fn refused(error: c_int) -> u32 {
        libc::SECCOMP_RET_ERRNO | error.cast_unsigned()
    }

    /// What the kernel would make of it, as bpf(4) has it.
    fn run(program: &[sock_filter], processor: u32, number: u32, argument: u64) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { jt } else { jf });
            match u32::from(code) {
                libc::BPF_RET => return k,
                // LD W ABS
                0x20 if k == 0 => loaded = number,
                0x20 if k == 4 => loaded = processor,
                // The second argument is the first one's double.
                0x20 if k == 16 => loaded = u32::try_from(argument & 0xffff_ffff).unwrap(),
                0x20 if k == 24 => loaded = u32::try_from((argument * 2) & 0xffff_ffff).unwrap(),
                // JMP with JEQ, JGE, JSET
                0x15 => at += jump(loaded == k),
                0x35 => at += jump(loaded >= k),
                0x45 => at += jump(loaded & k != 0),
                other => panic!("{other:#x} {k}"),
            }
        }
    }

    #[test]
    fn each_call_gets_its_rule_and_all_others_are_allowed() {
        let mut rules: Rules = (0..200).step_by(3).map(|call| (call, Rule::Refuse(libc::EPERM))).collect();
        rules.insert(56, Rule::RefuseFlags(0x1000_0000));
        rules.insert(41, Rule::Only(&[1, 2, 10]));
        rules.insert(16, Rule::RefuseSecond(&[8, 10, 0x20]));
        let program = program(&rules).unwrap();
        let own = PROCESSOR.unwrap();
        for number in 0..300 {
            let expected = match number {
                16 | 41 | 56 => continue,
                other if other % 3 == 0 && other < 200 => refused(libc::EPERM),
                _ => ALLOWED,
            };
            assert_eq!(run(&program, own, number, 1), expected, "{number}");
            // The other number, and that of a program for another processor.
            assert_eq!(run(&program, own, number | SHORT_POINTERS, 1), refused(libc::ENOSYS), "{number}");
            assert_eq!(run(&program, own ^ 1, number, 1), refused(libc::ENOSYS), "{number}");
        }
        let arguments = [
            (56, 0x11, ALLOWED),
            (56, 0x1000_0011, refused(libc::EPERM)),
            (41, 1, ALLOWED),
            (41, 2, ALLOWED),
            (41, 10, ALLOWED),
            (41, 3, refused(libc::EPERM)),
            // Its upper half is nothing to an int.
            (41, 3 | 1 << 32, refused(libc::EPERM)),
            (16, 4, refused(libc::EPERM)),
            (16, 5, refused(libc::EPERM)),
            (16, 0x10, refused(libc::EPERM)),
            (16, 8, ALLOWED),
            (16, 0x11, ALLOWED),
            // The kernel looks at the lower half as well.
            (16, 4 | 1 << 40, refused(libc::EPERM)),
        ];
        for (number, argument, expected) in arguments {
            assert_eq!(run(&program, own, number, argument), expected, "{number} {argument:#x}");
        }
    }

    #[test]
    fn nobody_types_into_the_terminal_of_who_started_the_daemon() {
        std::thread::spawn(|| {
            let terminal = nix::pty::openpty(None, None).unwrap();
            rustix::thread::set_no_new_privs(true).unwrap();
            super::super::calls::forbid().unwrap();
            let ask = |request: u32| {
                let mut ordinary: c_int = 0;
                // SAFETY: each of these reads or writes at most an int.
                Errno::result(unsafe {
                    libc::ioctl(terminal.slave.as_raw_fd(), request.into(), &raw mut ordinary)
                })
            };
            // TIOCSTI, TIOCLINUX, TIOCSETD; and FIONREAD.
            assert_eq!([0x5412, 0x541c, 0x5423].map(ask), [Err(Errno::EPERM); 3]);
            assert_eq!(ask(0x541b), Ok(0));
        })
        .join()
        .unwrap();
    }
}
