//! Everything that lives in a lab, as the init holds it: nodes, processes, faults, the record.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;

use super::{
    clock, daemon,
    fault::How,
    network,
    node::Node,
    options::InitOptions,
    processes::Processes,
    record::Record,
    status::{LabStatus, NodeStatus},
    topology::{MEMBERS, Role, VIP},
};

/// Where a web server listens.
const WEB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
/// One that takes longer to accept is not well; the node's thread, which everything on the node needs, must not wait.
const WEB_LIMIT: Duration = Duration::from_millis(500);

/// The lab's inside.
pub(crate) struct Stage {
    pub(crate) options: InitOptions,
    /// The `lbctl` binary, by a path that stays the same program.
    pub(crate) program: PathBuf,
    pub(crate) processes: Arc<Processes>,
    pub(crate) record: Arc<Record>,
    pub(crate) seats: Vec<Seat>,
    since: Moment,
}

/// A node and what is happening to it.
pub(crate) struct Seat {
    pub(crate) node: Node,
    state: Mutex<SeatState>,
    /// Held while something is done to the node.
    pub(crate) turn: Mutex<()>,
}

#[derive(Default)]
pub(crate) struct SeatState {
    /// Its daemon or web server, if one was ever started.
    pub(crate) process: Option<i32>,
    /// Shall it have one?
    pub(crate) wanted: bool,
    pub(crate) fault: Option<How>,
    /// The process that holds a worker thread still.
    pub(crate) holder: Option<i32>,
}

impl Seat {
    pub(crate) fn name(&self) -> &'static str {
        self.node.member.name
    }

    /// Where its process writes.
    pub(crate) fn log_path(&self) -> &'static str {
        match self.node.member.role {
            Role::Balancer | Role::Client => "/run/log/lbctl.log",
            Role::Server => "/run/log/web.log",
        }
    }

    /// `None` if it is ready, else what is missing.
    pub(crate) fn is_ready(&self) -> anyhow::Result<Option<String>> {
        match self.node.member.role {
            Role::Client => Ok(None),
            Role::Balancer => {
                let status = daemon::ask(&self.node)?;
                Ok((!daemon::is_back(&status)).then(|| daemon::in_words(&status)))
            }
            Role::Server => {
                let listens = self.node.run(|| TcpStream::connect_timeout(&WEB, WEB_LIMIT).is_ok())?;
                Ok((!listens).then(|| "does not listen yet".to_owned()))
            }
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SeatState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    /// Makes the namespaces, lays the cables and starts what shall run.
    pub(crate) fn set_up(options: InitOptions) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("which program is this?")?;
        let processes = Processes::start()?;
        let record = Record::start()?;
        let seats = MEMBERS
            .iter()
            .map(|member| {
                Ok(Seat { node: Node::new(member)?, state: Mutex::default(), turn: Mutex::default() })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        network::build(&seats.iter().map(|seat| &seat.node).collect::<Vec<_>>())?;
        record.wait_for_everyone()?;
        let stage = Self { options, program, processes, record, seats, since: clock::now() };
        for seat in &stage.seats {
            let name = seat.name();
            if let Some(text) = stage.options.configurations.get(name) {
                seat.node.write_file("/run/lab.toml", text.clone())?;
            }
            seat.state().wanted = match seat.node.member.role {
                Role::Client => false,
                Role::Balancer => stage.options.daemons.iter().any(|daemon| daemon == name),
                Role::Server => stage.options.web,
            };
            stage.start_wanted(seat)?;
        }
        Ok(stage)
    }

    /// The seat of the node called `name`.
    pub(crate) fn seat(&self, name: &str) -> anyhow::Result<&Seat> {
        self.seats.iter().find(|seat| seat.name() == name).with_context(|| {
            let names: Vec<_> = self.seats.iter().map(Seat::name).collect();
            format!("no node is called `{name}`; there are {}", names.join(", "))
        })
    }

    /// Starts the daemon or the web server of the node if it shall have one and has none.
    pub(crate) fn start_wanted(&self, seat: &Seat) -> anyhow::Result<()> {
        let mut state = seat.state();
        if !state.wanted || state.process.is_some_and(|pid| self.processes.is_alive(pid)) {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        match seat.node.member.role {
            Role::Client => return Ok(()),
            Role::Balancer => command.args(["run", "/run/lab.toml"]),
            Role::Server => command.args(["lab", "web", "--name", seat.name()]),
        };
        let command = seat.node.log_output(command, seat.log_path())?;
        let pid = self
            .processes
            .spawn(&seat.node, command)
            .with_context(|| format!("cannot start {} on {}", self.program.display(), seat.name()))?;
        if let Some(previous) = state.process.replace(pid) {
            self.processes.forget(previous);
        }
        Ok(())
    }

    /// Another process may have taken the daemon's place (`lbctl upgrade`): that is the node's process then.
    pub(crate) fn follow(&self, seat: &Seat) {
        if seat.node.member.role != Role::Balancer {
            return;
        }
        let Ok(status) = daemon::ask(&seat.node) else { return };
        let Ok(pid) = i32::try_from(status.pid) else { return };
        let mut state = seat.state();
        if let Some(before) = state.process.filter(|before| *before != pid) {
            self.processes.adopt(pid);
            self.processes.forget(before);
            state.process = Some(pid);
        }
    }

    /// Starts `command` on the node; its output goes to /run/log/NAME.log there.
    pub(crate) fn spawn(&self, node: &str, name: &str, command: &[String]) -> anyhow::Result<i32> {
        let seat = self.seat(node)?;
        if name.is_empty() || name.contains(['/', '\0']) {
            bail!("`{name}` is no name for a log");
        }
        let [program, arguments @ ..] = command else { bail!("no command") };
        let mut command = Command::new(program);
        command.args(arguments);
        let command = seat.node.log_output(command, &format!("/run/log/{name}.log"))?;
        self.processes.spawn(&seat.node, command).with_context(|| format!("cannot run {program} on {node}"))
    }

    /// See [`network::set_multicast`].
    pub(crate) fn set_multicast(&self, passes: bool) -> anyhow::Result<()> {
        network::set_multicast(&self.seats.iter().map(|seat| &seat.node).collect::<Vec<_>>(), passes)
    }

    /// How the lab is.
    pub(crate) fn status(&self) -> LabStatus {
        LabStatus {
            name: self.options.name.clone(),
            pid: self.options.outer_pid,
            since: self.since,
            vip: VIP,
            holders: self.record.holders(IpAddr::V4(VIP)),
            holders_since: self.record.last_change(IpAddr::V4(VIP)),
            nodes: self.seats.iter().map(|seat| self.node_status(seat)).collect(),
        }
    }

    fn node_status(&self, seat: &Seat) -> NodeStatus {
        if seat.state().fault != Some(How::Freeze) {
            self.follow(seat);
        }
        let (process, fault) = {
            let state = seat.state();
            (state.process, state.fault)
        };
        let member = seat.node.member;
        let alive = process.is_some_and(|pid| self.processes.is_alive(pid));
        let answers = member.role == Role::Balancer && alive && fault != Some(How::Freeze);
        let says = answers.then(|| match daemon::ask(&seat.node) {
            Ok(status) => daemon::in_words(&status),
            Err(error) => error.to_string(),
        });
        NodeStatus {
            name: member.name.to_owned(),
            role: member.role,
            addresses: member.ports.iter().map(|port| port.address).collect(),
            network_namespace: seat.node.network_inode().unwrap_or(0),
            pid: process,
            alive,
            fault,
            says,
        }
    }

    /// Waits until the process is gone.
    pub(crate) fn wait_for_end(&self, pid: i32, limit: Duration) -> bool {
        self.processes.wait(pid, Some(limit)).is_some() || !self.processes.is_alive(pid)
    }
}
