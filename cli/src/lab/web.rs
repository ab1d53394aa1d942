//! The lab's web server: small, and it says who it is.
//!
//! - `/` and everything else: 200 with the server's name, or with `--body`
//! - `/check.txt`: 200 `ok`, for health checks
//! - `/bytes/N`: N bytes, at most 100 MB
//! - `/wait/MS`: the name after MS milliseconds, at most a minute

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Arguments of the hidden verb `lbctl lab web`.
#[derive(Debug, clap::Args)]
pub struct WebArguments {
    /// Its name, sent as the body and in the header `x-server`.
    #[arg(long)]
    name: String,
    /// Address to listen on.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)))]
    listen: SocketAddr,
    /// What to answer instead of the name.
    #[arg(long)]
    body: Option<String>,
}

const MAX_BYTES: usize = 100_000_000;
const MAX_WAIT: Duration = Duration::from_secs(60);

struct Site {
    name: HeaderValue,
    body: Bytes,
}

/// Serves until the process is killed.
///
/// # Errors
/// The address can't be bound.
pub fn run(arguments: WebArguments) -> anyhow::Result<()> {
    let body = arguments.body.unwrap_or_else(|| arguments.name.clone());
    let name = HeaderValue::from_str(&arguments.name).context("the name must fit into a header")?;
    let site = Arc::new(Site { name, body: Bytes::from(body + "\n") });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(arguments.listen)
            .await
            .with_context(|| format!("cannot listen on {}", arguments.listen))?;
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors: wait until some connections are closed.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                let service = service_fn(|request| answer(&site, request));
                // A client that breaks off is no matter of the lab.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

async fn answer(site: &Site, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let body = if path == "/check.txt" {
        Bytes::from_static(b"ok\n")
    } else if let Some(length) = path.strip_prefix("/bytes/").and_then(|text| text.parse::<usize>().ok()) {
        Bytes::from(vec![b'x'; length.min(MAX_BYTES)])
    } else if let Some(wait) = path.strip_prefix("/wait/").and_then(|text| text.parse().ok()) {
        tokio::time::sleep(Duration::from_millis(wait).min(MAX_WAIT)).await;
        site.body.clone()
    } else {
        site.body.clone()
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert("x-server", site.name.clone());
    Ok(response)
}
