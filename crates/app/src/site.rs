//! One site, opened: configuration, keys, database and what the flow needs of them. Every verb begins here; none of them
//! puts a bridge together by itself.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use landbridge_core::message::{Push, WIRE};
use landbridge_core::{Bounds, Keyring, Scribe, SiteName};
use landbridge_flow::bridge::Pauses;
use landbridge_flow::ports::{Peer as _, Store};
use landbridge_flow::{Bridge, Limits, PeerError, PeerPolicy, Remedy};
use landbridge_http::{
    Auth, ClientError, ClientOptions, HttpPeer, PeerTls, Quotas, Tap, Tls, Token, TokenError, Witness,
};

use crate::audit::chain::Keys;
use crate::audit::{self, Record, RecordFile};
use crate::cache::Cache;
use crate::config::keyfile::load_keys;
use crate::config::{self, Audit, Config, Peer};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::tls;

/// The least that the largest message may be.
const BODY_BYTES_MIN: usize = 16 << 20;

/// One site.
pub struct Site {
    /// Its configuration.
    pub config: Config,
    /// What the flow works with. Its observer is the cache.
    pub bridge: Arc<Bridge>,
    /// What was learnt and is in no table of the site.
    pub cache: Arc<Cache>,
    /// The record of what leaves, where one is kept.
    pub record: Option<Arc<RecordFile>>,
    tls: OnceLock<Option<Arc<Tls>>>,
    /// How much each peer may still ask.
    pub quotas: Quotas,
}

impl Site {
    /// Opens the site whose configuration is at `path`. Nothing is written.
    pub async fn open(path: &Path) -> Result<Self, Failure> {
        let config = config::load(path)?;
        let keys = load_keys(&config.key_file)?;
        Self::with_keys(config, keys).await
    }

    /// Opens the site of `config` with these keys instead of those in its key file.
    pub async fn with_keys(config: Config, keys: Keyring) -> Result<Self, Failure> {
        let store = config.connectable()?.open(config.mapping.clone()).await?;
        let cache = Arc::new(Cache::beside(&config.path));
        let record = config.audit.as_ref().map(|audit| record(&config, audit, &keys, cache.clone())).transpose()?;
        Ok(Self::over(config, keys, store, cache, record.map(Arc::new)))
    }

    fn over(
        config: Config,
        keys: Keyring,
        store: Arc<dyn Store>,
        cache: Arc<Cache>,
        record: Option<Arc<RecordFile>>,
    ) -> Self {
        let (phrases, width) = (config.mapping.phrases.clone(), store.capabilities().text_chars_max);
        let scribe = Scribe::new(config.site.clone(), &config.history, phrases, keys, width);
        let peers = config.peers.iter().map(|peer| (peer.name.clone(), policy(peer))).collect();
        let mut bridge = Bridge::new(&config.history, scribe, store, peers, cache.clone());
        bridge.limits = limits(&config);
        bridge.pauses = pauses(&config);
        bridge.pairing = config.pairing;
        if let (Some(file), Some(audit)) = (&record, &config.audit) {
            bridge.egress = Arc::new(Record::new(file.clone(), audit.texts, cache.clone()));
        }
        let repairs = lock::Repairs::beside(&config.path);
        bridge.repairs = Arc::new(move |peer| repairs.of(peer));
        let shares = config.peers.iter().map(|peer| (peer.name.clone(), peer.allowance.clone()));
        let all = usize::try_from(config.limits.all_bytes_at_once_max).unwrap_or(usize::MAX);
        let quotas = Quotas::new(shares, all);
        Self { config, bridge: Arc::new(bridge), cache, record, tls: OnceLock::new(), quotas }
    }

    /// The name of the site.
    pub fn name(&self) -> &SiteName {
        &self.config.site
    }

    /// The peer of this name; a usage failure that names the peers there are, where there is none.
    pub fn peer(&self, name: &SiteName) -> Result<&Peer, Failure> {
        let known = || match &self.config.peers[..] {
            [] => "there is no [[peer]] in the configuration".to_owned(),
            peers => format!("the peers are: {}", peers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")),
        };
        let unknown = || Failure::usage(format!("{name} is no peer of site {}", self.name()), known());
        self.config.peer(name).ok_or_else(unknown)
    }

    /// The rows of an administrator's query of this site's database, each value as text.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        self.config.connectable()?.query(sql).await.map_err(|error| match error.remedy().0 {
            // What a person has to see to is the query: it may only read, and nothing of the mapping is in it.
            Remedy::Person => Failure::usage(
                format!("the query cannot be answered: {error}"),
                "correct the query: it is one `select` of this database; nothing was recorded",
            ),
            Remedy::Now | Remedy::Later => error.into(),
        })
    }

    /// The bridge of `peer`, to be called over HTTP; nothing where it has no url because it dials us. Nothing is sent
    /// yet. `tap` sees every message.
    pub fn dial(&self, peer: &Peer, tap: Option<Arc<dyn Tap>>) -> Result<Option<HttpPeer>, Failure> {
        let Some(url) = &peer.url else { return Ok(None) };
        let mut options = ClientOptions::new(url);
        options.token = token(peer)?;
        options.tls = self.tls()?.map(|tls| PeerTls {
            tls,
            peer: peer.name.clone(),
            witness: Some(self.cache.clone() as Arc<dyn Witness>),
        });
        options.body_bytes_max = self.body_bytes_max();
        let written = &self.config.limits;
        // A receipt comes for each delivery that was sent.
        let sent = Bounds { entries_max: written.batch_entries_max, deliveries_max: written.batch_problems_max };
        options.bounds = written.push.or(sent);
        options.quota = Some(self.quotas.of(&peer.name));
        options.tap = tap;
        let wrong = |e: ClientError| {
            let next = "correct its url in the configuration; one is written https://HOST:7420";
            Failure::new(Exit::Configuration, format!("[[peer]] {}: {e}", peer.name), next)
        };
        HttpPeer::new(options).map(Some).map_err(wrong)
    }

    /// Calls the bridge of `peer` with nothing to deliver.
    ///
    /// # Errors
    /// What it answered instead of a receipt for nothing.
    pub async fn greet(&self, peer: &SiteName, dialled: &HttpPeer) -> Result<(), PeerError> {
        let push = Push {
            wire: WIRE,
            from: self.name().clone(),
            to: peer.clone(),
            history: self.config.history.clone(),
            deliveries: vec![],
        };
        dialled.push(push).await.map(|_| ())
    }

    /// What this site shows over TLS, and whom it believes; nothing without `[tls]`. The files are read once.
    pub fn tls(&self) -> Result<Option<Arc<Tls>>, Failure> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let tls = tls::load(&self.config)?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }

    /// The peers and their tokens, as the listener tells them apart.
    pub fn auth(&self) -> Result<Auth, Failure> {
        let tokens: Result<Vec<_>, Failure> =
            self.config.peers.iter().map(|peer| Ok((peer.name.clone(), token(peer)?))).collect();
        Auth::new(tokens?).map_err(|e| {
            Failure::new(Exit::Configuration, e.to_string(), "correct the [[peer]] sections in the configuration")
        })
    }

    /// The largest message that is sent or taken: a batch, of which JSON writes a control character in six bytes, and
    /// what stands around it.
    pub fn body_bytes_max(&self) -> usize {
        let batch = usize::try_from(self.config.limits.batch_bytes_max).unwrap_or(usize::MAX);
        batch.saturating_mul(8).max(BODY_BYTES_MIN)
    }

    /// How the database is called in messages to people.
    pub fn database(&self) -> String {
        self.config.database.shown()
    }
}

impl Drop for Site {
    /// What was learnt is in the file before the command ends.
    fn drop(&mut self) {
        self.cache.finish();
    }
}

/// The record of a site with these keys; `cache` knows where it ended last. The file is not touched yet.
pub fn record(config: &Config, audit: &Audit, keys: &Keyring, cache: Arc<Cache>) -> Result<RecordFile, Failure> {
    let mut all = Keys::of(keys);
    if let Some(former) = audit::keys::former(&audit.file)? {
        all = all.with_former(&former);
    }
    Ok(RecordFile::new(&audit.file, all, config.site.clone(), &config.history).known_to(cache))
}

fn token(peer: &Peer) -> Result<Option<Token>, Failure> {
    let Some(token) = &peer.token else { return Ok(None) };
    token.reveal().parse().map(Some).map_err(|e: TokenError| {
        let next = "give both sites the same new token";
        Failure::new(Exit::Configuration, format!("[[peer]] {}: {e}", peer.name), next)
    })
}

fn policy(peer: &Peer) -> PeerPolicy {
    PeerPolicy { relay: peer.relay, relay_from: peer.relay_from.clone(), onward: peer.onward, paused: peer.paused }
}

fn limits(config: &Config) -> Limits {
    let written = &config.limits;
    Limits {
        batch_entries_max: written.batch_entries_max,
        batch_bytes_max: written.batch_bytes_max,
        batch_problems_max: written.batch_problems_max,
        entry_bytes_max: written.entry_bytes_max,
        ..Limits::default()
    }
}

fn pauses(config: &Config) -> Pauses {
    let pace = &config.pace;
    Pauses {
        gather: pace.gather,
        retry_first: pace.retry_first,
        retry_longest: pace.retry_longest,
        poll: pace.poll,
        sweep: pace.sweep,
        ..Pauses::default()
    }
}
