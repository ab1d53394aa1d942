//! What is known of one server: from its checks, from its traffic, from its agent; and what follows from that.

#[cfg(test)]
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    Checker,
    agent::AgentState,
    orders::{Duty, ServerOrders},
};
use crate::{
    config::{Address, Server},
    status::{CheckReport, Level, NameProblem, ServerHistory, ServerState},
};

/// What is known of a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ServerHealth {
    checked: Checked,
    /// By checks alone.
    up_by_checks: bool,
    /// Its last check passed, with the wish to be left out of the balance.
    stopping: bool,
    pub(crate) agent: AgentState,
    /// Its last line.
    pub(crate) agent_said: Option<String>,
    /// By an operator.
    #[serde(default)]
    pub(crate) orders: ServerOrders,
    pub(crate) since: SystemTime,
    pub(crate) last_check: Option<CheckReport>,
    /// As of its last check, if it is checked.
    pub(crate) level: Option<Level>,
    pub(crate) history: ServerHistory,
    /// When it came up, if it was down before: its slow start begins there.
    #[serde(skip)]
    pub(crate) came_back: Option<Instant>,
    /// `None` while its name has never resolved.
    #[serde(skip)]
    pub(crate) address: Option<Address>,
    /// Since its name resolves no more.
    pub(crate) name_problem: Option<NameProblem>,
    /// The configuration in force does not have it: what is known stays as it is, and generations before use it only
    /// where nothing else is left.
    #[serde(skip)]
    pub(crate) is_retired: bool,
}

/// By checks and traffic.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Checked {
    Not,
    NotYet,
    Up,
    Down,
}

impl ServerHealth {
    /// At the start.
    pub(crate) fn new(is_checked: bool, now: SystemTime, address: Option<Address>) -> Self {
        Self {
            checked: if is_checked { Checked::NotYet } else { Checked::Not },
            up_by_checks: !is_checked,
            stopping: false,
            agent: AgentState::default(),
            agent_said: None,
            orders: ServerOrders::default(),
            since: now,
            last_check: None,
            level: None,
            history: ServerHistory::new(now),
            came_back: None,
            address,
            name_problem: None,
            is_retired: false,
        }
    }

    /// From now on it is checked, or nobody does so any more. One that nobody has checked counts as up until its first
    /// check: a reload takes no server away.
    pub(crate) fn set_checked(&mut self, is_checked: bool) {
        let checked = match (is_checked, self.checked) {
            (true, Checked::Not) => Checked::Up,
            (true, known) => known,
            (false, _) => Checked::Not,
        };
        if !is_checked || self.checked == Checked::Not {
            (self.up_by_checks, self.stopping) = (true, false);
            (self.last_check, self.level) = (None, None);
        }
        self.checked = checked;
    }

    /// Takes over what the checker says; nothing if it is not to be checked any more.
    pub(crate) fn update(&mut self, checker: &Checker) {
        if self.checked == Checked::Not {
            return;
        }
        self.checked = if checker.is_up() { Checked::Up } else { Checked::Down };
        self.up_by_checks = checker.is_up_by_checks();
        self.level = Some(checker.level());
    }

    pub(crate) fn set_stopping(&mut self, stopping: bool) {
        self.stopping = stopping;
    }

    /// Its first check is done, or it has none.
    pub(crate) fn is_known(&self) -> bool {
        self.checked != Checked::NotYet
    }

    /// Up, as far as checks know.
    pub(crate) fn is_up_by_checks(&self) -> bool {
        self.up_by_checks
    }

    /// For the node's readiness: by active checks alone, whatever traffic and agents say.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_known() && self.up_by_checks && self.address.is_some()
    }

    /// What operator and agent want, whichever is graver.
    fn duty(&self) -> Duty {
        self.orders.duty().max(self.agent.duty)
    }

    /// The one word for an operator.
    pub(crate) fn state(&self) -> ServerState {
        match (self.duty(), self.checked) {
            (Duty::Maintenance, _) => ServerState::Maintenance,
            (_, Checked::NotYet) => ServerState::Unchecked,
            (_, Checked::Down) => ServerState::Down,
            // Nothing checks it, and nothing can be sent there.
            (_, Checked::Not) if self.address.is_none() => ServerState::Down,
            _ if self.agent.down.is_some() => ServerState::AgentDown,
            (Duty::Drain, _) => ServerState::Drain,
            (Duty::Ready, _) if self.stopping => ServerState::NoBalance,
            (Duty::Ready, Checked::Up) => ServerState::Up,
            (Duty::Ready, Checked::Not) => ServerState::NoCheck,
        }
    }

    /// Its weight in the balance while it is up; 0 leaves it to persisted clients.
    pub(crate) fn weight(&self, config: &Server) -> u16 {
        if self.duty() == Duty::Drain || self.state() == ServerState::NoBalance {
            return 0;
        }
        let ordered = self.orders.weight.as_ref().map(|ordered| ordered.what);
        ordered.or(self.agent.weight).map_or(config.weight, |weight| weight.of(config.weight))
    }

    /// Its limit: what its agent says goes before the file.
    pub(crate) fn maxconn(&self, config: &Server) -> Option<u32> {
        match self.agent.maxconn {
            Some(0) => None,
            Some(maxconn) => Some(maxconn),
            None => config.maxconn,
        }
    }

    /// `by root`, `agent: drain`
    fn whose_duty(&self, word: &str) -> String {
        match &self.orders.duty {
            Some(ordered) if ordered.what != Duty::Ready && ordered.what >= self.agent.duty => {
                format!("by {}", ordered.by)
            }
            _ => format!("agent: {word}"),
        }
    }

    /// `L7STS 404 on HEAD /check.txt, 5 of 5 failed`; `L4OK, up after 1 more good check` where it is down and answers again; `None`
    /// before there is anything to say.
    pub(crate) fn reason(&self, fall: u32) -> Option<String> {
        match self.state() {
            ServerState::AgentDown => self.agent.down.as_ref().map(|words| format!("agent: {words}")),
            ServerState::Drain => Some(self.whose_duty("drain")),
            ServerState::Maintenance => Some(self.whose_duty("maint")),
            ServerState::Up
            | ServerState::Down
            | ServerState::NoBalance
            | ServerState::Unchecked
            | ServerState::NoCheck => self.last_check.as_ref().map(|check| self.found(check, fall)),
        }
    }

    /// What its last check has found.
    fn found(&self, check: &CheckReport, fall: u32) -> String {
        let is_down = self.checked == Checked::Down;
        if check.passed() {
            return match self.level.filter(|_| is_down) {
                Some(level) => match level.rise.saturating_sub(level.now) {
                    0 | 1 => format!("{check}, up after 1 more good check"),
                    more => format!("{check}, up after {more} more good checks"),
                },
                None => check.to_string(),
            };
        }
        if check.in_a_row == 0 {
            return format!("{check}, not counted");
        }
        let failed = check.in_a_row.min(fall);
        // The first check of all decides alone, and one that fails on the way back says it all.
        if is_down && failed < fall {
            check.to_string()
        } else {
            format!("{check}, {failed} of {fall} failed")
        }
    }
}

#[cfg(test)]
impl ServerHealth {
    /// One of which this is known.
    pub(crate) fn in_state(state: ServerState) -> Self {
        let mut server = Self::new(
            state != ServerState::NoCheck,
            SystemTime::UNIX_EPOCH,
            Some(SocketAddr::from(([192, 0, 2, 1], 80)).into()),
        );
        server.checked = match state {
            ServerState::Unchecked => Checked::NotYet,
            ServerState::NoCheck => Checked::Not,
            ServerState::Down => Checked::Down,
            ServerState::Up | ServerState::NoBalance => Checked::Up,
            ServerState::AgentDown | ServerState::Drain | ServerState::Maintenance => {
                unreachable!("an agent says so")
            }
        };
        server.stopping = state == ServerState::NoBalance;
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::orders::{Ordered, Weight},
        status::CheckCode,
    };

    fn server(checked: Checked) -> ServerHealth {
        ServerHealth {
            checked,
            up_by_checks: true,
            ..ServerHealth::new(
                true,
                SystemTime::UNIX_EPOCH,
                Some(SocketAddr::from(([192, 0, 2, 1], 80)).into()),
            )
        }
    }

    #[test]
    fn what_agents_and_traffic_say_never_counts_for_readiness() {
        for duty in [Duty::Ready, Duty::Drain, Duty::Maintenance] {
            for checked in [Checked::Up, Checked::Down] {
                let mut server = server(checked);
                server.agent = AgentState {
                    duty,
                    down: Some("down".to_owned()),
                    weight: Some(Weight::Percent(0)),
                    maxconn: Some(1),
                };
                server.stopping = true;
                assert!(server.is_ready());
            }
        }
        assert!(!server(Checked::NotYet).is_ready());
        assert!(!ServerHealth { up_by_checks: false, ..server(Checked::Up) }.is_ready());
    }

    #[test]
    fn reason_says_how_far_a_server_is_on_its_way_down_and_back() {
        let report = |code, in_a_row| CheckReport {
            code,
            what: "connection refused".to_owned(),
            status: None,
            info: String::new(),
            duration: std::time::Duration::ZERO,
            in_a_row,
            at: SystemTime::UNIX_EPOCH,
        };
        let good = |in_a_row| CheckReport { what: String::new(), ..report(CheckCode::L4Ok, in_a_row) };
        let bad = |in_a_row| report(CheckCode::L4Connection, in_a_row);
        let table = [
            (Checked::Up, good(9), 4, "L4OK"),
            (Checked::Up, bad(1), 3, "L4CON connection refused, 1 of 3 failed"),
            (Checked::Down, bad(7), 0, "L4CON connection refused, 3 of 3 failed"),
            (Checked::Down, good(1), 1, "L4OK, up after 2 more good checks"),
            (Checked::Down, good(2), 2, "L4OK, up after 1 more good check"),
            (Checked::Down, bad(1), 0, "L4CON connection refused"),
            (Checked::Up, report(CheckCode::Socket, 0), 5, "SOCKERR connection refused, not counted"),
        ];
        for (checked, last, now, expected) in table {
            let mut server = server(checked);
            (server.last_check, server.level) = (Some(last), Some(Level { rise: 3, fall: 3, now }));
            assert_eq!(server.reason(3).as_deref(), Some(expected));
        }
    }

    #[test]
    fn orders_go_before_the_agent_and_never_count_for_readiness() {
        let ordered = |what| Some(Ordered { what, by: "root".to_owned(), at: SystemTime::UNIX_EPOCH });
        let mut server = server(Checked::Up);
        server.agent.weight = Some(Weight::Percent(50));
        let mut config = Server::new("web1", SocketAddr::from(([192, 0, 2, 1], 80)));
        config.weight = 10;
        assert_eq!(server.weight(&config), 5);
        server.orders.weight =
            Some(Ordered { what: Weight::Absolute(3), by: "root".to_owned(), at: SystemTime::UNIX_EPOCH });
        assert_eq!(server.weight(&config), 3);
        server.orders.duty = ordered(Duty::Drain);
        assert_eq!((server.state(), server.weight(&config)), (ServerState::Drain, 0));
        assert_eq!(server.reason(3).as_deref(), Some("by root"));
        // The graver of the two.
        server.agent.duty = Duty::Maintenance;
        assert_eq!(server.state(), ServerState::Maintenance);
        assert_eq!(server.reason(3).as_deref(), Some("agent: maint"));
        server.agent.duty = Duty::Ready;
        server.orders.duty = ordered(Duty::Maintenance);
        assert_eq!((server.state(), server.is_ready()), (ServerState::Maintenance, true));
        // Also where nothing else is left, a server in drain takes nobody new.
        (server.checked, server.orders.duty) = (Checked::NotYet, ordered(Duty::Drain));
        assert_eq!((server.state(), server.weight(&config)), (ServerState::Unchecked, 0));
    }

    #[test]
    fn reload_that_begins_or_ends_checks_takes_no_server_away() {
        let mut server = server(Checked::Not);
        server.set_checked(true);
        assert_eq!((server.state(), server.is_ready()), (ServerState::Up, true));
        for known in [Checked::Up, Checked::Down, Checked::NotYet] {
            server.checked = known;
            server.set_checked(true);
            assert_eq!(server.checked, known);
        }
        (server.checked, server.up_by_checks) = (Checked::Down, false);
        server.set_checked(false);
        assert_eq!((server.state(), server.is_ready()), (ServerState::NoCheck, true));
    }

    #[test]
    fn the_state_is_the_gravest_of_what_is_known() {
        let mut server = server(Checked::Up);
        assert_eq!(server.state(), ServerState::Up);
        server.stopping = true;
        assert_eq!(server.state(), ServerState::NoBalance);
        server.agent.duty = Duty::Drain;
        assert_eq!(server.state(), ServerState::Drain);
        server.agent.down = Some("down".to_owned());
        assert_eq!(server.state(), ServerState::AgentDown);
        server.checked = Checked::Down;
        assert_eq!(server.state(), ServerState::Down);
        server.agent.duty = Duty::Maintenance;
        assert_eq!(server.state(), ServerState::Maintenance);
    }
}
