//! How often each client may ask.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::http::Client;

/// Most clients that are told apart; those beyond share one allowance. About 4 MiB.
const MOST_CLIENTS: usize = 1 << 16;

/// At full tables, how often those that have waited long enough are forgotten.
const CLEAN_INTERVAL: Duration = Duration::from_secs(1);

/// An allowance for each client that fills up again at an even pace.
pub(super) struct RateLimit {
    /// Time that one request costs.
    cost: Duration,
    /// How far ahead of time a client may be.
    ahead: Duration,
    clients: Mutex<Clients>,
}

struct Clients {
    /// When a client's requests so far will be paid for. `None` is all clients that there was no room for.
    paid: HashMap<Option<Client>, Instant>,
    cleaned: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        let cost = Duration::from_secs_f64(1.0 / per_second);
        Self {
            cost,
            ahead: cost * burst.max(1),
            clients: Mutex::new(Clients {
                paid: HashMap::new(),
                cleaned: Instant::now(),
            }),
        }
    }

    /// Whether a client may ask now.
    pub(super) fn admits(&self, client: Client, now: Instant) -> bool {
        // Whoever has the machine has all of its sockets.
        if client == Client::Local {
            return true;
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = clients.place(network(client), now);
        let paid = clients.paid.entry(key).or_insert(now);
        let after = (*paid).max(now) + self.cost;
        let admitted = after <= now + self.ahead;
        if admitted {
            *paid = after;
        }
        admitted
    }
}

impl Clients {
    fn place(&mut self, client: Client, now: Instant) -> Option<Client> {
        let key = Some(client);
        if self.paid.len() < MOST_CLIENTS || self.paid.contains_key(&key) {
            return key;
        }
        if now.saturating_duration_since(self.cleaned) >= CLEAN_INTERVAL {
            self.cleaned = now;
            self.paid.retain(|_, paid| *paid > now);
        }
        key.filter(|_| self.paid.len() < MOST_CLIENTS)
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it.
fn network(client: Client) -> Client {
    match client {
        Client::Address(IpAddr::V6(address)) => {
            let prefix = address.to_bits() >> 64 << 64;
            Client::Address(Ipv6Addr::from_bits(prefix).into())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Client {
        Client::Address(IpAddr::V4(number.into()))
    }

    #[test]
    fn a_burst_and_then_an_even_pace() {
        let limit = RateLimit::new(10.0, 3);
        let now = Instant::now();
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        let admitted = |client, time| limit.admits(client, time);
        for _ in 0..3 {
            assert!(admitted(address(1), now));
        }
        assert!(!admitted(address(1), now));
        assert!(admitted(address(2), now));
        assert!(admitted(Client::Key(0), now));
        assert!(!admitted(address(1), at(99)));
        assert!(admitted(address(1), at(101)));
        assert!(!admitted(address(1), at(102)));
        let later = (0..10).filter(|_| admitted(address(1), at(60_000)));
        assert_eq!(later.count(), 3);
        assert!((0..100).all(|_| admitted(Client::Local, now)));
    }

    #[test]
    fn networks_of_ipv6_are_one_client() {
        let limit = RateLimit::new(1.0, 1);
        let now = Instant::now();
        let host = |network: u128, host: u128| {
            Client::Address(Ipv6Addr::from_bits(network << 64 | host).into())
        };
        assert!(limit.admits(host(1, 1), now));
        assert!(!limit.admits(host(1, 2), now));
        assert!(limit.admits(host(2, 1), now));
    }

    #[test]
    fn many_clients_take_no_more_room() {
        let limit = RateLimit::new(1.0, 1);
        let now = Instant::now();
        let most = MOST_CLIENTS as u32;
        let later = now + Duration::from_millis(1100);
        let admitted = (0..2 * most).filter(|&number| limit.admits(address(number), now));
        assert_eq!(admitted.count(), MOST_CLIENTS + 1);
        assert!(limit.admits(address(3 * most), later));
        let left = limit.clients.lock().map(|clients| clients.paid.len());
        assert_eq!(left.unwrap_or(0), 1);
    }
}
