//! The other end of the wire: takes requests, makes sure whose they are and that they are no larger or slower than
//! allowed, and hands messages to the flow's [`Service`]. What a message means, and whether a site may say it, is
//! decided there; every error leaves as one sentence of JSON with a fitting status.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, VARY, WWW_AUTHENTICATE,
};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Extension, Router};
use landbridge_core::SiteName;
use landbridge_core::message::{Checked, Compare, Lost, MessageError, Pull, Push, Verify, WIRE, from_bytes, to_bytes};
use landbridge_flow::error::ServeError;
use landbridge_flow::ports::Service;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::{Auth, Caller, Stranger};
use crate::body::{self, Coding, ErrorBody, Unreadable};

/// How long a push that is under way at shutdown may take to its commit.
const GRACE: Duration = Duration::from_secs(10);
/// A refused body is read to its end, up to this many times the maximum, so that its sender hears the answer.
const DISCARD_FACTOR: usize = 4;

/// What the server allows.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The peers and their tokens.
    pub auth: Auth,
    /// The largest body, before and after decompression.
    pub body_bytes_max: usize,
    /// The longest time that a body may take to arrive.
    pub body_time_max: Duration,
    /// The longest time that a pull waits, whatever it asks for.
    pub wait_max: Duration,
}

impl ServerOptions {
    /// For `auth`, with 64 MiB and 30 s for a body and a minute for a pull.
    pub fn new(auth: Auth) -> Self {
        Self {
            auth,
            body_bytes_max: 64 << 20,
            body_time_max: Duration::from_secs(30),
            wait_max: Duration::from_secs(60),
        }
    }
}

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Asked to listen where others could hear.
    #[error(
        "{0} is no loopback address; this version speaks plain HTTP and therefore listens on 127.0.0.1 or [::1] only"
    )]
    NotLoopback(SocketAddr),
    /// The system does not let it.
    #[error("the listener failed: {0}")]
    Listener(#[from] io::Error),
}

/// The calls of the protocol, answered by `service`.
pub fn router(service: Arc<dyn Service>, options: ServerOptions) -> Router {
    Router::new()
        .route("/v1/push", post(push))
        .route("/v1/pull", post(pull))
        .route("/v1/verify", post(verify))
        .route("/v1/compare", post(compare))
        .route("/v1/lost", post(lost))
        .route("/v1/openapi.json", get(openapi))
        .method_not_allowed_fallback(not_that_way)
        .fallback(nothing_here)
        .with_state(Arc::new(Served { service, options }))
}

/// Serves `router` until `shutdown`: then waiting pulls end at once, and pushes under way get a little time.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> Result<(), ServerError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(ServerError::NotLoopback(address));
    }
    // An answer is one small write; waiting for more to send with it would only delay it.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    let router = router.layer(Extension(Stopping(shutdown.clone())));
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = served.into_future() => Ok(ended?),
        () = overdue => Ok(()),
    }
}

/// Set by [`serve`], so that what waits ends with it.
#[derive(Debug, Clone)]
struct Stopping(CancellationToken);

struct Served {
    service: Arc<dyn Service>,
    options: ServerOptions,
}

async fn push(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let (from, push, _) = served.open::<Push>(request).await?;
        Ok(to_bytes(&served.service.push(&from, push).await?))
    };
    respond(answer.await, zstd)
}

async fn pull(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let (from, mut pull, stopping) = served.open::<Pull>(request).await?;
        let wait_seconds_max = u32::try_from(served.options.wait_max.as_secs()).unwrap_or(u32::MAX);
        pull.wait_seconds = pull.wait_seconds.min(wait_seconds_max);
        let waiting = served.service.pull(&from, pull);
        // A fault and not an empty answer: the receipts may not have been taken, and are to be brought again.
        let deliveries = stopping.run_until_cancelled(waiting).await.ok_or(Fault::Stopping)??;
        Ok(to_bytes(&deliveries))
    };
    respond(answer.await, zstd)
}

async fn verify(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let (from, verify, _) = served.open::<Verify>(request).await?;
        Ok(to_bytes(&served.service.verify(&from, verify).await?))
    };
    respond(answer.await, zstd)
}

async fn compare(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let (from, compare, _) = served.open::<Compare>(request).await?;
        Ok(to_bytes(&served.service.compare(&from, compare).await?))
    };
    respond(answer.await, zstd)
}

async fn lost(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let (from, lost, _) = served.open::<Lost>(request).await?;
        Ok(to_bytes(&served.service.lost(&from, lost).await?))
    };
    respond(answer.await, zstd)
}

async fn openapi(headers: HeaderMap) -> Response {
    respond(Ok(crate::OPENAPI.as_bytes().to_vec()), body::offers_zstd(&headers))
}

async fn nothing_here(State(served): State<Arc<Served>>, request: Request) -> Response {
    served.discard(request.into_body()).await;
    respond(Err(Fault::NoSuchPath), false)
}

async fn not_that_way(State(served): State<Arc<Served>>, request: Request) -> Response {
    served.discard(request.into_body()).await;
    respond(Err(Fault::NoSuchMethod), false)
}

/// A message that says who sends it.
trait FromSite: DeserializeOwned + Checked {
    fn from(&self) -> &SiteName;
}

macro_rules! from_site {
    ($($message:ty),*) => {$(
        impl FromSite for $message {
            fn from(&self) -> &SiteName {
                &self.from
            }
        }
    )*};
}
from_site!(Push, Pull, Verify, Compare, Lost);

impl Served {
    /// The message of `request` and whose it is. The header is judged before the body is kept: a stranger's takes no
    /// memory.
    async fn open<M: FromSite>(&self, request: Request) -> Result<(SiteName, M, CancellationToken), Fault> {
        let (head, body) = request.into_parts();
        let stopping = head.extensions.get::<Stopping>().map(|stopping| stopping.0.clone()).unwrap_or_default();
        let opened = stopping.run_until_cancelled(self.open_parts::<M>(&head.headers, body)).await;
        let (from, message) = opened.ok_or(Fault::Stopping)??;
        Ok((from, message, stopping))
    }

    async fn open_parts<M: FromSite>(&self, headers: &HeaderMap, body: Body) -> Result<(SiteName, M), Fault> {
        let (caller, coding) = match self.judge(headers) {
            Ok(judged) => judged,
            Err(fault) => {
                self.discard(body).await;
                return Err(fault);
            }
        };
        let arrived = self.within_time(self.take(body)).await.ok_or(Fault::TooSlow(self.options.body_time_max))??;
        let bytes_max = self.options.body_bytes_max;
        let clear = match coding {
            Coding::Zstd => body::decompress(&arrived, bytes_max).map_err(|why| match why {
                Unreadable::TooLarge => Fault::TooLarge(bytes_max),
                Unreadable::Damaged => Fault::Damaged,
            })?,
            _ => arrived,
        };
        let message: M = message(&clear)?;
        let from = match caller {
            Caller::Unnamed => {
                self.options.auth.by_name(message.from())?;
                message.from().clone()
            }
            Caller::Known(site) if site == *message.from() => site,
            Caller::Known(site) => return Err(Fault::Impostor { token_of: site, from: message.from().clone() }),
        };
        Ok((from, message))
    }

    /// What the header says: who, and how the body is written.
    fn judge(&self, headers: &HeaderMap) -> Result<(Caller, Coding), Fault> {
        // Every browser sends this header with a post, and no bridge does. A page that an operator happens to have open
        // must not be able to speak to the bridge beside it.
        if headers.contains_key(ORIGIN) {
            return Err(Fault::Browser);
        }
        let caller = self.options.auth.caller(headers)?;
        match body::coding(headers) {
            Coding::Foreign => Err(Fault::Coding),
            coding => Ok((caller, coding)),
        }
    }

    /// The bytes of `body`. Past the maximum they are read on but not kept.
    async fn take(&self, mut body: Body) -> Result<Vec<u8>, Fault> {
        let bytes_max = self.options.body_bytes_max;
        let mut taken = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(data) = frame.map_err(|_| Fault::Broken)?.into_data() else { continue };
            if taken.len() + data.len() > bytes_max {
                drop(taken);
                self.skip(body).await;
                return Err(Fault::TooLarge(bytes_max));
            }
            taken.extend_from_slice(&data);
        }
        Ok(taken)
    }

    async fn discard(&self, body: Body) {
        if self.within_time(self.skip(body)).await.is_none() {
            tracing::debug!("a refused body did not end in time");
        }
    }

    async fn skip(&self, mut body: Body) {
        let mut left = self.options.body_bytes_max.saturating_mul(DISCARD_FACTOR);
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, |data| data.len())) else { return };
            left = rest;
        }
    }

    async fn within_time<T>(&self, reading: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.options.body_time_max, reading).await.ok()
    }
}

/// The message in `clear`. One of another version may have another form, so the version is what is said of it.
fn message<M: FromSite>(clear: &[u8]) -> Result<M, MessageError> {
    #[derive(Deserialize)]
    struct Version {
        wire: u32,
    }
    from_bytes(clear).map_err(|error| match serde_json::from_slice(clear) {
        Ok(Version { wire }) if wire != WIRE => MessageError::Wire(wire),
        _ => error,
    })
}

/// Why a request gets no answer. The sentences are for the peer's operator and tell nothing of this house.
#[derive(Debug, Error)]
enum Fault {
    #[error("nothing is served here; the calls are described by GET /v1/openapi.json")]
    NoSuchPath,
    #[error("this path is not asked that way; see GET /v1/openapi.json")]
    NoSuchMethod,
    #[error("a browser's page cannot speak to a bridge")]
    Browser,
    #[error("this site has no such peer, or the token is not that peer's")]
    Stranger,
    #[error("the message is from {from}, the token is that of {token_of}")]
    Impostor { token_of: SiteName, from: SiteName },
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive within {0:?}")]
    TooSlow(Duration),
    #[error("the body broke off")]
    Broken,
    #[error("the body says that it is zstd, and cannot be decompressed")]
    Damaged,
    #[error("a body may be compressed with zstd, or not at all")]
    Coding,
    #[error("this bridge is being stopped")]
    Stopping,
    #[error("{0}")]
    Message(#[from] MessageError),
    #[error("{0}")]
    Service(#[from] ServeError),
}

impl From<Stranger> for Fault {
    fn from(_: Stranger) -> Self {
        Fault::Stranger
    }
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Fault::NoSuchPath => StatusCode::NOT_FOUND,
            Fault::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Fault::Stranger => StatusCode::UNAUTHORIZED,
            Fault::Browser | Fault::Impostor { .. } | Fault::Service(ServeError::Denied(_)) => StatusCode::FORBIDDEN,
            Fault::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Fault::Coding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Fault::Stopping | Fault::Service(ServeError::NotNow) => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Broken | Fault::Damaged | Fault::Message(_) | Fault::Service(ServeError::Malformed(_)) => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

fn respond(answer: Result<Vec<u8>, Fault>, zstd: bool) -> Response {
    let (status, clear) = match answer {
        Ok(clear) => (StatusCode::OK, clear),
        Err(fault) => {
            let error = body::one_line(&fault.to_string());
            tracing::debug!(status = fault.status().as_u16(), error, "a request was refused");
            (fault.status(), to_bytes(&ErrorBody { error }))
        }
    };
    let packed = if zstd { body::compress(&clear) } else { None };
    let compressed = packed.is_some();
    let mut response = (status, packed.unwrap_or(clear)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(body::ZSTD));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(body::ZSTD));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
