//! The clients of a lab: each keeps a connection, sends requests at a steady pace and notes what became of each.
//!
//! They run as a process on the client node and write one JSON line per batch of samples; the other end of the pipe
//! collects them (`Load` of the lab's API). The process ends when its stdin does, or its time is over.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use lb_vrrp::Moment;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::{JoinSet, LocalSet},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::{clock, protocol::write_line};

/// What the clients do.
#[derive(Clone, Debug, clap::Args)]
#[must_use]
pub struct LoadOptions {
    /// Where the requests go.
    #[arg(long, default_value = "198.51.100.10:80")]
    pub target: SocketAddr,
    /// What they ask for.
    #[arg(long, default_value = "/")]
    pub path: String,
    /// Clients, 1 to 1000. Each has one connection while answers come, and more while they don't.
    #[arg(long, default_value_t = 20)]
    pub connections: u32,
    /// Requests a second over all connections, 1 to 100000.
    #[arg(long, default_value_t = 400)]
    pub rate: u32,
    /// Seconds after which they end at the latest, 1 to 3600.
    #[arg(long, default_value_t = 120)]
    pub seconds: u32,
    /// Milliseconds after which a request has failed.
    #[arg(long, default_value_t = 2000)]
    pub patience: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            target: SocketAddr::from((super::topology::VIP, 80)),
            path: "/".to_owned(),
            connections: 20,
            rate: 400,
            seconds: 120,
            patience: 2000,
        }
    }
}

/// One request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sample {
    /// When the client wanted it.
    pub at: Moment,
    /// Until the whole response was there, or until it had failed.
    pub wait: Duration,
    /// Who answered, or why nobody did.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// 200 from this server.
    Ok(String),
    /// Anything else.
    Failed(String),
}

impl Sample {
    /// When its response was complete, or it had failed.
    #[must_use]
    pub fn end(&self) -> Moment {
        self.at + self.wait
    }

    /// Was it answered?
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }
}

/// How long one attempt to connect may take; a SYN that is lost would be repeated by the kernel only after a second.
const CONNECT_ATTEMPT: Duration = Duration::from_millis(100);
/// Requests of one client that may be without an answer at once; beyond that it waits.
const MAX_IN_FLIGHT: usize = 100;
/// How often samples are written.
const FLUSH: Duration = Duration::from_millis(50);

/// Runs the clients.
///
/// # Errors
/// Options out of range, or nobody reads the samples any more.
pub fn run(options: &LoadOptions) -> anyhow::Result<()> {
    if !(1..=1000).contains(&options.connections)
        || !(1..=100_000).contains(&options.rate)
        || !(1..=3600).contains(&options.seconds)
    {
        bail!("1 to 1000 connections, 1 to 100000 requests a second, 1 to 3600 seconds");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = Rc::new(options.clone());
    LocalSet::new().block_on(&runtime, async {
        let (samples, mut collected) = mpsc::unbounded_channel();
        let start = Instant::now();
        // Each client's share of the rate, spread over one round.
        let period = Duration::from_secs(1) * options.connections / options.rate;
        let mut clients = JoinSet::new();
        for number in 0..options.connections {
            let first = start + period * number / options.connections;
            clients.spawn_local(client(Rc::clone(&options), first, period, samples.clone()));
        }
        let mut flush = tokio::time::interval(FLUSH);
        let end = tokio::time::sleep(Duration::from_secs(options.seconds.into()));
        tokio::pin!(end);
        // A thread of its own reads stdin: tokio's would keep the process from ending.
        let (hang_up, mut hung_up) = mpsc::channel::<()>(1);
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            drop(hang_up);
        });
        loop {
            let over = tokio::select! {
                _ = flush.tick() => false,
                () = &mut end => true,
                _ = hung_up.recv() => true,
            };
            if over {
                clients.shutdown().await;
            }
            let mut batch = Vec::new();
            while let Ok(sample) = collected.try_recv() {
                batch.push(sample);
            }
            if !batch.is_empty() {
                write_line(&mut io::stdout(), &batch)?;
            }
            if over {
                return Ok(());
            }
        }
    })
}

/// Sends at its own pace whether or not answers come: while one is missing, the next request takes a new connection, as
/// the next visitor of a web site would.
async fn client(
    options: Rc<LoadOptions>,
    first: Instant,
    period: Duration,
    samples: mpsc::UnboundedSender<Sample>,
) {
    let mut beat = interval_at(first, period);
    // If this process was late, what it missed is not sent in one burst.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let connection = Rc::new(RefCell::new(None));
    let mut in_flight = JoinSet::new();
    loop {
        beat.tick().await;
        while in_flight.try_join_next().is_some() {}
        if in_flight.len() < MAX_IN_FLIGHT {
            in_flight.spawn_local(ask(Rc::clone(&options), Rc::clone(&connection), samples.clone()));
        }
    }
}

async fn ask(
    options: Rc<LoadOptions>,
    kept: Rc<RefCell<Option<Connection>>>,
    samples: mpsc::UnboundedSender<Sample>,
) {
    let at = clock::now();
    let idle = kept.borrow_mut().take();
    let patience = Duration::from_millis(options.patience);
    let outcome = match timeout(patience, request(&options, idle)).await {
        Ok(Ok((server, connection))) => {
            kept.borrow_mut().get_or_insert(connection);
            Outcome::Ok(server)
        }
        Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
        Err(_) => Outcome::Failed("no answer in time".to_owned()),
    };
    let wait = clock::now().saturating_since(at);
    // Nobody collects any more only when the process is ending.
    let _ = samples.send(Sample { at, wait, outcome });
}

type Connection = SendRequest<Empty<Bytes>>;

/// Sends one request, on the idle connection if it is still good. Who answered, and the connection for the next one.
async fn request(options: &LoadOptions, idle: Option<Connection>) -> anyhow::Result<(String, Connection)> {
    let mut sender = match idle {
        // The other side may have closed it while it was idle; a client that is told so does not use it. The end may be there and
        // not read yet: it is, once this process has had a look at its sockets.
        Some(mut idle) => {
            tokio::task::yield_now().await;
            match idle.ready().await {
                Ok(()) => idle,
                Err(_) => connect(options.target).await?,
            }
        }
        None => connect(options.target).await?,
    };
    let request = Request::get(&options.path)
        .header(HOST, host(options.target.ip()))
        .body(Empty::new())
        .context("bad path")?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let server = response.headers().get("x-server").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.into_body().collect().await?.to_bytes();
    if status != hyper::StatusCode::OK {
        return Err(anyhow!("{status}"));
    }
    // Servers that are not the lab's own say their name in the body.
    let name = || String::from_utf8_lossy(&body[..body.len().min(40)]).trim().to_owned();
    Ok((server.unwrap_or_else(name), sender))
}

/// As a URI has it: an IPv6 address in brackets.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

async fn connect(target: SocketAddr) -> anyhow::Result<Connection> {
    let stream = loop {
        match timeout(CONNECT_ATTEMPT, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => break stream,
            Ok(Err(error)) => return Err(error).context("cannot connect"),
            // The request's own patience ends this loop.
            Err(_) => {}
        }
    };
    stream.set_nodelay(true)?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(sender)
}
