//! The clients of a lab: keep-alive connections that send requests at a steady rate and note what became of each.
//!
//! They run as a process on the client node and write one JSON line per batch of samples; the other end of the pipe
//! collects them (`Load` of the lab's API). The process ends when its stdin does, or its time is over.

use std::{io, net::SocketAddr, time::Duration};

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
    time::{MissedTickBehavior, interval_at, timeout},
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
    /// Connections, 1 to 1000.
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
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (samples, mut collected) = mpsc::unbounded_channel();
        let start = tokio::time::Instant::now();
        // Each client's share of the rate, spread over one round.
        let period = Duration::from_secs(1) * options.connections / options.rate;
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..options.connections {
            let first = start + period * number / options.connections;
            clients.spawn(client(options.clone(), first, period, samples.clone()));
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

async fn client(
    options: LoadOptions,
    first: tokio::time::Instant,
    period: Duration,
    samples: mpsc::UnboundedSender<Sample>,
) {
    let patience = Duration::from_millis(options.patience);
    let mut beat = interval_at(first, period);
    // After a long wait the next request goes out at once, the missed ones do not.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    loop {
        beat.tick().await;
        let at = clock::now();
        let outcome = match timeout(patience, request(&options, &mut connection)).await {
            Ok(Ok(server)) => Outcome::Ok(server),
            Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
            Err(_) => Outcome::Failed("no answer in time".to_owned()),
        };
        if !matches!(outcome, Outcome::Ok(_)) {
            connection = None;
        }
        let wait = clock::now().saturating_since(at);
        if samples.send(Sample { at, wait, outcome }).is_err() {
            return;
        }
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// Sends one request, on the connection if it is still good.
async fn request(options: &LoadOptions, connection: &mut Option<Connection>) -> anyhow::Result<String> {
    let mut sender = match connection.take() {
        // The other side may have closed it while it was idle; a client that is told so does not use it.
        Some(mut idle) => match idle.ready().await {
            Ok(()) => idle,
            Err(_) => connect(options.target).await?,
        },
        None => connect(options.target).await?,
    };
    let request = Request::get(&options.path)
        .header(HOST, options.target.ip().to_string())
        .body(Empty::new())
        .context("bad path")?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let server = response.headers().get("x-server").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.into_body().collect().await?.to_bytes();
    *connection = Some(sender);
    if status != hyper::StatusCode::OK {
        return Err(anyhow!("{status}"));
    }
    // Servers that are not the lab's own say their name in the body.
    Ok(server.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(40)]).trim().to_owned()))
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
