//! A mail with what has happened: over SMTP (RFC 5321), with STARTTLS (RFC 3207) and a login (RFC 4954) where the file says so.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use lettre::{
    Message,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, AsyncTokioStream},
        commands::{Data, Mail as MailFrom, Rcpt, Starttls},
        extension::ClientId,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::{Failure, remote, remote::Stream};
use crate::{
    config::{
        model::{Mail, Security},
        text::write_duration,
    },
    control::Event,
    output::{
        events::{moment, sentence},
        text::printable,
    },
};

/// Read again by the library, which begins anew with what TLS was made of: a server greets once.
const GREETED: &[u8] = b"220 greeted\r\n";

/// Bytes that are read of a server in one conversation.
const READ: usize = 64 << 10;

const NO_STARTTLS: &str = "it does not offer STARTTLS, and nothing is sent for everybody to read: security = \"tls\" where it speaks \
                           TLS from the first byte (port 465), \"none\" if that is how it is meant";

/// For the last word, once it is known what has become of a mail.
const GOODBYE: Duration = Duration::from_secs(1);

/// One mail with all of `events`, of which there is at least one. `limit`: until it is taken.
pub(super) async fn send(mail: &Mail, events: &[&Event], limit: Duration) -> Result<(), Failure> {
    let message = compose(mail, events).map_err(Failure::heard)?;
    let is_sent = AtomicBool::new(false);
    let deliver = async {
        let mut connection = open(mail, limit).await?;
        let outcome = hand_over(&mut connection, mail, &message, &is_sent).await;
        Ok((connection, outcome))
    };
    let (mut connection, outcome) = timeout(limit, deliver).await.unwrap_or_else(|_| {
        let why = format!("it was not done within {}", write_duration(limit));
        Err(Failure { why, is_unheard: !is_sent.load(Ordering::Relaxed) })
    })?;
    let _ = timeout(GOODBYE, connection.quit()).await;
    outcome
}

fn compose(mail: &Mail, events: &[&Event]) -> Result<Message, String> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Err("nothing".to_owned()) };
    let parsed = |address: &str| address.parse::<Mailbox>().map_err(|error| format!("{address}: {error}"));
    let sender = parsed(&mail.sender)?;
    let subject = match events.len() {
        1 => sentence(first),
        count => format!("{} ({} more)", sentence(last), count - 1),
    };
    let id = format!(
        "<lbctl.{}.{}@{}>",
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros(),
        last.number,
        sender.email.domain()
    );
    // RFC 3834: nobody who is away answers it.
    let automatic =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut message = Message::builder()
        .from(sender)
        .subject(subject)
        .date_now()
        .message_id(Some(id))
        .raw_header(automatic)
        .header(ContentType::TEXT_PLAIN);
    for recipient in &mail.recipients {
        message = message.to(parsed(recipient)?);
    }
    let lines = events.iter().map(|event| format!("{} UTC  {}\r\n", moment(event), sentence(event)));
    message.body(lines.collect::<String>()).map_err(|error| error.to_string())
}

/// A connection over which mail may go.
async fn open(mail: &Mail, limit: Duration) -> Result<AsyncSmtpConnection, Failure> {
    let stream = remote::connect(&mail.remote, limit).await.map_err(Failure::unheard)?;
    let hello = stream.local_addr().map_or_else(|_| ClientId::default(), |own| named(own.ip()));
    let begin = async |greeting, stream: Box<dyn Stream>| {
        let wire = Box::new(Wire { greeting, stream, left: READ });
        let begun = AsyncSmtpConnection::connect_with_transport(wire, &hello).await;
        begun.map_err(|error| refused(&error))
    };
    let secure = async |stream| remote::secure(stream, &mail.remote).await.map_err(Failure::unheard);
    match mail.security {
        Security::None => begin(&[], Box::new(stream)).await,
        Security::Tls => begin(&[], secure(stream).await?).await,
        Security::Starttls => {
            let (stream, twin) = twins(stream).map_err(|error| Failure::unheard(error.to_string()))?;
            let mut plain = begin(&[], Box::new(twin)).await?;
            if !plain.can_starttls() {
                return Err(Failure::unheard(NO_STARTTLS.to_owned()));
            }
            plain.command(Starttls).await.map_err(|error| refused(&error))?;
            // With it goes whatever somebody has put behind the answer (RFC 3207 §6).
            drop(plain);
            begin(GREETED, secure(stream).await?).await
        }
    }
}

fn named(own: IpAddr) -> ClientId {
    match own.to_canonical() {
        IpAddr::V4(own) => ClientId::Ipv4(own),
        IpAddr::V6(own) => ClientId::Ipv6(own),
    }
}

/// Two handles of one socket: the library does not give back what it is given.
fn twins(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(twin)?))
}

/// Who is refused does not keep the others from having it.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    mail: &Mail,
    message: &Message,
    is_sent: &AtomicBool,
) -> Result<(), Failure> {
    if let Some(login) = &mail.login {
        let credentials = Credentials::new(login.user.clone(), login.password.reveal().to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(|error| {
            let Failure { why, is_unheard } = refused(&error);
            Failure { why: format!("it does not let {} in: {why}", login.user), is_unheard }
        })?;
    }
    let envelope = message.envelope();
    let from = MailFrom::new(envelope.from().cloned(), Vec::new());
    connection.command(from).await.map_err(|error| refused(&error))?;
    let mut wrong: Option<Failure> = None;
    let mut taken = 0;
    for recipient in envelope.to() {
        match connection.command(Rcpt::new(recipient.clone(), Vec::new())).await {
            Ok(_) => taken += 1,
            Err(error) => {
                let Failure { why, is_unheard } = refused(&error);
                wrong = Some(Failure { why: format!("{recipient} is refused: {why}"), is_unheard });
            }
        }
    }
    if taken > 0 {
        connection.command(Data).await.map_err(|error| refused(&error))?;
        is_sent.store(true, Ordering::Relaxed);
        let taken = connection.message(&message.formatted()).await;
        taken.map_err(|error| {
            let Failure { why, is_unheard } = refused(&error);
            // Without a reply nobody knows.
            Failure { why, is_unheard: is_unheard && error.status().is_some() }
        })?;
    }
    match wrong {
        None => Ok(()),
        Some(Failure { why, .. }) if taken > 0 => {
            Err(Failure::heard(format!("{why}; the others have the mail")))
        }
        Some(failure) => Err(failure),
    }
}

/// What a server says with 5xx it says again; with 4xx, or where the connection breaks, it may be another time.
fn refused(error: &Error) -> Failure {
    let why = printable(&error.to_string());
    let is_unheard = !error.is_permanent() && !error.is_client();
    Failure { why, is_unheard }
}

/// What the library speaks over. It would read a line without an end to its end.
#[derive(Debug)]
struct Wire {
    /// What was read before.
    greeting: &'static [u8],
    stream: Box<dyn Stream>,
    /// Bytes that may still be read.
    left: usize,
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        // Nobody asks.
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let read = buffer.filled().len() - before;
            let left = self.left.checked_sub(read);
            self.left = left.ok_or_else(|| io::Error::other("it says more than a mail server has to say"))?;
        } else {
            let (now, later) = self.greeting.split_at(self.greeting.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.greeting = later;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
