//! Commands that ask a peer many things in a row wait where it asks for a pause: its operator limits how much it answers in a
//! minute.

use std::time::Duration;

use async_trait::async_trait;
use landbridge_core::message::{Beliefs, Compare, Compared, LossRecorded, Lost, Verify};
use landbridge_flow::PeerError;
use landbridge_flow::ports::Compares;

/// How often in a row a command waits.
const ASKED_MAX: u32 = 10;
/// The longest pause, whatever the peer says.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What a command counts of the pauses that a peer asked for in a row.
#[derive(Debug, Default)]
pub struct Patience {
    asked: u32,
}

impl Patience {
    /// The peer answered.
    pub fn is_new(&mut self) {
        self.asked = 0;
    }

    /// Waits where the peer asks for a pause, some times in a row. Anything else is an error still.
    pub async fn wait(&mut self, failure: PeerError) -> Result<(), PeerError> {
        match failure {
            PeerError::Later { pause, .. } if self.asked < ASKED_MAX => {
                self.asked += 1;
                tokio::time::sleep(pause.min(PAUSE_MAX)).await;
                Ok(())
            }
            failure => Err(failure),
        }
    }
}

/// A peer that is asked again after the pause that it wants.
pub struct Patient<P>(pub P);

async fn patiently<A, F: Future<Output = Result<A, PeerError>>>(ask: impl Fn() -> F) -> Result<A, PeerError> {
    let mut patience = Patience::default();
    loop {
        match ask().await {
            Err(failure) => patience.wait(failure).await?,
            answer => return answer,
        }
    }
}

#[async_trait]
impl<P: Compares> Compares for Patient<P> {
    async fn verify(&self, verify: Verify) -> Result<Beliefs, PeerError> {
        patiently(|| self.0.verify(verify.clone())).await
    }

    async fn compare(&self, compare: Compare) -> Result<Compared, PeerError> {
        patiently(|| self.0.compare(compare.clone())).await
    }

    async fn lost(&self, lost: Lost) -> Result<LossRecorded, PeerError> {
        patiently(|| self.0.lost(lost.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Asks for so many pauses before it answers.
    struct Busy(AtomicU32);

    impl Busy {
        fn answer<T>(&self, answer: T) -> Result<T, PeerError> {
            let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            let later = PeerError::Later { why: "more than its share".to_owned(), pause: Duration::ZERO };
            if left.is_ok() { Err(later) } else { Ok(answer) }
        }
    }

    #[async_trait]
    impl Compares for Busy {
        async fn verify(&self, _: Verify) -> Result<Beliefs, PeerError> {
            self.answer(Beliefs { problems: vec![], after: None })
        }

        async fn compare(&self, _: Compare) -> Result<Compared, PeerError> {
            self.answer(Compared { problems: vec![] })
        }

        async fn lost(&self, _: Lost) -> Result<LossRecorded, PeerError> {
            self.answer(LossRecorded { rows: vec![] })
        }
    }

    #[tokio::test]
    async fn a_peer_that_asks_for_pauses_is_asked_again_and_not_for_ever() {
        let (one, n, history) = ("1".parse().unwrap(), "N".parse().unwrap(), "h".to_owned());
        let verify = Verify { wire: 1, from: one, to: n, history, after: None, texts: true };
        let ask = |pauses| Patient(Busy(AtomicU32::new(pauses)));
        assert!(ask(ASKED_MAX).verify(verify.clone()).await.is_ok());
        assert!(matches!(ask(ASKED_MAX + 1).verify(verify).await, Err(PeerError::Later { .. })));
    }
}
