//! Loading users by id: all that one request asks for, in one round trip.

use crate::view::{self, Seen};
use dataloader::{BatchFn, non_cached::Loader};
use std::collections::HashMap;
use velvet_kernel::{fault::Fault, id::UserId, store::Store};

/// Who is looked at, and by whom.
type Key = (UserId, UserId);
type Loaded = Result<Seen, Fault>;

/// The users that one request asks for.
#[derive(Clone)]
pub(super) struct UserLoader(Loader<Key, Loaded, Batch>);

struct Batch {
    store: Store,
}

impl UserLoader {
    pub fn new(store: Store) -> Self {
        Self(Loader::new(Batch { store }))
    }

    /// What a viewer may know of a user.
    pub async fn load(&self, viewer: UserId, user: UserId) -> Loaded {
        self.0.try_load((viewer, user)).await.unwrap_or_else(|_| Err(Fault::unavailable()))
    }
}

impl BatchFn<Key, Loaded> for Batch {
    async fn load(&mut self, keys: &[Key]) -> HashMap<Key, Loaded> {
        // A request has one viewer; should that change, each gets a batch.
        let mut by_viewer: HashMap<UserId, Vec<UserId>> = HashMap::new();
        for (viewer, user) in keys {
            by_viewer.entry(*viewer).or_default().push(*user);
        }
        let mut loaded = HashMap::with_capacity(keys.len());
        for (viewer, users) in by_viewer {
            match view::seen_by(&self.store, viewer, &users).await {
                Ok(seen) => loaded.extend(users.iter().zip(seen).map(|(user, seen)| ((viewer, *user), Ok(seen)))),
                Err(error) => {
                    let fault = Fault::from(error);
                    loaded.extend(users.iter().map(|user| ((viewer, *user), Err(fault.clone()))));
                }
            }
        }
        loaded
    }
}
