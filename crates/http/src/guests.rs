//! Who is connected: strangers, who have not yet shown who they are, and peers. Strangers have places of their own, so
//! that a crowd of them keeps no peer out, and where these are taken, whoever brought most of them loses the oldest. A peer
//! has a number of places, of which its newest connections have them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landbridge_core::SiteName;
use tokio_util::sync::CancellationToken;

/// The connections of one listener.
#[derive(Debug)]
pub struct Guests {
    strangers_max: usize,
    peer_connections_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    guests: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    crowd: IpAddr,
    site: Option<SiteName>,
    leave: Leave,
}

/// Tells a connection to end, and why.
#[derive(Debug, Clone, Default)]
struct Leave {
    now: CancellationToken,
    crowded: CancellationToken,
}

impl Guests {
    /// At most so many strangers, and connections of each peer.
    pub fn new(strangers_max: usize, peer_connections_max: usize) -> Self {
        Self { strangers_max, peer_connections_max, state: Mutex::default() }
    }

    /// Ends the connections of every site that is not in `kept`, at once.
    pub fn keep(&self, kept: impl Fn(&SiteName) -> bool) {
        for guest in self.state().guests.values() {
            if guest.site.as_ref().is_some_and(|site| !kept(site)) {
                guest.leave.now.cancel();
            }
        }
    }

    /// How many connections there are: strangers', and those of peers.
    pub fn count(&self) -> (usize, usize) {
        let state = self.state();
        let strangers = state.guests.values().filter(|guest| guest.site.is_none()).count();
        (strangers, state.guests.len() - strangers)
    }

    /// A connection from `from` comes.
    pub(crate) fn arrive(self: &Arc<Self>, from: IpAddr) -> Arc<Seat> {
        let mut state = self.state();
        let strangers: Vec<_> = state.guests.iter().filter(|(_, guest)| guest.site.is_none()).collect();
        if strangers.len() >= self.strangers_max {
            let mut crowds: BTreeMap<IpAddr, usize> = BTreeMap::new();
            strangers.iter().for_each(|(_, guest)| *crowds.entry(guest.crowd).or_default() += 1);
            let largest = crowds.values().max().copied().unwrap_or_default();
            let oldest = strangers.into_iter().find(|(_, guest)| crowds.get(&guest.crowd) == Some(&largest));
            if let Some(number) = oldest.map(|(number, _)| *number)
                && let Some(guest) = state.guests.remove(&number)
            {
                guest.leave.crowded.cancel();
                guest.leave.now.cancel();
            }
        }
        state.last += 1;
        let (number, leave) = (state.last, Leave::default());
        state.guests.insert(number, Guest { crowd: crowd(from), site: None, leave: leave.clone() });
        Arc::new(Seat { guests: self.clone(), number, leave })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    guests: Arc<Guests>,
    number: u64,
    leave: Leave,
}

impl Seat {
    /// The connection is that of `site`.
    pub(crate) fn is_of(&self, site: &SiteName) {
        let mut state = self.guests.state();
        match state.guests.get_mut(&self.number) {
            Some(guest) if guest.site.is_none() => guest.site = Some(site.clone()),
            _ => return,
        }
        let of_site = |guest: &Guest| guest.site.as_ref() == Some(site);
        let mut numbers: Vec<u64> = state.guests.iter().filter(|(_, g)| of_site(g)).map(|(n, _)| *n).collect();
        let too_many = numbers.len().saturating_sub(self.guests.peer_connections_max);
        for number in numbers.drain(..too_many) {
            if let Some(guest) = state.guests.remove(&number) {
                tracing::debug!(%site, "the oldest of too many connections of a peer is ended");
                guest.leave.now.cancel();
            }
        }
    }

    /// Whether it is known whose the connection is.
    pub(crate) fn is_known(&self) -> bool {
        self.guests.state().guests.get(&self.number).is_some_and(|guest| guest.site.is_some())
    }

    /// Returns when the connection has to end at once.
    pub(crate) async fn has_to_leave(&self) {
        self.leave.now.cancelled().await;
    }

    /// Whether that is because too many others came.
    pub(crate) fn is_crowded_out(&self) -> bool {
        self.leave.crowded.is_cancelled()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guests.state().guests.remove(&self.number);
    }
}

/// Whose address it is: one machine's, or of IPv6 one network's, which has more addresses than can be counted.
fn crowd(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    fn site(name: &str) -> SiteName {
        name.parse().unwrap()
    }

    #[test]
    fn a_crowd_loses_its_own_oldest_and_keeps_nobody_else_out() {
        let guests = Arc::new(Guests::new(3, 2));
        let (other, one, two) = (guests.arrive(ip(9)), guests.arrive(ip(1)), guests.arrive(ip(1)));
        let three = guests.arrive(ip(1));
        assert!(one.is_crowded_out() && !other.is_crowded_out() && !two.is_crowded_out());
        other.is_of(&site("N"));
        assert_eq!(guests.count(), (2, 1));
        // A peer's place is none of the strangers'.
        let four = guests.arrive(ip(1));
        assert!(!two.is_crowded_out() && guests.count() == (3, 1));
        drop((two, three, four));
        assert_eq!(guests.count(), (0, 1));
    }

    #[test]
    fn a_network_of_many_addresses_is_one_crowd() {
        let guests = Arc::new(Guests::new(2, 2));
        let six = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let (other, one) = (guests.arrive(ip(9)), guests.arrive(six(1)));
        let two = guests.arrive(six(2));
        // Of crowds of one size the oldest of all leaves; the next one of the network meets its own.
        assert!(other.is_crowded_out() && !one.is_crowded_out());
        let other = guests.arrive(ip(9));
        assert!(one.is_crowded_out() && !two.is_crowded_out() && !other.is_crowded_out());
    }

    #[test]
    fn the_newest_connections_of_a_peer_stay() {
        let guests = Arc::new(Guests::new(9, 2));
        let seats: Vec<_> = (0..3).map(|_| guests.arrive(ip(1))).collect();
        seats.iter().for_each(|seat| seat.is_of(&site("N")));
        assert!(seats[0].leave.now.is_cancelled() && !seats[1].leave.now.is_cancelled());
        assert_eq!(guests.count(), (0, 2));
        guests.keep(|kept| *kept != site("N"));
        assert!(seats[2].leave.now.is_cancelled());
    }
}
