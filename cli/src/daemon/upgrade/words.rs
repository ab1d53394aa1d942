//! What a daemon and the one that takes its place say to each other, one JSON value per packet, some with descriptors.
//!
//! ```text
//! the next one                                   the one that runs
//! Hello ───────────────────────────────────────▶ same protocol? then everything that it has:
//!        ◀── Listener + sockets, ... Known + memory, Before + sockets, Control + sockets
//! Ready + the speaker's ends of its link ──────▶ no hello is said any more, the speaker is told
//!        ◀── Go + the hello's socket: the speaker is yours
//! Taken ───────────────────────────────────────▶ retires: connections end
//! Order (it drains, an address leaves, it ends) ▶ the same for these connections
//!        ◀── Done
//!        ◀── Left, Counted: each second, for status and counters
//! ```

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use lb_proxy::{Grown, tls::SelfSigned};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    control::{EarlierProcess, Ordered, ServerOrder, Speaker, Timestamp},
    daemon::{group::KnownGroup, hello::KnownSession, journal::KnownJournal, losses::Row, notify::Cursors},
};

/// Counts changes of this conversation and of what the two pass on. Two that differ can't take over from each other.
pub(super) const PROTOCOL: u32 = 2;

/// From the next one.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::daemon) enum FromNext {
    /// The first message.
    Hello { version: String, protocol: u32 },
    /// It can't, because of that, and ends.
    Refused {
        /// What `lbctl check` prints, or a sentence without a full stop.
        why: String,
        /// It is the file that is bad.
        is_file: bool,
    },
    /// It has everything and accepts. With the speaker's ends, if there is a speaker: socket, then page.
    Ready {
        /// The hash of what it has read.
        file: String,
    },
    /// It is in charge.
    Taken,
    /// What is done here is about connections there as well.
    Order {
        /// For the answer.
        number: u64,
        order: Order,
    },
}

/// What a process whose connections still end is told.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Order {
    /// Idle connections are closed, exchanges finish, for at most `limit`; counts those that are left.
    Drain { limit: Duration },
    /// Addresses leave this node while it goes on with others: connections on them end, or are reset after `limit`; counts
    /// the latter.
    Leave { addresses: Vec<IpAddr>, limit: Duration },
    /// Addresses leave this node now: connections on them are reset, and counted.
    Reset { addresses: Vec<IpAddr> },
    /// It ends once its exchanges have ended, or after `limit`; counts the connections that are cut then.
    End { limit: Duration },
    /// Files of logs were moved away; counts those that can't be opened anew.
    ReopenLogs,
    /// An operator has ordered something of a server; counts what was in flight there.
    Server { backend: String, server: String, order: ServerOrder, by: String },
}

/// From the one that runs.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::daemon) enum ToNext {
    /// With the sockets of a listener; further ones of the same place may follow.
    Listener { place: String },
    /// A certificate that was made and is in no file. Programs of before had none.
    SelfSigned(SelfSigned),
    /// With the file of [`lb_proxy::Known`] as JSON, and a socket to the process that runs commands, if there is one; programs of
    /// before sent none.
    Known {
        /// What the speaker runs: a [`lb_vrrp::GroupConfig`] each, as its program says it.
        groups: Vec<Value>,
    },
    /// With its ends of the conversations with processes before it, whose connections still end.
    Before,
    /// The last of what is passed on, with the control socket and its lock.
    Control,
    /// The speaker has the next one's ends. With the hello's socket, if there is one; programs of before sent none, and let go of
    /// its port.
    Go {
        /// Its process number, if there is a speaker.
        speaker: Option<u32>,
        /// What is known of the groups.
        groups: Vec<KnownGroup>,
        /// Since when the first of a row of processes runs.
        #[serde(default)]
        up: Option<Timestamp>,
        /// By whom the node is kept out of the election.
        #[serde(default)]
        drained: Option<Ordered>,
        /// What is known of the other nodes.
        #[serde(default)]
        session: Option<KnownSession>,
        /// What the control interface has counted.
        #[serde(default)]
        counters: BTreeMap<String, u64>,
        /// What has happened.
        #[serde(default)]
        journal: KnownJournal,
        /// Who has been told how much of it.
        #[serde(default)]
        notified: Cursors,
        /// Speakers that were lost.
        #[serde(default)]
        losses: Box<Speaker>,
        /// Those of them that came one after the other.
        #[serde(default)]
        row_of_losses: Box<Row>,
    },
    /// Each second: what is left there.
    Left(EarlierProcess),
    /// What it has counted since it passed that on, or since it said this before.
    Counted(Vec<Grown>),
    /// An order was carried out.
    Done { number: u64, count: u64 },
}

/// Does `own` say all that `known` says? It may say more: of what the other program does not know.
pub(super) fn says_all(own: &Value, known: &Value) -> bool {
    match (own, known) {
        (Value::Object(own), Value::Object(known)) => known
            .iter()
            .all(|(name, known)| own.get(name).map_or(known.is_null(), |own| says_all(own, known))),
        (Value::Array(own), Value::Array(known)) => {
            own.len() == known.len() && own.iter().zip(known).all(|(own, known)| says_all(own, known))
        }
        (own, known) => own == known,
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::speaker::protocol::{FromSpeaker, ToSpeaker};

    /// What programs of this protocol have said, a message a line, after who says it. Nothing is taken out of this file without
    /// another [`PROTOCOL`], and a new message or field is a further line.
    const SAID: &str = include_str!("said.jsonl");

    /// What is read of `said` says all of it again.
    fn is_understood<T: DeserializeOwned + Serialize>(said: &Value) -> Result<(), String> {
        let read: T = serde_json::from_value(said.clone()).map_err(|error| error.to_string())?;
        let again = serde_json::to_value(&read).map_err(|error| error.to_string())?;
        if says_all(&again, said) { Ok(()) } else { Err(format!("becomes {again}")) }
    }

    #[test]
    fn all_that_programs_of_this_protocol_have_said_is_understood() {
        for line in SAID.lines() {
            let (who, said) = line.split_once(' ').expect("a message");
            let said: Value = serde_json::from_str(said).expect("JSON");
            let understood = match who {
                "next" => is_understood::<FromNext>(&said),
                "before" => is_understood::<ToNext>(&said),
                "known" => is_understood::<lb_proxy::Known>(&said),
                "group" => is_understood::<lb_vrrp::GroupConfig>(&said),
                "daemon" => is_understood::<ToSpeaker>(&said),
                "speaker" => is_understood::<FromSpeaker>(&said),
                other => panic!("{other}"),
            };
            assert_eq!(understood, Ok(()), "{line}");
        }
    }

    #[test]
    fn a_group_that_another_program_knows_less_of_is_the_same_and_one_with_another_value_is_not() {
        let own =
            serde_json::json!({ "name": "web", "members": [{ "vrid": 51, "later": 1 }], "later": null });
        for (known, is_same) in [
            (r#"{ "name": "web", "members": [{ "vrid": 51 }] }"#, true),
            (r#"{ "name": "web", "members": [{ "vrid": 51, "later": 1 }], "later": null }"#, true),
            (r#"{ "name": "web", "members": [{ "vrid": 52 }] }"#, false),
            (r#"{ "name": "web", "members": [] }"#, false),
            (r#"{ "name": "web", "members": [{ "vrid": 51 }], "gone": 7 }"#, false),
        ] {
            let known = serde_json::from_str(known).expect("JSON");
            assert_eq!(says_all(&own, &known), is_same, "{known}");
        }
    }

    #[test]
    fn what_a_program_of_before_says_is_understood() {
        let said: ToNext = serde_json::from_str(r#"{"Go":{"speaker":7,"groups":[]}}"#).expect("readable");
        assert!(matches!(said, ToNext::Go { speaker: Some(7), drained: None, .. }), "{said:?}");
    }
}
