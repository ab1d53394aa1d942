//! A lab as those see it who use it: the verbs of the command line and the end-to-end tests.

use std::{
    net::IpAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;

use super::{
    fault::How,
    hint::hint,
    options::socket_path,
    protocol::{Reader, Request, Response, send},
    record::Event,
    status::LabStatus,
    topology::{NODES, VIP},
};

mod clients;
mod commands;
mod patience;
mod up;

pub use clients::Load;
pub use commands::{Output, Spawned};
use patience::{PATIENCE, impatient};
use up::Keeper;

/// A lab that is up. One that this process started goes down when the value is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    socket: PathBuf,
    program: PathBuf,
    keeper: Option<Keeper>,
}

impl Lab {
    /// A lab that someone else started.
    ///
    /// # Errors
    /// None is up under this name.
    pub fn attach(name: &str) -> anyhow::Result<Self> {
        let socket = socket_path(name)?;
        if UnixStream::connect(&socket).is_err() {
            bail!("no lab is up here (no {}); start one: {}", socket.display(), hint(name, "up"));
        }
        Ok(Self { name: name.to_owned(), socket, program: std::env::current_exe()?, keeper: None })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Harms a node. The moment is that just before the harm.
    ///
    /// # Errors
    /// It has failed already, or this can't be done to it.
    pub fn fail(&self, node: &str, how: How) -> anyhow::Result<Moment> {
        self.fail_saying(node, how, |_| {})
    }

    /// As `fail`, and `progress` hears what takes its time.
    ///
    /// # Errors
    /// As `fail`.
    pub fn fail_saying(&self, node: &str, how: How, progress: impl FnMut(&str)) -> anyhow::Result<Moment> {
        self.ask_done(&Request::Fail { node: node.to_owned(), how }, progress)
    }

    /// Undoes the harm, starts what is dead and waits until the node is back. The moment is that just before.
    ///
    /// # Errors
    /// The node does not come back.
    pub fn heal(&self, node: &str) -> anyhow::Result<Moment> {
        self.heal_saying(node, |_| {})
    }

    /// As `heal`, and `progress` hears what takes its time.
    ///
    /// # Errors
    /// As `heal`.
    pub fn heal_saying(&self, node: &str, progress: impl FnMut(&str)) -> anyhow::Result<Moment> {
        self.ask_done(&Request::Heal { node: node.to_owned() }, progress)
    }

    /// Lets the switch of the front network pass multicast, or drop it: no advertisement passes then, unicast and broadcast
    /// do. The moment is that just before.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_multicast(&self, passes: bool) -> anyhow::Result<Moment> {
        self.ask_done(&Request::Multicast { passes }, |_| {})
    }

    /// Starts `lbctl run` on a node that was made without it, and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn start(&self, node: &str) -> anyhow::Result<Moment> {
        self.ask_done(&Request::Start { node: node.to_owned() }, |_| {})
    }

    /// Waits until the node is ready: a load balancer by its own word (Active or Backup, and ready), a server by
    /// answering on its port.
    ///
    /// # Errors
    /// It is not after 30 s, or its process has ended.
    pub fn wait_until_ready(&self, node: &str) -> anyhow::Result<()> {
        self.ask_done(&Request::Ready { node: node.to_owned() }, |_| {}).map(drop)
    }

    /// Waits until every node on which the lab runs something is ready.
    ///
    /// # Errors
    /// As `wait_until_ready`.
    pub fn wait_until_all_ready(&self) -> anyhow::Result<()> {
        NODES.iter().try_for_each(|node| self.wait_until_ready(node))
    }

    /// How the lab is.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn status(&self) -> anyhow::Result<LabStatus> {
        match self.ask(&Request::Status, |_| {})? {
            Response::Status(status) => Ok(*status),
            other => unexpected(&other),
        }
    }

    /// Nodes that have the virtual address now: one, if all is well.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn holders(&self) -> anyhow::Result<Vec<String>> {
        match self.ask(&Request::Holders, |_| {})? {
            Response::Holders { names } => Ok(names),
            other => unexpected(&other),
        }
    }

    /// Waits until exactly one node has the virtual address; its name.
    ///
    /// # Errors
    /// None within `limit`, or several.
    pub fn wait_for_holder(&self, limit: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let mut holders = self.holders()?;
            match holders.pop() {
                Some(holder) if holders.is_empty() => return Ok(holder),
                _ if Instant::now() >= deadline => {
                    bail!("after {limit:?} the address is held by {holders:?}, not by one node")
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Waits until `node` and no other has the virtual address.
    ///
    /// # Errors
    /// Not within `limit`.
    pub fn wait_until_held_by(&self, node: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let holders = self.holders()?;
            if holders == [node] {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("after {limit:?} the address is held by {holders:?}, not by {node} alone");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The whole record: every change of an address or a carrier in every node, in the order of the kernel.
    ///
    /// # Errors
    /// The lab is gone, or the kernel had to drop events.
    pub fn record(&self) -> anyhow::Result<Vec<Event>> {
        self.record_since(0)
    }

    /// The record from event number `from` on.
    ///
    /// # Errors
    /// As `record`.
    pub fn record_since(&self, from: usize) -> anyhow::Result<Vec<Event>> {
        match self.ask(&Request::Record { from }, |_| {})? {
            Response::Record { events, overruns: 0 } => Ok(events),
            Response::Record { overruns, .. } => {
                bail!("the record has {overruns} holes: the kernel dropped events")
            }
            other => unexpected(&other),
        }
    }

    /// The part of the record that is about the virtual address.
    ///
    /// # Errors
    /// As `record`.
    pub fn record_of_vip(&self) -> anyhow::Result<Vec<Event>> {
        let mut events = self.record()?;
        events.retain(|event| event.is_about(IpAddr::V4(VIP)));
        Ok(events)
    }

    /// What a process of the lab wrote: `lbctl` on a load balancer, `web` on a server, or the name given to `spawn`.
    ///
    /// # Errors
    /// No such log.
    pub fn log(&self, node: &str, name: &str) -> anyhow::Result<String> {
        let path = format!("/run/log/{name}.log");
        let output = self.exec(node, ["cat", &path])?;
        if !output.success() {
            bail!("{}", output.stderr.trim());
        }
        Ok(output.stdout)
    }

    fn ask_done(&self, request: &Request, progress: impl FnMut(&str)) -> anyhow::Result<Moment> {
        match self.ask(request, progress)? {
            Response::Done { at } => Ok(at),
            other => unexpected(&other),
        }
    }

    fn ask(&self, request: &Request, mut progress: impl FnMut(&str)) -> anyhow::Result<Response> {
        let stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        send(&stream, request, &[])?;
        let mut reader = Reader::new(stream);
        loop {
            let response = reader.next().map_err(|error| impatient(error, &format!("{request:?}")))?;
            match response.context("the lab went down")? {
                Response::Progress { text } => progress(&text),
                Response::Error { text } => bail!(text),
                response => return Ok(response),
            }
        }
    }

    fn connect(&self) -> anyhow::Result<UnixStream> {
        UnixStream::connect(&self.socket).with_context(|| format!("the lab `{}` is gone", self.name))
    }
}

fn unexpected<T>(response: &Response) -> anyhow::Result<T> {
    bail!("the lab answered {response:?}: is it of another version?")
}
