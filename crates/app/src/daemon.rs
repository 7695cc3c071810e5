//! The bridge at work: one task that watches the database, for each peer one that delivers and one that fetches, and the
//! listener. What each of them does is the flow's; here they are started, stopped and told what is wished.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use landbridge_core::SiteName;
use landbridge_flow::exchange::{Answering, deliver, fetch};
use landbridge_flow::line::Line;
use landbridge_flow::ports::Clock;
use landbridge_flow::watch::watch;
use landbridge_http::guests::Guests;
use landbridge_http::{Door, ListenLimits, ServerError, ServerOptions, Tap, Witness, router};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cache::Wish;
use crate::exit::{Exit, Failure};
use crate::site::Site;

/// The clock of the machine. It makes pauses and decides nothing.
pub struct TokioClock(Instant);

impl TokioClock {
    /// A clock that begins now.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

/// What a daemon may be given from outside. By default nothing.
#[derive(Default)]
pub struct DaemonOptions {
    /// A listener that is bound already, instead of the address in the configuration.
    pub listener: Option<Arc<TcpListener>>,
    /// Whether another one of this process goes on in it: its counters do not begin again.
    pub goes_on: bool,
    /// Sees every message that this site sends and every answer to it.
    pub tap: Option<Arc<dyn Tap>>,
}

/// A running bridge. Dropped, it ends at once; that loses nothing.
pub struct Daemon {
    /// Where it listens.
    pub local_addr: Option<SocketAddr>,
    /// Whether it speaks TLS there.
    pub speaks_tls: bool,
    listener: Option<Arc<TcpListener>>,
    guests: Option<Arc<Guests>>,
    stop: CancellationToken,
    server: Option<tokio::task::JoinHandle<Result<(), ServerError>>>,
    work: JoinSet<()>,
}

impl Daemon {
    /// Starts the bridge of `site`. Where it fails, nothing has begun.
    pub async fn start(site: &Site, options: DaemonOptions) -> Result<Self, Failure> {
        let bridge = site.bridge.clone();
        let mut dialled = Vec::new();
        for peer in site.config.peers.iter().filter(|peer| !peer.paused) {
            if let Some(called) = site.dial(peer, options.tap.clone())? {
                dialled.push((peer, Arc::new(called)));
            }
        }
        let (auth, tls) = (site.auth()?, site.tls()?);
        let listener = match options.listener {
            Some(listener) => Some(listener),
            None => listen(site.config.listen).await?.map(Arc::new),
        };
        let local_addr = listener.as_ref().map(|listener| listener.local_addr()).transpose()?;
        let speaks_tls = tls.is_some();

        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let lines: Vec<_> = bridge.peers.keys().map(|peer| Arc::new(Line::new(&bridge, peer.clone()))).collect();
        let (stop, mut work) = (CancellationToken::new(), JoinSet::new());
        site.cache.begin(!options.goes_on);
        for (peer, dialled) in dialled {
            for line in lines.iter().filter(|line| *line.peer() == peer.name) {
                let own = || (bridge.clone(), line.clone(), dialled.clone(), clock.clone());
                let (bridge, line, dialled, clock) = own();
                work.spawn(async move { deliver(&bridge, &line, dialled.as_ref(), clock.as_ref()).await });
                if peer.pull {
                    let (bridge, line, dialled, clock) = own();
                    work.spawn(async move { fetch(&bridge, &line, dialled.as_ref(), clock.as_ref()).await });
                }
            }
        }
        work.spawn(heed_wishes(site.cache.wishes(), lines.clone(), bridge.pauses.poll));

        let (mut server, mut guests) = (None, None);
        if let Some(listener) = &listener {
            let mut allowed = ServerOptions::new(auth);
            allowed.body_bytes_max = site.body_bytes_max();
            allowed.bounds = site.config.limits.push;
            allowed.quotas = site.quotas.clone();
            let service = Arc::new(Answering::new(bridge.clone(), &lines, clock.clone()));
            let witness: Arc<dyn Witness> = site.cache.clone();
            let door = Door::new(tls, ListenLimits::default(), Some(witness));
            guests = Some(door.guests().clone());
            server = Some(tokio::spawn(door.serve(listener.clone(), router(service, allowed), stop.clone())));
        }
        work.spawn(async move { watch(&bridge, &lines, clock.as_ref()).await });
        Ok(Self { local_addr, speaks_tls, listener, guests, stop, server, work })
    }

    /// The listener, for whoever goes on in this one's place.
    pub fn listener(&self) -> Option<Arc<TcpListener>> {
        self.listener.clone()
    }

    /// Another one has taken this one's place. Nothing more is sent, waiting pulls end, and whoever is not `kept` is cut
    /// off at once. What the others are just sending gets a little time, in the background.
    pub fn retire(mut self, kept: impl Fn(&SiteName) -> bool) {
        self.work.abort_all();
        if let Some(guests) = &self.guests {
            guests.keep(kept);
        }
        self.stop.cancel();
        tokio::spawn(self.stop());
    }

    /// Returns when some part of the bridge has ended although it should run for ever.
    pub async fn failed(&mut self) -> Failure {
        let ended = |why: String| Failure::new(Exit::Left, why, "start it again, and report what is logged above");
        let server = async {
            match &mut self.server {
                Some(server) => server.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(_) = self.work.join_next() => ended("a part of the bridge ended, which should not happen".to_owned()),
            served = server => match served {
                Ok(Err(error)) => ended(error.to_string()),
                _ => ended("the listener ended, which should not happen".to_owned()),
            },
        }
    }

    /// Stops the bridge: nothing new begins, and what peers are just sending gets a little time. What is under way
    /// towards peers is broken off; it is sent again next time and recognised.
    pub async fn stop(mut self) {
        self.work.shutdown().await;
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            match server.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("{error}"),
                Err(error) => tracing::warn!("the listener ended early: {error}"),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = address else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => Failure::new(
            Exit::Configuration,
            format!("another program listens on {address} already"),
            "stop it if it is a bridge of this site, or give [listen] another port and tell the peers",
        ),
        _ => Failure::new(
            Exit::Configuration,
            format!("this site cannot listen on {address}: {e}"),
            "correct [listen] address in the configuration",
        ),
    })
}

/// Tries refused entries as soon as an operator asks for it (`landbridge retry`).
async fn heed_wishes(mut wishes: crate::cache::Wishes, lines: Vec<Arc<Line>>, poll: Duration) {
    loop {
        tokio::time::sleep(poll).await;
        let looked = tokio::task::spawn_blocking(move || {
            let wished = wishes.next();
            (wishes, wished)
        });
        let Ok((back, wished)) = looked.await else { return };
        wishes = back;
        for (_, wish) in wished {
            let Wish::Retry(wish) = wish else { continue };
            tracing::info!(peer = wish.as_ref().map_or("all", |peer| peer.as_str()), "refused entries are tried now");
            lines
                .iter()
                .filter(|line| wish.as_ref().is_none_or(|peer| peer == line.peer()))
                .for_each(|line| line.retry());
        }
    }
}
