//! Whose turn it is among a driver's inputs, so that none of them can starve the others.

/// So many inputs in a row may hold up a deadline that has passed.
const INPUTS_PER_DEADLINE: u32 = 16;

/// So many packets in a row may hold up the kernel's answers and the daemon's commands. Without a limit a flood of
/// packets would make the daemon's readiness run out, and the address would be given up.
const PACKETS_IN_A_ROW: u32 = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    packets: u32,
    overdue: u32,
}

impl Turns {
    /// Packets come first among the inputs, but for one turn after a row of them.
    pub(super) fn packets_first(&self) -> bool {
        self.packets < PACKETS_IN_A_ROW
    }

    /// An input was taken. In the turn of the others it may be that there is none; that counts as no packet.
    pub(super) fn taken(&mut self, is_packet: bool) {
        self.packets = if is_packet { self.packets + 1 } else { 0 };
    }

    /// Whether the timers are to be looked at after this input: it is the deadline's own, or the deadline passed
    /// (`overdue`) and was held up for long enough.
    pub(super) fn timers_next(&mut self, is_deadline: bool, overdue: bool) -> bool {
        self.overdue += u32::from(overdue);
        let next = is_deadline || self.overdue > INPUTS_PER_DEADLINE;
        if next {
            self.overdue = 0;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is served, with packets always waiting and `commands` of others.
    fn served(inputs: usize, mut commands: usize) -> String {
        let mut turns = Turns::default();
        let mut order = String::new();
        while order.len() < inputs {
            if turns.packets_first() {
                turns.taken(true);
                order.push('p');
                continue;
            }
            if commands > 0 {
                commands -= 1;
                order.push('c');
            }
            turns.taken(false);
        }
        order
    }

    #[test]
    fn the_others_have_their_turn_after_16_packets_in_a_row() {
        let row = "p".repeat(16);
        assert_eq!(served(51, 3), format!("{row}c{row}c{row}c"));
    }

    #[test]
    fn packets_go_on_when_nobody_else_wants_a_turn() {
        assert_eq!(served(40, 0), "p".repeat(40));
    }

    #[test]
    fn a_deadline_that_has_passed_is_held_up_by_16_inputs_at_most() {
        let mut turns = Turns::default();
        let looked: Vec<usize> = (1..=40).filter(|_| turns.timers_next(false, true)).collect();
        assert_eq!(looked, [17, 34]);
        assert!(turns.timers_next(true, false));
        assert!((1..=40).all(|_| !turns.timers_next(false, false)), "not before it passed");
    }
}
