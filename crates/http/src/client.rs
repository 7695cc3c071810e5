//! A peer that is reached over HTTP: sends messages, bounds what comes back in size and time, and turns every way in
//! which that can fail into a [`PeerError`] with a sentence. When to send, and what to do about a failure, is decided
//! by the flow.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use landbridge_core::message::{
    Beliefs, Checked, Compare, Compared, Deliveries, LossRecorded, Lost, Pull, Push, Receipts, Verify,
    from_bytes_within, to_bytes,
};
use landbridge_core::{Bounds, SiteName};
use landbridge_flow::error::PeerError;
use landbridge_flow::ports::{Compares, Peer};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url, redirect};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::auth::Token;
use crate::body::{self, Coding, ErrorBody, Unreadable, one_line};
use crate::certificate;
use crate::quota::{Exceeded, Quota};
use crate::tls::{FirstEnd, Tls, Verdict, failed};
use crate::trust::Witness;

/// How long it is listened to why a peer ended a connection.
const WHY_TIME_MAX: Duration = Duration::from_secs(5);

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

/// The two ends of TLS with one peer.
#[derive(Clone)]
pub struct PeerTls {
    /// What this site shows, and who may vouch for the peer.
    pub tls: Arc<Tls>,
    /// The peer that is expected to answer.
    pub peer: SiteName,
    /// Told of the certificate that the peer shows.
    pub witness: Option<Arc<dyn Witness>>,
}

/// How a peer is reached.
#[derive(Clone)]
pub struct ClientOptions {
    /// Where the peer's bridge listens: `https://bridge.n.example:7420`, or on this machine `http://127.0.0.1:7420`.
    pub url: String,
    /// What is shown to it, and whom it has to prove to be. Needed for https.
    pub tls: Option<PeerTls>,
    /// The token shared with it, where there is one.
    pub token: Option<Token>,
    /// The largest body that is sent or taken, before and after compression.
    pub body_bytes_max: usize,
    /// The longest time until a connection stands.
    pub connect_timeout: Duration,
    /// The longest time until an answer is complete; a pull may take as much longer as it asked to wait.
    pub timeout: Duration,
    /// The most that is taken in one answer.
    pub bounds: Bounds,
    /// What the peer's answers are counted by, together with its requests.
    pub quota: Option<Arc<Quota>>,
    /// Sees every body.
    pub tap: Option<Arc<dyn Tap>>,
}

impl ClientOptions {
    /// For the peer at `url`, with 64 MiB for a body, 5 s to connect and a minute to answer.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: None,
            token: None,
            body_bytes_max: 64 << 20,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            bounds: Bounds::default(),
            quota: None,
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
    /// TLS, and nothing to show.
    #[error("{0}: an https url needs a certificate of this site; give the configuration a [tls] section")]
    Https(String),
    /// Another machine.
    #[error(
        "{0}: the host is no loopback address, and over plain HTTP others could hear; write https://, or 127.0.0.1, [::1] \
         or localhost"
    )]
    NotLoopback(String),
    /// The certificate of this site cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
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

/// The connections to a peer. They are kept to be used again, and none any more once a certificate that was believed over
/// one of them has ended: what is under way is finished, and the next request dials.
struct Line {
    config: ClientConfig,
    connect_timeout: Duration,
    first_end: FirstEnd,
    open: Mutex<reqwest::Client>,
}

impl Line {
    fn new(config: ClientConfig, connect_timeout: Duration, first_end: FirstEnd) -> reqwest::Result<Self> {
        let open = Mutex::new(connections(&config, connect_timeout)?);
        Ok(Self { config, connect_timeout, first_end, open })
    }

    fn now(&self) -> reqwest::Result<reqwest::Client> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.first_end.is_over(certificate::now()) {
            let new = connections(&self.config, self.connect_timeout)?;
            self.first_end.begin_anew();
            *open = new;
        }
        Ok(open.clone())
    }
}

fn connections(config: &ClientConfig, connect_timeout: Duration) -> reqwest::Result<reqwest::Client> {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(config.clone())
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(connect_timeout)
        // Whatever name service says of it. The port is the url's.
        .resolve_to_addrs("localhost", &loopback.map(|ip| SocketAddr::new(ip, 0)))
        .build()
}

/// The bridge of a peer, over HTTP.
pub struct HttpPeer {
    line: Line,
    calls: Calls,
    shown: String,
    tls: Option<(PeerTls, Verdict)>,
    authorization: Option<HeaderValue>,
    body_bytes_max: usize,
    connect_timeout: Duration,
    timeout: Duration,
    bounds: Bounds,
    quota: Option<Arc<Quota>>,
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
        let (is_https, first_end) = (base.scheme() == "https", FirstEnd::default());
        let (config, tls) = match options.tls.filter(|_| is_https) {
            Some(tls) => {
                let verdict = Verdict::default();
                let config = tls.tls.client(&tls.peer, tls.witness.clone(), verdict.clone(), first_end.clone());
                (config.map_err(ClientError::Tls)?, Some((tls, verdict)))
            }
            None if is_https => return Err(ClientError::Https(one_line(&options.url))),
            None => (nobody().map_err(ClientError::Tls)?, None),
        };
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
        let line = Line::new(config, options.connect_timeout, first_end).map_err(ClientError::Client)?;
        Ok(Self {
            line,
            calls,
            shown,
            tls,
            authorization,
            body_bytes_max: options.body_bytes_max,
            connect_timeout: options.connect_timeout,
            timeout: options.timeout,
            bounds: options.bounds.or(Bounds::ANSWER),
            quota: options.quota,
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
        let read = from_bytes_within(&answer.clear, self.bounds);
        read.map_err(|error| PeerError::Violation(one_line(&format!("{}: {error}", self.shown))))
    }

    async fn exchange(
        &self,
        url: &Url,
        clear: &[u8],
        sent: Bytes,
        compressed: bool,
        timeout: Duration,
    ) -> Result<Answer, PeerError> {
        let http = self.line.now().map_err(|error| PeerError::Unreachable(one_line(&error.to_string())))?;
        let mut request = http.post(url.clone()).timeout(timeout);
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
        let response = match request.body(sent).send().await {
            Ok(response) => response,
            Err(error) => return Err(self.unreachable(&error, timeout).await),
        };
        let status = response.status();
        if body::offers_zstd(response.headers()) {
            self.reads_zstd.store(true, Ordering::Relaxed);
        }
        let coding = body::coding(response.headers());
        let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let arrived = self.take(response, timeout).await?;
        let clear = match coding {
            Coding::Plain => arrived,
            Coding::Zstd => body::decompress(&arrived, self.body_bytes_max).map_err(|why| match why {
                Unreadable::TooLarge => self.answer_too_large(),
                Unreadable::Damaged => self.against("the answer says that it is zstd, and cannot be decompressed"),
            })?,
            Coding::Foreign => return Err(self.protocol("the answer is compressed in a way that was not asked for")),
        };
        if let Some(tap) = &self.tap {
            tap.message(Direction::Answer, &clear);
        }
        Ok(Answer { status, clear, pause: pause.map(Duration::from_secs) })
    }

    /// The bytes of the body, as they arrive and no more than the maximum.
    async fn take(&self, mut response: Response, timeout: Duration) -> Result<Vec<u8>, PeerError> {
        let mut taken = Vec::new();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(taken),
                Err(error) => return Err(self.unreachable(&error, timeout).await),
            };
            if taken.len() + chunk.len() > self.body_bytes_max {
                return Err(self.answer_too_large());
            }
            taken.extend_from_slice(&chunk);
        }
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
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => match answer.pause {
                Some(pause) => PeerError::Later { why: sentence, pause },
                None => PeerError::NotNow(sentence),
            },
            // Too slow, or something between the two that does not reach the bridge: this passes.
            StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                PeerError::Unreachable(sentence)
            }
            _ => PeerError::Protocol(sentence),
        }
    }

    async fn unreachable(&self, error: &reqwest::Error, timeout: Duration) -> PeerError {
        let url = &self.shown;
        if let Some((tls, verdict)) = &self.tls {
            if let Some(met) = tls_error(error) {
                return self.handshake_failed(&met, &tls.tls, verdict);
            }
            if !error.is_timeout()
                && !error.is_connect()
                && let Some(met) = self.ask_why(tls, verdict).await
            {
                return self.handshake_failed(&met, &tls.tls, verdict);
            }
        }
        let sentence = match (error.is_connect(), error.is_timeout()) {
            (true, true) => format!("no connection to {url} within {:?}", self.connect_timeout),
            (true, false) => format!("no connection to {url}: {}", reason(error)),
            (false, true) => format!("no answer from {url} within {timeout:?}"),
            (false, false) => format!("the connection to {url} broke: {}", reason(error)),
        };
        PeerError::Unreachable(one_line(&sentence))
    }

    /// What TLS has to say where HTTP keeps no more than that the connection ended: in TLS 1.3 the peer judges our
    /// certificate after we believe to be connected. Dialled once more, without a request.
    async fn ask_why(&self, tls: &PeerTls, verdict: &Verdict) -> Option<Met> {
        let config = tls.tls.client(&tls.peer, None, verdict.clone(), FirstEnd::default()).ok()?;
        let url = Url::parse(&self.shown).ok()?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default()?;
        let listen = async {
            let stream = TcpStream::connect((host.as_str(), port)).await.ok()?;
            let name = ServerName::try_from(host.clone()).ok()?;
            match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
                Err(error) => tls_within(&error),
                Ok(mut stream) => stream.read(&mut [0]).await.err().and_then(|error| tls_within(&error)),
            }
        };
        tokio::time::timeout(WHY_TIME_MAX, listen).await.ok().flatten()
    }

    /// Either side did not take the other's certificate, or the two speak no TLS with each other.
    fn handshake_failed(&self, met: &Met, tls: &Tls, verdict: &Verdict) -> PeerError {
        let url = &self.shown;
        match met {
            Met::Alert(alert) => PeerError::Denied(one_line(&format!("{url}: {}", tls.told(*alert)))),
            Met::Error(rustls::Error::InvalidMessage(_)) => PeerError::Unproven(one_line(&format!(
                "{url} speaks no TLS: the site there needs [tls] in its configuration, or is reached over http:// if it is \
                 on this machine"
            ))),
            Met::Error(error) => {
                let why = match verdict.take() {
                    Some(Err(why)) => why,
                    _ => failed(error),
                };
                PeerError::Unproven(one_line(&format!("{url} {why}")))
            }
        }
    }

    fn answer_too_large(&self) -> PeerError {
        self.against(&format!("the answer is larger than {} bytes", self.body_bytes_max))
    }

    fn against(&self, what: &str) -> PeerError {
        PeerError::Violation(format!("{}: {what}", self.shown))
    }

    fn protocol(&self, what: &str) -> PeerError {
        PeerError::Protocol(format!("{}: {what}", self.shown))
    }
}

struct Answer {
    status: StatusCode,
    clear: Vec<u8>,
    /// When to come again, where it says so in seconds.
    pause: Option<Duration>,
}

/// What this site allows is the peer's to keep, and the peer's answers count too: it is asked again later.
fn later(exceeded: Exceeded) -> PeerError {
    PeerError::Later { why: format!("its answers are more than this site takes: {exceeded}"), pause: exceeded.pause }
}

#[async_trait]
impl Peer for HttpPeer {
    async fn push(&self, push: Push) -> Result<Receipts, PeerError> {
        self.call(&self.calls.push, &push, self.timeout).await
    }

    async fn pull(&self, pull: Pull) -> Result<Deliveries, PeerError> {
        if let Some(quota) = &self.quota {
            quota.before_pull().map_err(later)?;
        }
        let wait = Duration::from_secs(pull.wait_seconds.into());
        let answer: Deliveries = self.call(&self.calls.pull, &pull, self.timeout.saturating_add(wait)).await?;
        if let Some(quota) = &self.quota {
            quota.pulled(answer.deliveries.iter().map(|delivery| delivery.entries.len().max(1)).sum());
        }
        Ok(answer)
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

/// The url as parsed, if it may be spoken to.
fn base(url: &str) -> Result<Url, ClientError> {
    let bad = || ClientError::Url(one_line(url));
    // Looked for in the text, since what does not parse must not be repeated with its password either.
    if url.contains('@') {
        return Err(ClientError::Secret);
    }
    let parsed = Url::parse(url).map_err(|_| bad())?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(bad());
    }
    let host = parsed.host_str().ok_or_else(bad)?;
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let loopback = address.map_or(host == "localhost", |ip| ip.is_loopback());
    if loopback || parsed.scheme() == "https" { Ok(parsed) } else { Err(ClientError::NotLoopback(one_line(url))) }
}

/// TLS with which nobody is believed: the HTTP client wants some, and over plain HTTP it is not used.
fn nobody() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// What TLS says of a failure.
#[derive(Debug)]
enum Met {
    /// The other side does not take us.
    Alert(AlertDescription),
    /// We do not take the other side, or it speaks something else.
    Error(rustls::Error),
}

/// The error of TLS within `error`.
fn tls_error(error: &reqwest::Error) -> Option<Met> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(met) = tls_within(error) {
            return Some(met);
        }
        next = error.source();
    }
    None
}

/// The same, where it is wrapped into errors of reading and writing, which do not name it as their source.
fn tls_within(error: &(dyn std::error::Error + 'static)) -> Option<Met> {
    match error.downcast_ref() {
        Some(rustls::Error::AlertReceived(alert)) => return Some(Met::Alert(*alert)),
        Some(other) => return Some(Met::Error(other.clone())),
        None => {}
    }
    error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).and_then(|inner| tls_within(inner))
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
            "https://bridge.n.example:7420: an https url needs a certificate of this site; give the configuration a [tls] \
             section"
        );
    }

    #[test]
    fn what_tls_says_is_found_however_deep_it_is_wrapped() {
        let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        let wrapped = io::Error::other(io::Error::other(alert));
        assert!(matches!(tls_within(&wrapped), Some(Met::Alert(AlertDescription::UnknownCA))));
        assert!(tls_within(&io::Error::other("no connection")).is_none());
    }

    #[test]
    fn what_is_no_url_of_a_bridge_is_refused_with_a_sentence() {
        for url in ["", "7420", "127.0.0.1:7420", "ftp://127.0.0.1", "http://127.0.0.1/?a=b", "http://127.0.0.1/#a"] {
            assert!(refused(url).contains("is no url of a bridge"), "{url}");
        }
        assert!(!refused("http://me:hunter2@127.0.0.1").contains("hunter2"));
    }
}
