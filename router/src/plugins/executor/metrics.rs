//! Counts about executions.

use apollo_router::metrics::meter_provider;
use opentelemetry::metrics::{MeterProvider as _, ObservableCounter};

use crate::plugins::counter::Counter;

pub(super) static RUN: Counter = Counter::new("velvet.router.executor.run", "Operations that the router ran itself");
pub(super) static HANDED_OVER: Counter =
    Counter::new("velvet.router.executor.handed_over", "Operations that were begun here and ended by Apollo Router");
pub(super) static LEFT: Counter =
    Counter::new("velvet.router.executor.left", "Operations that could have been run here and were Apollo Router's");

/// The registration of the counts with one pipeline's meters; they are observed for as long as it is kept.
pub(super) struct Instruments {
    _counters: Vec<ObservableCounter<u64>>,
}

/// Registers the counts with the meters of the pipeline that is being put together.
pub(super) fn observe() -> Instruments {
    let meter = meter_provider().meter("velvet.router");
    let counters = [&RUN, &HANDED_OVER, &LEFT].map(|counter| counter.observe(&meter));
    Instruments { _counters: counters.into() }
}
