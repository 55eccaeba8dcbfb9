//! The last word on an operation that is published: it is validated and planned against the supergraph.

use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tower::BoxError;

use crate::check::{Checker, Unfit};

pub(super) struct Planning {
    sdl: Arc<String>,
    /// Made for the first who publishes: most routers' processes never need one.
    checker: OnceCell<Arc<Checker>>,
    permits: Semaphore,
}

impl Planning {
    pub(super) fn new(sdl: Arc<String>, publishing_max: usize) -> Self {
        Self { sdl, checker: OnceCell::new(), permits: Semaphore::new(publishing_max.max(1)) }
    }

    pub(super) async fn checker(&self) -> Result<Arc<Checker>, BoxError> {
        let made = self.checker.get_or_try_init(|| async {
            let sdl = Arc::clone(&self.sdl);
            tokio::task::spawn_blocking(move || Checker::new(&sdl).map(Arc::new)).await?
        });
        made.await.cloned()
    }

    /// One of the few places to plan in.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }
}

/// What the operation costs, or what is wrong with it, in words for whoever publishes it. Takes a processor.
pub(super) fn check(checker: &Checker, text: &str) -> Result<u32, Vec<String>> {
    match checker.check(text) {
        Ok(fit) => Ok(u32::try_from(fit.cost).unwrap_or(u32::MAX)),
        Err(Unfit::Invalid(problems)) => Err(problems.into_iter().map(|problem| problem.message).collect()),
        Err(Unfit::NoCost(_)) => Err(vec!["the operation's cost cannot be told".to_owned()]),
        Err(Unfit::NoPlan(reason)) => {
            tracing::warn!(error = %reason, "a published operation has no plan");
            Err(vec!["the operation cannot be planned".to_owned()])
        }
    }
}
