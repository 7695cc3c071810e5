//! A network that loses, repeats, delays and reorders messages, and looks at every one of them.
//!
//! Messages travel as the bytes that HTTP would carry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landbridge_core::message::{
    self, Beliefs, Compare, Compared, Deliveries, Delivery, LossRecorded, Lost, Pull, Push, Receipts, Verify,
};
use landbridge_core::{Origin, ProblemId, SiteName};
use landbridge_flow::PeerError;
use landbridge_flow::error::ServeError;
use landbridge_flow::ports::{Compares, Peer, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::executor::{Dice, Spawner, Time, locked, step};

/// A body that crossed a link: from, to, problem, origin, text.
pub type Crossing = (usize, usize, ProblemId, Origin, String);

/// Who answers at a site; nobody before its first start.
pub type Answerer = Option<Arc<dyn Service>>;

/// What was seen on the network.
#[derive(Default)]
pub struct Seen {
    /// How often each body crossed each link.
    pub bodies: HashMap<Crossing, u32>,
    /// Requests and answers.
    pub messages: u64,
    /// All bytes of those messages that were not looked at yet.
    pub unread: Vec<Vec<u8>>,
}

/// The network of a world.
#[derive(Clone)]
pub struct Network {
    /// The names of the sites.
    pub sites: Arc<Vec<SiteName>>,
    /// Chance.
    pub dice: Dice,
    /// The world's time.
    pub time: Time,
    /// Runs what a site does with a message.
    pub spawner: Spawner,
    /// Whether messages get lost.
    pub lossy: Arc<AtomicBool>,
    /// Who answers at each site now.
    pub services: Arc<Mutex<Vec<Answerer>>>,
    /// Links that are cut, in either direction.
    pub cut: Arc<Mutex<Vec<(usize, usize)>>>,
    /// What was seen.
    pub seen: Arc<Mutex<Seen>>,
}

impl Network {
    fn loses(&self) -> bool {
        self.lossy.load(Ordering::Relaxed) && self.dice.one_in(15)
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        locked(&self.cut).iter().any(|(x, y)| (*x, *y) == (a, b) || (*x, *y) == (b, a))
    }

    fn look(&self, bytes: Vec<u8>) {
        let mut seen = locked(&self.seen);
        seen.messages += 1;
        seen.unread.push(bytes);
    }

    fn count(&self, from: usize, to: usize, deliveries: &[Delivery]) {
        let mut seen = locked(&self.seen);
        for delivery in deliveries {
            let Some(problem) = self.sites.get(from).and_then(|site| delivery.names.get(site)) else { continue };
            for entry in &delivery.entries {
                if let Some(text) = &entry.text {
                    let crossing = (from, to, problem.clone(), entry.origin.clone(), text.clone());
                    *seen.bodies.entry(crossing).or_default() += 1;
                }
            }
        }
    }
}

/// One end of a link: what `from` uses to speak to `to`.
pub struct SimPeer {
    /// The network.
    pub network: Network,
    /// The site that speaks.
    pub from: usize,
    /// Its name.
    pub name: SiteName,
    /// The site that answers.
    pub to: usize,
}

impl SimPeer {
    /// Carries a request there and the answer back, each as bytes, if nothing happens to them.
    async fn carry<Q, A>(&self, request: &Q, call: Call<Q, A>) -> Result<A, PeerError>
    where
        Q: Serialize + DeserializeOwned + message::Checked + Clone + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + message::Checked + Send + 'static,
    {
        let net = &self.network;
        let lost = |what: &str| PeerError::Unreachable(format!("{what} lost"));
        let bytes = message::to_bytes(request);
        net.look(bytes.clone());
        step().await;
        if net.is_cut(self.from, self.to) || net.loses() {
            return Err(lost("request"));
        }
        let arrived = self.arrive(bytes.clone(), call);
        if net.loses() {
            drop(self.arrive(bytes, call));
        }
        let answer = arrived.await.map_err(|_| lost("peer"))?;
        if net.is_cut(self.from, self.to) || net.loses() {
            return Err(lost("answer"));
        }
        match answer {
            Ok(bytes) => message::from_bytes(&bytes).map_err(|e| PeerError::Protocol(e.to_string())),
            Err(ServeError::Denied(why)) => Err(PeerError::Denied(why)),
            Err(ServeError::Malformed(why)) => Err(PeerError::Protocol(why)),
            Err(ServeError::NotNow | ServeError::NothingLeaves) => Err(PeerError::NotNow("database".into())),
        }
    }

    /// The request arrives, sooner or later, and is answered by whoever is there then.
    fn arrive<Q, A>(&self, bytes: Vec<u8>, call: Call<Q, A>) -> oneshot::Receiver<Result<Vec<u8>, ServeError>>
    where
        Q: DeserializeOwned + message::Checked + Send + 'static,
        A: Serialize + Send + 'static,
    {
        let (answer, arrived) = oneshot::channel();
        let (net, to, name) = (self.network.clone(), self.to, self.name.clone());
        let delay = if net.lossy.load(Ordering::Relaxed) { net.dice.below(4000) } else { 10 };
        self.network.spawner.spawn(to, async move {
            net.time.sleep(Duration::from_millis(delay as u64)).await;
            let service = locked(&net.services).get(to).cloned().flatten();
            let (Some(service), Ok(request)) = (service, message::from_bytes::<Q>(&bytes)) else { return };
            let answered = call(service, name, request).await.map(|a| message::to_bytes(&a));
            if let Ok(bytes) = &answered {
                net.look(bytes.clone());
            }
            // Nobody waits where the sender was killed meanwhile.
            let _ = answer.send(answered);
        });
        arrived
    }
}

type Answer<A> = std::pin::Pin<Box<dyn Future<Output = Result<A, ServeError>> + Send>>;
type Call<Q, A> = fn(Arc<dyn Service>, SiteName, Q) -> Answer<A>;

#[async_trait]
impl Peer for SimPeer {
    async fn push(&self, push: Push) -> Result<Receipts, PeerError> {
        self.network.count(self.from, self.to, &push.deliveries);
        self.carry(&push, |service, from, push| Box::pin(async move { service.push(&from, push).await })).await
    }

    async fn pull(&self, pull: Pull) -> Result<Deliveries, PeerError> {
        let answer: Deliveries =
            self.carry(&pull, |service, from, pull| Box::pin(async move { service.pull(&from, pull).await })).await?;
        self.network.count(self.to, self.from, &answer.deliveries);
        Ok(answer)
    }
}

#[async_trait]
impl Compares for SimPeer {
    async fn verify(&self, verify: Verify) -> Result<Beliefs, PeerError> {
        self.carry(&verify, |service, from, verify| Box::pin(async move { service.verify(&from, verify).await })).await
    }

    async fn compare(&self, compare: Compare) -> Result<Compared, PeerError> {
        self.carry(&compare, |service, from, compare| Box::pin(async move { service.compare(&from, compare).await }))
            .await
    }

    async fn lost(&self, lost: Lost) -> Result<LossRecorded, PeerError> {
        self.carry(&lost, |service, from, lost| Box::pin(async move { service.lost(&from, lost).await })).await
    }
}
