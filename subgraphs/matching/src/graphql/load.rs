//! Loads matches of one request together.

use crate::{
    model::{MatchDocument, MatchId},
    view::match_key,
};
use dataloader::{BatchFn, non_cached::Loader};
use std::collections::HashMap;
use velvet_kernel::{
    fault::Fault,
    store::{Store, view::Slot},
};

type Loaded = Result<Option<MatchDocument>, Fault>;

struct Batch {
    store: Store,
}

impl BatchFn<MatchId, Loaded> for Batch {
    async fn load(&mut self, ids: &[MatchId]) -> HashMap<MatchId, Loaded> {
        let keys: Vec<String> = ids.iter().map(|id| match_key(*id)).collect();
        match self.store.documents::<MatchDocument>(&keys).await {
            Ok(slots) => ids.iter().copied().zip(slots.into_iter().map(Slot::present).map(Ok)).collect(),
            Err(error) => {
                let fault = Fault::from(error);
                ids.iter().map(|id| (*id, Err(fault.clone()))).collect()
            }
        }
    }
}

/// Matches by id, in one round trip for all that a request asks for at once.
#[derive(Clone)]
pub struct MatchLoader(Loader<MatchId, Loaded, Batch>);

impl MatchLoader {
    /// A loader for one request.
    pub fn new(store: Store) -> Self {
        Self(Loader::new(Batch { store }))
    }

    /// One match; nothing when there is none.
    pub async fn load(&self, id: MatchId) -> Loaded {
        self.0.try_load(id).await.unwrap_or(Ok(None))
    }
}
