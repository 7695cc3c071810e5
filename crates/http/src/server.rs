//! The other end of the wire: takes requests, makes sure whose they are and that they are no larger or slower than
//! allowed, and hands messages to the flow's [`Service`]. What a message means, and whether a site may say it, is
//! decided there; every error leaves as one sentence of JSON with a fitting status.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use landbridge_core::message::{
    Checked, Compare, Lost, MessageError, Pull, Push, Verify, WIRE, from_bytes_within, to_bytes,
};
use landbridge_core::{Bounds, SiteName};
use landbridge_flow::Violation;
use landbridge_flow::error::ServeError;
use landbridge_flow::ports::Service;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::{Auth, Caller, Stranger};
use crate::body::{self, Coding, ErrorBody, Unreadable};
use crate::listener::{Door, PeerSite, Place};
use crate::quota::{Admitted, Exceeded, Quotas, seconds};

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
    /// The most that is taken in one message.
    pub bounds: Bounds,
    /// How much each peer may ask.
    pub quotas: Quotas,
}

impl ServerOptions {
    /// For `auth`, with 64 MiB and 30 s for a body and a minute for a pull.
    pub fn new(auth: Auth) -> Self {
        Self {
            auth,
            body_bytes_max: 64 << 20,
            body_time_max: Duration::from_secs(30),
            wait_max: Duration::from_secs(60),
            bounds: Bounds::default(),
            quotas: Quotas::default(),
        }
    }
}

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Asked to listen where others could hear.
    #[error(
        "{0} is no loopback address, and without TLS others could hear; give the configuration a [tls] section, or listen \
         on 127.0.0.1 or [::1]"
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

/// Serves `router` on loopback, without TLS, until `shutdown`.
pub async fn serve(
    listener: impl Into<Arc<TcpListener>>,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    Door::default().serve(listener, router, shutdown).await
}

/// Set by the listener, so that what waits ends with it, or with what its connection may be used for.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(pub(crate) CancellationToken);

struct Served {
    service: Arc<dyn Service>,
    options: ServerOptions,
}

async fn push(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let Opened { from, message, admitted, .. } = served.open::<Push>(request).await?;
        let answer = to_bytes(&served.service.push(&from, message).await?);
        Ok((answer, Some(admitted)))
    };
    respond(answer.await, zstd)
}

async fn pull(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let Opened { from, message: mut pull, admitted, stopping } = served.open::<Pull>(request).await?;
        let wait_seconds_max = u32::try_from(served.options.wait_max.as_secs()).unwrap_or(u32::MAX);
        pull.wait_seconds = pull.wait_seconds.min(wait_seconds_max);
        let waiting = served.service.pull(&from, pull);
        // A fault and not an empty answer: the receipts may not have been taken, and are to be brought again.
        let deliveries = stopping.run_until_cancelled(waiting).await.ok_or(Fault::Stopping)??;
        Ok((to_bytes(&deliveries), Some(admitted)))
    };
    respond(answer.await, zstd)
}

async fn verify(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let Opened { from, message, admitted, .. } = served.open::<Verify>(request).await?;
        let answer = to_bytes(&served.service.verify(&from, message).await?);
        Ok((answer, Some(admitted)))
    };
    respond(answer.await, zstd)
}

async fn compare(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let Opened { from, message, admitted, .. } = served.open::<Compare>(request).await?;
        let answer = to_bytes(&served.service.compare(&from, message).await?);
        Ok((answer, Some(admitted)))
    };
    respond(answer.await, zstd)
}

async fn lost(State(served): State<Arc<Served>>, request: Request) -> Response {
    let zstd = body::offers_zstd(request.headers());
    let answer = async {
        let Opened { from, message, admitted, .. } = served.open::<Lost>(request).await?;
        let answer = to_bytes(&served.service.lost(&from, message).await?);
        Ok((answer, Some(admitted)))
    };
    respond(answer.await, zstd)
}

async fn openapi(headers: HeaderMap) -> Response {
    respond(Ok((crate::OPENAPI.as_bytes().to_vec(), None)), body::offers_zstd(&headers))
}

async fn nothing_here(State(served): State<Arc<Served>>, request: Request) -> Response {
    served.discard(request.into_body()).await;
    respond(Err(Fault::NoSuchPath), false)
}

async fn not_that_way(State(served): State<Arc<Served>>, request: Request) -> Response {
    served.discard(request.into_body()).await;
    respond(Err(Fault::NoSuchMethod), false)
}

/// What a page of a comparison with its texts counts as, in entries.
const PROBLEMS_READ: usize = 500;

/// A message that says who sends it.
trait FromSite: DeserializeOwned + Checked {
    fn from(&self) -> &SiteName;
    /// How many entries it asks to take; a delivery without any counts as one.
    fn entries(&self) -> usize;
}

macro_rules! from_site {
    ($($message:ty, $entries:expr;)*) => {$(
        impl FromSite for $message {
            fn from(&self) -> &SiteName {
                &self.from
            }

            fn entries(&self) -> usize {
                let entries: fn(&$message) -> usize = $entries;
                entries(self)
            }
        }
    )*};
}
from_site! {
    Push, |push| push.deliveries.iter().map(|delivery| delivery.entries.len().max(1)).sum();
    Pull, |_| 0;
    // The texts of a page of problems are read for it.
    Verify, |verify| if verify.texts { PROBLEMS_READ } else { 0 };
    Compare, |compare| compare.problems.len();
    Lost, |lost| lost.problems.len();
}

/// A message, and whose it is.
struct Opened<M> {
    from: SiteName,
    message: M,
    admitted: Admitted,
    stopping: CancellationToken,
}

impl Served {
    /// The message of `request` and whose it is. The header is judged before the body is kept: a stranger's takes no
    /// memory.
    async fn open<M: FromSite>(&self, request: Request) -> Result<Opened<M>, Fault> {
        let (head, body) = request.into_parts();
        let stopping = head.extensions.get::<Stopping>().map(|stopping| stopping.0.clone()).unwrap_or_default();
        let opened = stopping.run_until_cancelled(self.open_parts::<M>(&head, body)).await;
        let (from, message, admitted) = opened.ok_or(Fault::Stopping)??;
        Ok(Opened { from, message, admitted, stopping })
    }

    async fn open_parts<M: FromSite>(&self, head: &Parts, body: Body) -> Result<(SiteName, M, Admitted), Fault> {
        let place = head.extensions.get::<Place>();
        let (caller, coding) = match self.judge(head) {
            Ok(judged) => judged,
            Err(fault) => {
                self.tell(None, &fault);
                if let Err(exceeded) = self.options.quotas.stranger() {
                    return Err(Fault::Exceeded(exceeded));
                }
                self.discard(body).await;
                return Err(fault);
            }
        };
        if let (Caller::Known(site), Some(place)) = (&caller, place) {
            place.is_of(site);
        }
        let name = match &caller {
            Caller::Known(site) => Some(site.clone()),
            Caller::Unnamed => None,
        };
        let opened = self.open_body(caller, coding, place, body).await;
        opened.inspect_err(|fault| self.tell(name.as_ref(), fault))
    }

    async fn open_body<M: FromSite>(
        &self,
        caller: Caller,
        coding: Coding,
        place: Option<&Place>,
        body: Body,
    ) -> Result<(SiteName, M, Admitted), Fault> {
        let known = if let Caller::Known(site) = &caller { Some(site) } else { None };
        let mut admitted = match self.options.quotas.admit(known) {
            Ok(admitted) => admitted,
            Err(exceeded) => {
                self.discard(body).await;
                return Err(exceeded.into());
            }
        };
        let arrived = self.within_time(self.take(body, &mut admitted)).await;
        let arrived = arrived.ok_or(Fault::TooSlow(self.options.body_time_max))??;
        let bytes_max = self.options.body_bytes_max;
        let clear = match coding {
            Coding::Zstd => body::decompress(&arrived, bytes_max).map_err(|why| match why {
                Unreadable::TooLarge => Fault::Bomb(bytes_max),
                Unreadable::Damaged => Fault::Damaged,
            })?,
            _ => arrived,
        };
        admitted.body_is(clear.len())?;
        let message: M = message(&clear, self.options.bounds.or(Bounds::ANSWER))?;
        let from = match caller {
            Caller::Unnamed => {
                self.options.auth.by_name(message.from())?;
                if let Some(place) = place {
                    place.is_of(message.from());
                }
                message.from().clone()
            }
            Caller::Known(site) if site == *message.from() => site,
            Caller::Known(site) => return Err(Fault::Impostor { shown: site, from: message.from().clone() }),
        };
        self.options.quotas.of(&from).take_entries(message.entries())?;
        Ok((from, message, admitted))
    }

    /// Tells the service what is more than bad luck.
    fn tell(&self, from: Option<&SiteName>, fault: &Fault) {
        if let Some(violation) = fault.violation() {
            self.service.violated(from, violation, &body::one_line(&fault.to_string()));
        }
    }

    /// What the header says: who, and how the body is written.
    fn judge(&self, head: &Parts) -> Result<(Caller, Coding), Fault> {
        let headers = &head.headers;
        // Every browser sends this header with a post, and no bridge does. A page that an operator happens to have open
        // must not be able to speak to the bridge beside it.
        if headers.contains_key(ORIGIN) {
            return Err(Fault::Browser);
        }
        let shown = head.extensions.get::<PeerSite>().map(|peer| &peer.0);
        let caller = self.options.auth.caller(headers, shown)?;
        match body::coding(headers) {
            Coding::Foreign => Err(Fault::Coding),
            coding => Ok((caller, coding)),
        }
    }

    /// The bytes of `body`. Past the maximum they are read on but not kept.
    async fn take(&self, mut body: Body, admitted: &mut Admitted) -> Result<Vec<u8>, Fault> {
        let bytes_max = self.options.body_bytes_max;
        let mut taken = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(data) = frame.map_err(|_| Fault::Broken)?.into_data() else { continue };
            if taken.len() + data.len() > bytes_max {
                drop(taken);
                self.skip(body).await;
                return Err(Fault::TooLarge(bytes_max));
            }
            if let Err(exceeded) = admitted.body_is(taken.len() + data.len()) {
                drop(taken);
                self.skip(body).await;
                return Err(exceeded.into());
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
fn message<M: FromSite>(clear: &[u8], bounds: Bounds) -> Result<M, MessageError> {
    #[derive(Deserialize)]
    struct Version {
        wire: u32,
    }
    from_bytes_within(clear, bounds).map_err(|error| match error {
        MessageError::Form(_) => match serde_json::from_slice(clear) {
            Ok(Version { wire }) if wire != WIRE => MessageError::Wire(wire),
            _ => error,
        },
        error => error,
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
    #[error("the message is from {from}, and who sends it has shown that it is {shown}")]
    Impostor { shown: SiteName, from: SiteName },
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body is larger than {0} bytes once it is decompressed")]
    Bomb(usize),
    #[error("{0}")]
    Exceeded(#[from] Exceeded),
    #[error("the body did not arrive within {0:?}")]
    TooSlow(Duration),
    #[error("the body broke off")]
    Broken,
    #[error("the body says that it is zstd, and cannot be decompressed")]
    Damaged,
    #[error("a body may be compressed with zstd, or not at all")]
    Coding,
    #[error("this bridge is being stopped, or the certificate of this connection has ended")]
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
    /// What whoever sent it did; nothing where a bridge in order may do the same.
    fn violation(&self) -> Option<Violation> {
        match self {
            Fault::Browser | Fault::Stranger => Some(Violation::Stranger),
            Fault::Impostor { .. } => Some(Violation::Name),
            Fault::Bomb(_) => Some(Violation::Size),
            Fault::TooSlow(_) => Some(Violation::Time),
            Fault::Exceeded(exceeded) => exceeded.violation(),
            // Another version may be on its way, and a sender halves what is too large.
            Fault::Message(MessageError::Wire(_)) => None,
            Fault::Message(MessageError::Excess(excess)) if excess.may_be_halved() => None,
            Fault::Damaged | Fault::Message(_) => Some(Violation::Form),
            // The flow tells of what it refuses by itself.
            Fault::Service(_) => None,
            Fault::NoSuchPath
            | Fault::NoSuchMethod
            | Fault::TooLarge(_)
            | Fault::Broken
            | Fault::Coding
            | Fault::Stopping => None,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Fault::NoSuchPath => StatusCode::NOT_FOUND,
            Fault::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Fault::Stranger => StatusCode::UNAUTHORIZED,
            Fault::Browser | Fault::Impostor { .. } | Fault::Service(ServeError::Denied(_)) => StatusCode::FORBIDDEN,
            Fault::TooLarge(_) | Fault::Bomb(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Message(MessageError::Excess(excess)) if excess.may_be_halved() => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Exceeded(exceeded) if exceeded.is_of_all() => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Exceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Fault::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Fault::Coding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Fault::Stopping | Fault::Service(ServeError::NotNow | ServeError::NothingLeaves) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Fault::Broken | Fault::Damaged | Fault::Message(_) | Fault::Service(ServeError::Malformed(_)) => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

/// What a request is answered with, and, where it is much, what is held until it is sent.
fn respond(answer: Result<(Vec<u8>, Option<Admitted>), Fault>, zstd: bool) -> Response {
    let mut pause = None;
    let (status, clear, admitted) = match answer {
        Ok((clear, admitted)) => (StatusCode::OK, clear, admitted),
        Err(fault) => {
            let error = body::one_line(&fault.to_string());
            tracing::debug!(status = fault.status().as_u16(), error, "a request was refused");
            if let Fault::Exceeded(exceeded) = &fault {
                pause = Some(seconds(exceeded.pause));
            }
            (fault.status(), to_bytes(&ErrorBody { error }), None)
        }
    };
    let packed = if zstd { body::compress(&clear) } else { None };
    let compressed = packed.is_some();
    let bytes = packed.unwrap_or(clear);
    let length = HeaderValue::from(bytes.len());
    let mut response = (status, body::held(bytes, admitted)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length);
    if let Some(pause) = pause {
        headers.insert(RETRY_AFTER, HeaderValue::from(pause));
    }
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
