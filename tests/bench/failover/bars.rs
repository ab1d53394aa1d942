//! What a pair of lbctl has to keep, as the median of a cell; its worst run may take three times as long.

use std::time::Duration;

use crate::{
    cases::Case,
    figures::Cell,
    files::{CHECK, FALL, HOLD, LOOK, System},
};

/// What a bar is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Of {
    /// The longest time without an answer that the prober saw.
    Prober,
    /// The same of the client that opens connections.
    Http,
    /// From the harm until the other node has the address.
    Claim,
    /// How often an address was claimed, and nothing else.
    Claims,
    /// From the harm until the old holder has lost the address.
    Gone,
}

/// A bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) of: Of,
    /// At most; none where nothing may be claimed at all.
    pub(crate) limit: Duration,
    /// As the table has it.
    pub(crate) text: String,
}

/// A worker or a daemon that does not answer for this long is stalled.
const STALLED: u64 = 1000;
/// A lease, as accurate as the kernel counts it.
const LEASE: u64 = 2400;
/// The longest Skew_Time of the pair is that of priority 253.
const SKEW: f64 = 3.0 / 256.0;

/// The bars of a case at an interval, in milliseconds both.
pub(crate) fn bars(case: Case, interval: u32) -> Vec<Bar> {
    let own = f64::from(interval);
    let skew = own * SKEW;
    let down = 3.0 * own + skew;
    let bar = |of, limit: f64, text: &str| Bar {
        of,
        limit: Duration::from_secs_f64(limit / 1000.0),
        text: if text.is_empty() { format!("{limit:.0} ms") } else { format!("{text}: {limit:.0} ms") },
    };
    let nothing_moves = Bar { of: Of::Claims, limit: Duration::ZERO, text: "nothing moves".to_owned() };
    let milliseconds = |number: u64| number as f64;
    match case {
        // The bar is that of 100 ms; at 1 s Skew_Time alone is longer.
        Case::Stop if interval > 100 => vec![bar(Of::Prober, skew + 10.0, "Skew_Time + 10 ms")],
        Case::Stop | Case::Deleted => vec![bar(Of::Prober, 10.0, "")],
        Case::Kill => {
            let limit = if interval >= 1000 { 30.0 } else { 20.0 };
            vec![bar(Of::Prober, limit, ""), bar(Of::Http, limit, "")]
        }
        Case::Speaker | Case::ServersBoth | Case::Added => vec![nothing_moves],
        Case::Both => vec![
            bar(Of::Claim, down + 20.0, "Down_Interval + 20 ms"),
            bar(Of::Gone, milliseconds(LEASE), "address gone"),
        ],
        Case::Freeze => vec![bar(Of::Http, milliseconds(STALLED) + 30.0, "stall + 30 ms")],
        Case::FreezeSpeaker => {
            let noticed = (2.5 * own).max(25.0);
            vec![bar(Of::Claim, noticed + 30.0, "2.5 intervals (25 ms at least) + 30 ms")]
        }
        Case::Worker | Case::Workers => {
            vec![bar(Of::Claim, milliseconds(STALLED) + 30.0, "stall + 30 ms")]
        }
        Case::Fault => vec![bar(Of::Prober, 20.0, "")],
        Case::Degraded => {
            vec![bar(Of::Claim, milliseconds(LOOK) + skew + 20.0, "detection (100 ms) + Skew_Time + 20 ms")]
        }
        Case::Cable => {
            vec![bar(Of::Prober, down + 20.0, "Down_Interval + 20 ms"), bar(Of::Gone, 20.0, "address gone")]
        }
        Case::Servers => {
            let detection = milliseconds(FALL * 2 * CHECK);
            let text = format!("detection ({detection} ms) + hold ({HOLD} ms) + Skew_Time + 30 ms");
            vec![bar(Of::Claim, detection + milliseconds(HOLD) + skew + 30.0, &text)]
        }
        // Of the second after the heal: a client that is sent to the wrong node is not answered in it.
        Case::Heal => vec![bar(Of::Prober, 500.0, "no black hole")],
    }
}

/// The bar of a cell that it misses, if there is one. Others' cells have none.
pub(crate) fn missed(cell: &Cell) -> Option<Bar> {
    if cell.pair != System::Lbctl {
        return None;
    }
    bars(cell.case, cell.interval).into_iter().find(|bar| match bar.of {
        Of::Claims => cell.claims() > 0,
        Of::Prober | Of::Http | Of::Claim | Of::Gone => {
            let figure = cell.figure(bar.of);
            figure.is_none_or(|figure| figure.median > bar.limit || figure.worst > bar.limit * 3)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_bar_at_each_interval() {
        for case in Case::ALL {
            for interval in [10, 100, 1000] {
                assert!(!bars(case, interval).is_empty(), "{case}");
            }
        }
    }

    #[test]
    fn bars_are_those_of_the_protocol() {
        let limit = |case, interval| bars(case, interval)[0].limit.as_millis();
        assert_eq!([10, 100, 1000].map(|interval| limit(Case::Kill, interval)), [20, 20, 30]);
        assert_eq!([10, 100, 1000].map(|interval| limit(Case::Cable, interval)), [50, 321, 3031]);
        assert_eq!([10, 100, 1000].map(|interval| limit(Case::FreezeSpeaker, interval)), [55, 280, 2530]);
    }
}
