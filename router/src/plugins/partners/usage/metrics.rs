//! Counts about the counting.

use apollo_router::metrics::meter_provider;
use opentelemetry::metrics::{MeterProvider as _, ObservableCounter, ObservableGauge};

use super::UNDELIVERED;
use crate::plugins::counter::Counter;

pub(super) static RECORDS: Counter =
    Counter::new("velvet.router.usage.records", "Calls of partners that were to be counted");
pub(super) static LATE: Counter =
    Counter::new("velvet.router.usage.late", "Answers to partners that went out before their call was counted");
pub(super) static LOST: Counter =
    Counter::new("velvet.router.usage.lost", "Calls of partners that could not be counted, for good");
pub(super) static RETRIES: Counter =
    Counter::new("velvet.router.usage.retries", "Batches of counted calls that had to be sent again");

/// The registration of the counts with one pipeline's meters; they are observed for as long as it is kept.
pub(in super::super) struct Instruments {
    _counters: Vec<ObservableCounter<u64>>,
    _undelivered: ObservableGauge<u64>,
}

/// Registers the counts with the meters of the pipeline that is being put together.
pub(in super::super) fn observe() -> Instruments {
    let meter = meter_provider().meter("velvet.router");
    let counters = [&RECORDS, &LATE, &LOST, &RETRIES].map(|counter| counter.observe(&meter));
    let undelivered = meter
        .u64_observable_gauge("velvet.router.usage.undelivered")
        .with_description("Calls of partners that are not in the log yet")
        .with_callback(|observer| observer.observe(*UNDELIVERED.borrow(), &[]))
        .build();
    Instruments { _counters: counters.into(), _undelivered: undelivered }
}
