//! The listener: takes connections, has each of them say who it is within a time, and serves the calls over it, HTTP/1.1
//! and 2, with TLS or, on loopback, without. Everything that somebody could make large or slow has a named limit here.
//! What a request means is the router's.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use landbridge_core::SiteName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use crate::body::ErrorBody;
use crate::certificate::ended;
use crate::guests::{Guests, Seat};
use crate::server::{ServerError, Stopping};
use crate::tls::{HANDSHAKE_TIME_MAX, Tls, Verdict, failed};
use crate::trust::{Distrust, Witness};

/// How long a push that is under way at shutdown may take to its commit.
const GRACE: Duration = Duration::from_secs(10);
/// How long an answer that is under way when the certificate of its connection ends may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the listener waits where the system gives it no connection (no file is left to open).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The first byte of every TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What is still read of somebody who is turned away, so that he hears why.
const LINGER_BYTES_MAX: u64 = 64 << 10;
/// And for how long.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// What the listener bears.
#[derive(Debug, Clone)]
pub struct ListenLimits {
    /// Connections that have not shown whose they are; further ones take the place of the oldest of the largest crowd.
    pub strangers_max: usize,
    /// Connections of each peer; further ones take the place of the oldest. With the strangers these are all there can be:
    /// no peer takes another's.
    pub peer_connections_max: usize,
    /// The longest time for a TLS handshake.
    pub handshake_time_max: Duration,
    /// The longest time until a connection without TLS has shown a token.
    pub stranger_time_max: Duration,
    /// The longest time for the head of a request over HTTP/1.1, and between two of them.
    pub header_time_max: Duration,
    /// The largest head of a request. Over HTTP/1.1 no less than 8 KiB.
    pub header_bytes_max: u32,
    /// The most lines in the head of a request over HTTP/1.1.
    pub headers_max: usize,
    /// The most requests at the same time over one connection of HTTP/2.
    pub streams_max: u32,
    /// The longest time in which nothing travels over a connection and no request is being answered.
    pub idle_time_max: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            strangers_max: 128,
            peer_connections_max: 16,
            handshake_time_max: HANDSHAKE_TIME_MAX,
            stranger_time_max: Duration::from_secs(60),
            header_time_max: Duration::from_secs(30),
            header_bytes_max: 16 << 10,
            headers_max: 64,
            streams_max: 32,
            idle_time_max: Duration::from_secs(120),
        }
    }
}

/// Who was dialled with a certificate that is believed: an extension of every request that comes over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSite(pub SiteName);

/// The place that the connection of a request has: an extension of every request.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Seat>);

impl Place {
    /// The caller has shown that it is `site`.
    pub(crate) fn is_of(&self, site: &SiteName) {
        self.0.is_of(site);
    }
}

/// How strangers become guests. By default, without TLS and on loopback only.
#[derive(Clone)]
pub struct Door {
    /// What is shown to those who dial, and who of them is believed; without it, nothing is encrypted.
    pub tls: Option<Arc<Tls>>,
    /// What is borne.
    pub limits: ListenLimits,
    /// Told of whoever is believed and whoever is turned away.
    pub witness: Option<Arc<dyn Witness>>,
    guests: Arc<Guests>,
}

impl Default for Door {
    fn default() -> Self {
        Self::new(None, ListenLimits::default(), None)
    }
}

impl Door {
    /// A door with these locks and limits.
    pub fn new(tls: Option<Arc<Tls>>, limits: ListenLimits, witness: Option<Arc<dyn Witness>>) -> Self {
        let guests = Arc::new(Guests::new(limits.strangers_max, limits.peer_connections_max));
        Self { tls, limits, witness, guests }
    }

    /// Who is inside.
    pub fn guests(&self) -> &Arc<Guests> {
        &self.guests
    }

    /// Serves `router` until `shutdown`: then waiting pulls end at once, and pushes under way get a little time.
    pub async fn serve(
        self,
        listener: impl Into<Arc<TcpListener>>,
        router: Router,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        let listener = listener.into();
        let address = listener.local_addr()?;
        if self.tls.is_none() && !address.ip().is_loopback() {
            return Err(ServerError::NotLoopback(address));
        }
        let (door, tracker, overdue) = (Arc::new(self), TaskTracker::new(), CancellationToken::new());
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
                    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
                        tracing::warn!(%error, "the system gives no connection; tried again");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            let (door, router, seat) = (door.clone(), router.clone(), door.guests.arrive(from.ip()));
            let (shutdown, overdue) = (shutdown.clone(), overdue.clone());
            tracker.spawn(async move {
                tokio::select! {
                    // Whoever has to leave hears nothing more, also where the listener is being stopped.
                    biased;
                    () = overdue.cancelled() => {}
                    () = seat.has_to_leave() => {
                        if seat.is_crowded_out() {
                            door.turned_away(from, &Distrust::Crowded);
                        }
                    }
                    () = door.receive(stream, from, &seat, router, shutdown) => {}
                }
            });
        }
        drop(listener);
        tracker.close();
        if tokio::time::timeout(GRACE, tracker.wait()).await.is_err() {
            overdue.cancel();
        }
        Ok(())
    }

    /// One connection from its beginning to its end.
    async fn receive(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        seat: &Arc<Seat>,
        router: Router,
        shutdown: CancellationToken,
    ) {
        // An answer is one small write; waiting for more to send with it would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let pulse = Arc::new(Pulse::new());
        let Some(tls) = &self.tls else {
            let stream = Alive { stream, pulse: pulse.clone() };
            let known = async {
                tokio::time::sleep(self.limits.stranger_time_max).await;
                if seat.is_known() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.converse(stream, pulse, None, seat, router, shutdown) => {}
                () = known => self.turned_away(from, &Distrust::Slow(self.limits.stranger_time_max)),
            }
            return;
        };
        let shaken = tokio::time::timeout(self.limits.handshake_time_max, self.shake_hands(stream, &pulse, tls));
        let shaken = tokio::select! {
            () = shutdown.cancelled() => return,
            shaken = shaken => shaken.unwrap_or(Err(Some(Distrust::Slow(self.limits.handshake_time_max)))),
        };
        match shaken {
            Ok((stream, site, ends)) => {
                seat.is_of(&site);
                self.converse(stream, pulse, Some((PeerSite(site), ends)), seat, router, shutdown).await;
            }
            Err(Some(why)) => self.turned_away(from, &why),
            Err(None) => {}
        }
    }

    fn turned_away(&self, from: SocketAddr, why: &Distrust) {
        tracing::debug!(%from, "somebody {why}");
        if let Some(witness) = &self.witness {
            witness.turned_away(from, why);
        }
    }

    /// TLS with whoever is there; nothing to say of those who only looked whether something listens.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        pulse: &Arc<Pulse>,
        tls: &Arc<Tls>,
    ) -> Result<Known, Option<Distrust>> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1..) if first[0] == TLS_HANDSHAKE => {}
            Ok(1..) => {
                say_that_this_is_tls(stream).await;
                return Err(Some(Distrust::Plain));
            }
            _ => return Err(None),
        }
        let verdict = Verdict::default();
        let config = tls.server(verdict.clone()).map_err(|e| Some(failed(&e)))?;
        let stream = Alive { stream, pulse: pulse.clone() };
        match TlsAcceptor::from(Arc::new(config)).accept(stream).into_fallible().await {
            Ok(stream) => match verdict.take() {
                Some(Ok((site, certificate))) => {
                    if let Some(witness) = &self.witness {
                        witness.believed(&site, &certificate);
                    }
                    let ends = tls.good_until(&site, &certificate);
                    Ok((stream, site, ends))
                }
                // Cannot be: the verifier is asked in every handshake.
                _ => Err(Some(Distrust::NoCertificate)),
            },
            Err((error, stream)) => {
                let told = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(failed);
                let why = match verdict.take() {
                    Some(Err(why)) => Some(why),
                    _ => told,
                };
                linger(stream).await;
                Err(why)
            }
        }
    }

    /// Requests and answers over one connection, until it ends, is idle for too long, the bridge is stopped, or the
    /// certificate of `peer` has ended: then what waits ends, what is being answered is answered, and nothing else is.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        pulse: Arc<Pulse>,
        peer: Option<(PeerSite, u64)>,
        seat: &Arc<Seat>,
        router: Router,
        shutdown: CancellationToken,
    ) {
        let limits = &self.limits;
        let (peer, ends) = peer.unzip();
        let over = shutdown.child_token();
        let (place, stopping, busy) = (Place(seat.clone()), Stopping(over.clone()), pulse.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (mut router, answering) = (router.clone(), Answering::new(&busy));
            let mut request = request.map(Body::new);
            let extensions = request.extensions_mut();
            extensions.insert(place.clone());
            extensions.insert(stopping.clone());
            if let Some(peer) = &peer {
                extensions.insert(peer.clone());
            }
            async move {
                let answer: Result<Response, Infallible> = router.call(request).await;
                drop(answering);
                answer
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time_max)
            .max_buf_size((limits.header_bytes_max as usize).max(8 << 10))
            .max_headers(limits.headers_max);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(limits.header_bytes_max);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut stopped = pin!(over.cancelled());
        let mut outlived = pin!(async {
            match ends {
                Some(ends) => ended(ends).await,
                None => std::future::pending().await,
            }
            over.cancel();
            tokio::time::sleep(ANSWER_TIME_MAX).await;
        });
        let mut is_ending = false;
        loop {
            let idle_at = pulse.idle_at(limits.idle_time_max);
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended");
                    }
                    return;
                }
                () = &mut stopped, if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut outlived => return,
                () = tokio::time::sleep_until(idle_at.into()) => {
                    if pulse.is_idle(limits.idle_time_max) {
                        return;
                    }
                }
            }
        }
    }
}

/// A connection over TLS, whose it is, and until when that is believed.
type Known = (tokio_rustls::server::TlsStream<Alive<TcpStream>>, SiteName, u64);

/// Whether a connection lives.
struct Pulse {
    begun: Instant,
    /// When something last travelled, in milliseconds since the beginning.
    last: AtomicU64,
    /// Requests that are being answered.
    answering: AtomicUsize,
}

impl Pulse {
    fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0), answering: AtomicUsize::new(0) }
    }

    fn beat(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// When it will have been idle for `long`, if nothing happens.
    fn idle_at(&self, long: Duration) -> Instant {
        let last = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed));
        (last + long).max(Instant::now() + long / 10)
    }

    fn is_idle(&self, long: Duration) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.answering.load(Ordering::Relaxed) == 0 && self.begun.elapsed().saturating_sub(last) >= long
    }
}

/// A request that is being answered, until it is dropped.
struct Answering(Arc<Pulse>);

impl Answering {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.answering.fetch_add(1, Ordering::Relaxed);
        Self(pulse.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.beat();
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream with a pulse.
struct Alive<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Alive<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.pulse.beat();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Alive<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.pulse.beat();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if written.is_ready() {
            self.pulse.beat();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// To somebody who speaks plain HTTP to a port with TLS: what he has to change.
async fn say_that_this_is_tls(mut stream: TcpStream) {
    let error =
        "this site speaks TLS only: its url begins with https://, and who dials it needs a certificate, [tls] in \
                 the configuration"
            .to_owned();
    let body = serde_json::to_string(&ErrorBody { error }).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        linger(stream).await;
    }
}

/// Ends a connection so that the other side reads what was last said to it: a close with unread bytes would lose it.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_ok() {
        let mut left = stream.take(LINGER_BYTES_MAX);
        let _ = tokio::time::timeout(LINGER_TIME_MAX, tokio::io::copy(&mut left, &mut tokio::io::sink())).await;
    }
}
