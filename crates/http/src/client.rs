//! A peer that is reached over HTTP: sends messages, bounds what comes back in size and time, and turns every way in
//! which that can fail into a [`PeerError`] with a sentence. When to send, and what to do about a failure, is decided
//! by the flow.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use landbridge_core::message::{
    Beliefs, Checked, Compare, Compared, Deliveries, LossRecorded, Lost, Pull, Push, Receipts, Verify, from_bytes,
    to_bytes,
};
use landbridge_flow::error::PeerError;
use landbridge_flow::ports::{Compares, Peer};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::auth::Token;
use crate::body::{self, Coding, ErrorBody, Unreadable, one_line};

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the peer.
    Request,
    /// From the peer.
    Answer,
}

/// Sees every body that crosses the wire, decompressed: for tests, and for a demonstration of what is exchanged.
pub trait Tap: Send + Sync {
    /// One body. Errors are among them.
    fn message(&self, direction: Direction, json: &[u8]);
}

/// How a peer is reached.
#[derive(Clone)]
pub struct ClientOptions {
    /// Where the peer's bridge listens: `http://127.0.0.1:7420`.
    pub url: String,
    /// The token shared with it, where there is one.
    pub token: Option<Token>,
    /// The largest body that is sent or taken, before and after compression.
    pub body_bytes_max: usize,
    /// The longest time until a connection stands.
    pub connect_timeout: Duration,
    /// The longest time until an answer is complete; a pull may take as much longer as it asked to wait.
    pub timeout: Duration,
    /// Sees every body.
    pub tap: Option<Arc<dyn Tap>>,
}

impl ClientOptions {
    /// For the peer at `url`, with 64 MiB for a body, 5 s to connect and a minute to answer.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            body_bytes_max: 64 << 20,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            tap: None,
        }
    }
}

/// Why a peer cannot be spoken to, whether it is there or not.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Not a url that a bridge can have.
    #[error("{0:?} is no url of a bridge; one is written http://127.0.0.1:7420, without query and fragment")]
    Url(String),
    /// A url with a user name or a password, which is not repeated here.
    #[error("the url holds a user name or a password; a peer's secret is its token")]
    Secret,
    /// TLS.
    #[error("{0}: this version speaks plain HTTP on loopback only; write http://127.0.0.1:PORT")]
    Https(String),
    /// Another machine.
    #[error(
        "{0}: the host is no loopback address; this version speaks plain HTTP on loopback only: 127.0.0.1, [::1] or \
         localhost"
    )]
    NotLoopback(String),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[source] reqwest::Error),
}

/// Where each call goes.
struct Calls {
    push: Url,
    pull: Url,
    verify: Url,
    compare: Url,
    lost: Url,
}

impl Calls {
    fn at(base: &str) -> Result<Self, ClientError> {
        let call = |name| Url::parse(&format!("{base}/v1/{name}")).map_err(|_| ClientError::Url(base.to_owned()));
        Ok(Self {
            push: call("push")?,
            pull: call("pull")?,
            verify: call("verify")?,
            compare: call("compare")?,
            lost: call("lost")?,
        })
    }
}

/// The bridge of a peer, over HTTP.
pub struct HttpPeer {
    http: reqwest::Client,
    calls: Calls,
    shown: String,
    authorization: Option<HeaderValue>,
    body_bytes_max: usize,
    connect_timeout: Duration,
    timeout: Duration,
    tap: Option<Arc<dyn Tap>>,
    /// Whether the peer said that it reads zstd.
    reads_zstd: AtomicBool,
}

impl fmt::Debug for HttpPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpPeer").field(&self.shown).finish()
    }
}

impl HttpPeer {
    /// A peer as `options` say. Nothing is sent yet.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let base = base(&options.url)?;
        let shown = base.as_str().trim_end_matches('/').to_owned();
        let calls = Calls::at(&shown)?;
        let authorization = options.token.as_ref().map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.secret()));
            value.map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        // A token is of visible ASCII, which every header takes.
        let authorization = authorization.transpose().map_err(|_| ClientError::Secret)?;
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(options.connect_timeout)
            // Whatever name service says of it. The port is the url's.
            .resolve_to_addrs("localhost", &loopback.map(|ip| SocketAddr::new(ip, 0)))
            .build()
            .map_err(ClientError::Client)?;
        Ok(Self {
            http,
            calls,
            shown,
            authorization,
            body_bytes_max: options.body_bytes_max,
            connect_timeout: options.connect_timeout,
            timeout: options.timeout,
            tap: options.tap,
            reads_zstd: AtomicBool::new(false),
        })
    }

    async fn call<M, A>(&self, url: &Url, message: &M, timeout: Duration) -> Result<A, PeerError>
    where
        M: Serialize + Sync,
        A: DeserializeOwned + Checked,
    {
        let clear = Bytes::from(to_bytes(message));
        if clear.len() > self.body_bytes_max {
            return Err(PeerError::TooLarge);
        }
        let packed = if self.reads_zstd.load(Ordering::Relaxed) { body::compress(&clear) } else { None };
        let compressed = packed.is_some();
        let sent = packed.map_or_else(|| clear.clone(), Bytes::from);
        let mut answer = self.exchange(url, &clear, sent, compressed, timeout).await?;
        if compressed && answer.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            // Another bridge stands there now, which reads no zstd.
            self.reads_zstd.store(false, Ordering::Relaxed);
            answer = self.exchange(url, &clear, clear.clone(), false, timeout).await?;
        }
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer));
        }
        from_bytes(&answer.clear).map_err(|error| PeerError::Protocol(one_line(&format!("{}: {error}", self.shown))))
    }

    async fn exchange(
        &self,
        url: &Url,
        clear: &[u8],
        sent: Bytes,
        compressed: bool,
        timeout: Duration,
    ) -> Result<Answer, PeerError> {
        let mut request = self.http.post(url.clone()).timeout(timeout);
        request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT_ENCODING, body::ZSTD);
        if compressed {
            request = request.header(CONTENT_ENCODING, body::ZSTD);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(tap) = &self.tap {
            tap.message(Direction::Request, clear);
        }
        let response = request.body(sent).send().await.map_err(|error| self.unreachable(&error, timeout))?;
        let status = response.status();
        if body::offers_zstd(response.headers()) {
            self.reads_zstd.store(true, Ordering::Relaxed);
        }
        let coding = body::coding(response.headers());
        let arrived = self.take(response, timeout).await?;
        let clear = match coding {
            Coding::Plain => arrived,
            Coding::Zstd => body::decompress(&arrived, self.body_bytes_max).map_err(|why| match why {
                Unreadable::TooLarge => self.answer_too_large(),
                Unreadable::Damaged => self.protocol("the answer says that it is zstd, and cannot be decompressed"),
            })?,
            Coding::Foreign => return Err(self.protocol("the answer is compressed in a way that was not asked for")),
        };
        if let Some(tap) = &self.tap {
            tap.message(Direction::Answer, &clear);
        }
        Ok(Answer { status, clear })
    }

    /// The bytes of the body, as they arrive and no more than the maximum.
    async fn take(&self, mut response: Response, timeout: Duration) -> Result<Vec<u8>, PeerError> {
        let mut taken = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error, timeout))? {
            if taken.len() + chunk.len() > self.body_bytes_max {
                return Err(self.answer_too_large());
            }
            taken.extend_from_slice(&chunk);
        }
        Ok(taken)
    }

    fn refused(&self, answer: &Answer) -> PeerError {
        let status = answer.status;
        let sentence = match serde_json::from_slice::<ErrorBody>(&answer.clear) {
            Ok(body) => one_line(&body.error),
            Err(_) if status.is_redirection() => {
                format!("{} points elsewhere ({status}), which is not followed", self.shown)
            }
            Err(_) => format!("{} answers {status}; it may be no bridge", self.shown),
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PeerError::Denied(sentence),
            StatusCode::PAYLOAD_TOO_LARGE => PeerError::TooLarge,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => PeerError::NotNow(sentence),
            // Too slow, or something between the two that does not reach the bridge: this passes.
            StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                PeerError::Unreachable(sentence)
            }
            _ => PeerError::Protocol(sentence),
        }
    }

    fn unreachable(&self, error: &reqwest::Error, timeout: Duration) -> PeerError {
        let url = &self.shown;
        let sentence = match (error.is_connect(), error.is_timeout()) {
            (true, true) => format!("no connection to {url} within {:?}", self.connect_timeout),
            (true, false) => format!("no connection to {url}: {}", reason(error)),
            (false, true) => format!("no answer from {url} within {timeout:?}"),
            (false, false) => format!("the connection to {url} broke: {}", reason(error)),
        };
        PeerError::Unreachable(one_line(&sentence))
    }

    fn answer_too_large(&self) -> PeerError {
        self.protocol(&format!("the answer is larger than {} bytes", self.body_bytes_max))
    }

    fn protocol(&self, what: &str) -> PeerError {
        PeerError::Protocol(format!("{}: {what}", self.shown))
    }
}

struct Answer {
    status: StatusCode,
    clear: Vec<u8>,
}

#[async_trait]
impl Peer for HttpPeer {
    async fn push(&self, push: Push) -> Result<Receipts, PeerError> {
        self.call(&self.calls.push, &push, self.timeout).await
    }

    async fn pull(&self, pull: Pull) -> Result<Deliveries, PeerError> {
        let wait = Duration::from_secs(pull.wait_seconds.into());
        self.call(&self.calls.pull, &pull, self.timeout.saturating_add(wait)).await
    }
}

#[async_trait]
impl Compares for HttpPeer {
    async fn verify(&self, verify: Verify) -> Result<Beliefs, PeerError> {
        self.call(&self.calls.verify, &verify, self.timeout).await
    }

    async fn compare(&self, compare: Compare) -> Result<Compared, PeerError> {
        self.call(&self.calls.compare, &compare, self.timeout).await
    }

    async fn lost(&self, lost: Lost) -> Result<LossRecorded, PeerError> {
        self.call(&self.calls.lost, &lost, self.timeout).await
    }
}

/// The url as parsed, if this version may speak to it.
fn base(url: &str) -> Result<Url, ClientError> {
    let bad = || ClientError::Url(one_line(url));
    // Looked for in the text, since what does not parse must not be repeated with its password either.
    if url.contains('@') {
        return Err(ClientError::Secret);
    }
    let parsed = Url::parse(url).map_err(|_| bad())?;
    match parsed.scheme() {
        "http" => {}
        "https" => return Err(ClientError::Https(one_line(url))),
        _ => return Err(bad()),
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(bad());
    }
    let host = parsed.host_str().ok_or_else(bad)?;
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let loopback = address.map_or(host == "localhost", |ip| ip.is_loopback());
    if loopback { Ok(parsed) } else { Err(ClientError::NotLoopback(one_line(url))) }
}

/// The innermost reason, in words.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost = error.source();
    while let Some(deeper) = innermost.and_then(|e| e.source()) {
        innermost = Some(deeper);
    }
    let Some(innermost) = innermost else { return "for no reason given".to_owned() };
    match innermost.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "nothing listens there".to_owned(),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
            "it was closed from the other side".to_owned()
        }
        _ => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        HttpPeer::new(ClientOptions::new(url)).unwrap_err().to_string()
    }

    #[test]
    fn loopback_is_spoken_to_under_each_of_its_names() {
        for url in ["http://127.0.0.1:7420", "http://127.8.9.1/", "http://[::1]:7420/bridge/", "http://localhost:1"] {
            assert!(HttpPeer::new(ClientOptions::new(url)).is_ok(), "{url}");
        }
        let peer = HttpPeer::new(ClientOptions::new("http://[::1]:7420/bridge/")).unwrap();
        assert_eq!(peer.calls.push.as_str(), "http://[::1]:7420/bridge/v1/push");
    }

    #[test]
    fn no_other_host_is_spoken_to() {
        for url in
            ["http://10.0.0.1:7420", "http://bridge.example", "http://[::ffff:10.0.0.1]", "http://localhost.evil"]
        {
            assert!(refused(url).contains("no loopback address"), "{url}");
        }
        assert_eq!(
            refused("https://bridge.n.example:7420"),
            "https://bridge.n.example:7420: this version speaks plain HTTP on loopback only; write \
             http://127.0.0.1:PORT"
        );
    }

    #[test]
    fn what_is_no_url_of_a_bridge_is_refused_with_a_sentence() {
        for url in ["", "7420", "127.0.0.1:7420", "ftp://127.0.0.1", "http://127.0.0.1/?a=b", "http://127.0.0.1/#a"] {
            assert!(refused(url).contains("is no url of a bridge"), "{url}");
        }
        assert!(!refused("http://me:hunter2@127.0.0.1").contains("hunter2"));
    }
}
