//! One call with a key, from its coming until it is counted.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use apollo_router::services::router;

use super::outcome::Outcome;
use super::tallies::Record;
use super::{Receipt, Usage};
use crate::plugins::limits;
use crate::plugins::partners::caller::Caller;
use crate::plugins::partners::request::Meant;

/// A call that is not answered yet. One that is dropped was given up, by its caller or by us: it counts as an error.
pub struct Call {
    usage: Arc<Usage>,
    caller: Arc<Caller>,
    operation: Option<Arc<str>>,
    started: Instant,
    counted: bool,
}

impl Call {
    pub(in super::super) fn begin(usage: &Arc<Usage>, caller: &Arc<Caller>, started: Instant) -> Self {
        Self { usage: Arc::clone(usage), caller: Arc::clone(caller), operation: None, started, counted: false }
    }

    /// Says which operation is meant. One that the partner never registered is nobody's.
    pub fn means(&mut self, meant: Meant<'_>) {
        if let Some(id) = meant.document_id.or(meant.hash) {
            let operation = self.usage.registry.operation(&self.caller.partner_id, id);
            self.operation = operation.map(|operation| Arc::clone(&operation.id));
        }
    }

    /// Nothing is counted: the call is counted elsewhere.
    pub fn forget(mut self) {
        self.counted = true;
    }

    /// Counts the call by its answer, which may be given after this.
    pub(in super::super) fn answered_by(self, response: &router::Response) -> impl Future<Output = ()> + use<> {
        let cost = limits::cost(&response.context);
        self.answered(Outcome::of(response), cost)
    }

    /// Counts the call; its answer may be given after this.
    pub async fn answered(mut self, outcome: Outcome, cost: Option<limits::Cost>) {
        let receipt = self.count(outcome, cost);
        self.usage.settled(receipt).await;
    }

    fn count(&mut self, outcome: Outcome, cost: Option<limits::Cost>) -> Receipt {
        self.counted = true;
        self.usage.record(&Record {
            partner: &self.caller.partner_id,
            key: &self.caller.prefix,
            operation: self.operation.as_ref(),
            outcome,
            took: self.started.elapsed(),
            cost: cost.filter(|_| outcome.is_let_through()).unwrap_or_default(),
            at: SystemTime::now().into(),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.counted {
            drop(self.count(Outcome::Error, None));
        }
    }
}
