//! What each viewer and each key has open in the process: connections, and operations on them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use super::config::ClientConfig;

static OPEN: LazyLock<Mutex<HashMap<Holder, Arc<Account>>>> = LazyLock::new(Mutex::default);

/// Whose connections and operations are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// A user, by id.
    Viewer(Arc<str>),
    /// A partner's key, by its prefix.
    Key(Arc<str>),
}

/// What one holder has open. It is kept for as long as there is a connection.
pub(super) struct Account {
    connections: AtomicUsize,
    operations: AtomicUsize,
}

/// A connection's place in the accounts of all that it belongs to.
pub(super) struct Seats(Vec<Seat>);

struct Seat {
    holder: Holder,
    account: Arc<Account>,
}

/// The accounts that a connection's operations are counted in, each with its bound.
pub(super) type Accounts = Box<[(Arc<Account>, usize)]>;

/// An operation's place in those accounts.
#[derive(Default)]
pub(super) struct Shares([Option<Arc<Account>>; 2]);

impl Holder {
    fn bounds(&self, config: &ClientConfig) -> (usize, usize) {
        match self {
            Self::Viewer(_) => (config.sockets_per_viewer_max, config.operations_per_viewer_max),
            Self::Key(_) => (config.sockets_per_key_max, config.operations_per_key_max),
        }
    }
}

impl Seats {
    /// Nothing when one of the holders has too many connections already.
    pub(super) fn take(holders: Vec<Holder>, config: &ClientConfig) -> Option<Self> {
        let mut seats = Self(Vec::with_capacity(holders.len()));
        for holder in holders {
            let (connections_max, _) = holder.bounds(config);
            seats.0.push(Seat::take(holder, connections_max)?);
        }
        Some(seats)
    }

    pub(super) fn accounts(&self, config: &ClientConfig) -> Accounts {
        self.0.iter().map(|seat| (Arc::clone(&seat.account), seat.holder.bounds(config).1)).collect()
    }
}

impl Seat {
    fn take(holder: Holder, connections_max: usize) -> Option<Self> {
        let mut open = OPEN.lock();
        let account = match open.entry(holder.clone()) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(_) if connections_max == 0 => return None,
            Entry::Vacant(new) => {
                let account = Account { connections: AtomicUsize::new(0), operations: AtomicUsize::new(0) };
                Arc::clone(new.insert(Arc::new(account)))
            }
        };
        // Changed under the lock alone.
        let connections = account.connections.load(Ordering::Relaxed);
        if connections >= connections_max {
            return None;
        }
        account.connections.store(connections + 1, Ordering::Relaxed);
        Some(Self { holder, account })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = OPEN.lock();
        if self.account.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            open.remove(&self.holder);
        }
    }
}

impl Shares {
    /// Nothing when there are too many operations in one of the accounts already.
    pub(super) fn take(accounts: &[(Arc<Account>, usize)]) -> Option<Self> {
        let mut shares = Self::default();
        for ((account, operations_max), share) in accounts.iter().zip(&mut shares.0) {
            let more = |count| (count < *operations_max).then_some(count + 1);
            account.operations.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
            *share = Some(Arc::clone(account));
        }
        Some(shares)
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        for account in self.0.iter().flatten() {
            account.operations.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClientConfig {
        ClientConfig {
            sockets_per_viewer_max: 2,
            sockets_per_key_max: 1,
            operations_per_viewer_max: 3,
            operations_per_key_max: 2,
            ..ClientConfig::default()
        }
    }

    #[test]
    fn a_viewer_and_a_key_have_bounds_of_their_own() {
        let config = config();
        let (viewer, key) = (Holder::Viewer("seats-a".into()), Holder::Key("seats-a".into()));
        let both = Seats::take(vec![viewer.clone(), key.clone()], &config).unwrap();
        assert!(Seats::take(vec![viewer.clone(), key.clone()], &config).is_none(), "the key has one already");
        let second = Seats::take(vec![viewer.clone()], &config).unwrap();
        assert!(
            Seats::take(vec![viewer.clone()], &config).is_none(),
            "what was refused took nothing, and two are there"
        );

        let (both_accounts, accounts) = (both.accounts(&config), second.accounts(&config));
        let first = Shares::take(&both_accounts).unwrap();
        let _second = Shares::take(&both_accounts).unwrap();
        assert!(Shares::take(&both_accounts).is_none(), "the key may have two");
        let _third = Shares::take(&accounts).unwrap();
        assert!(Shares::take(&accounts).is_none(), "the viewer may have three, over all connections");
        drop(first);
        assert!(Shares::take(&accounts).is_some());

        drop((both, second));
        assert!(!OPEN.lock().contains_key(&viewer) && !OPEN.lock().contains_key(&key), "nothing is kept");
    }
}
