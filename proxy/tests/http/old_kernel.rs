//! A kernel that can't be asked for what is behind the first bytes of a socket, as one before Linux 6.9.
#![allow(unsafe_code, reason = "a system call that neither nix nor rustix has")]

use std::{io, mem::offset_of};

use libc::{c_int, seccomp_data, sock_filter};

/// SO_PEEK_OFF fails with `error` in this thread and in those that it starts; with 0 nothing is done.
pub(crate) fn refuse_offsets(error: c_int) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // The lower half of 64 bits.
    let half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let argument = |index: usize| offset_of!(seccomp_data, args) + index * size_of::<u64>() + half;
    let load =
        |offset: usize| one(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, u32::try_from(offset).unwrap(), 0);
    // Or over as many to the permission.
    let must_be = |value: u32, over: u8| one(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, over);
    let answer = |value: u32| one(libc::BPF_RET | libc::BPF_K, value, 0);
    let program = [
        load(offset_of!(seccomp_data, nr)),
        must_be(u32::try_from(libc::SYS_setsockopt).unwrap(), 5),
        load(argument(1)),
        must_be(libc::SOL_SOCKET.cast_unsigned(), 3),
        load(argument(2)),
        must_be(libc::SO_PEEK_OFF.cast_unsigned(), 1),
        answer(libc::SECCOMP_RET_ERRNO | error.cast_unsigned()),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which outlives the call, and writes nothing.
    let outcome =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An instruction, which skips `no` others where its comparison fails.
fn one(code: u32, k: u32, no: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf: no, k }
}
