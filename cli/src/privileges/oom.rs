//! Whom the kernel ends first where memory is short (oom_score_adj, proc(5)): the daemon before its speaker. Without its daemon a
//! speaker removes the addresses and the other node takes over; without its speaker a daemon has to start another one, and with both
//! gone nobody does anything.
//!
//! A process gets the score of the thread that starts it, and may go back to the one that it had before. So the daemon raises its own, and
//! lowers it for the moment in which it starts a speaker.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

/// So much more than a speaker: a tenth of the memory that there is, or of the limit.
const WORSE: i32 = 100;

/// Of a process that is never ended for its memory, and of one that always goes first.
const NEVER: i32 = -1000;
const FIRST: i32 = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Score {
    file: File,
    speakers: i32,
}

impl Score {
    /// To be called as who starts lbctl, before anything is given away: afterwards the file may be out of reach. `None` where there is
    /// nothing to be done, or nothing can be.
    pub(super) fn find() -> Option<Self> {
        let mut file = File::options().read(true).write(true).open(super::OOM_SCORE).ok()?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let speakers: i32 = text.trim().parse().ok()?;
        (speakers > NEVER).then_some(Self { file, speakers })
    }

    /// To be called without CAP_SYS_RESOURCE: what has it can't go back without it.
    pub(super) fn raise(&self) -> io::Result<()> {
        self.write((self.speakers + WORSE).min(FIRST))
    }

    /// Starts a speaker.
    pub(super) fn lowered(&self, start: impl FnOnce()) {
        let is_lower = self.write(self.speakers).is_ok();
        start();
        if is_lower {
            let _ = self.raise();
        }
    }

    fn write(&self, score: i32) -> io::Result<()> {
        self.file.write_all_at(score.to_string().as_bytes(), 0)
    }
}
