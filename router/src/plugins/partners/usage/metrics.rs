//! Counts about the counting. They live in the process and survive a reload.

use std::sync::atomic::{AtomicU64, Ordering};

use apollo_router::metrics::meter_provider;
use opentelemetry::metrics::{MeterProvider as _, ObservableCounter, ObservableGauge};

use super::UNDELIVERED;

/// A number that only goes up.
pub(super) struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
}

pub(super) static RECORDS: Counter =
    Counter::new("velvet.router.usage.records", "Calls of partners that were to be counted");
pub(super) static LATE: Counter =
    Counter::new("velvet.router.usage.late", "Answers to partners that went out before their call was counted");
pub(super) static LOST: Counter =
    Counter::new("velvet.router.usage.lost", "Calls of partners that could not be counted, for good");
pub(super) static RETRIES: Counter =
    Counter::new("velvet.router.usage.retries", "Batches of counted calls that had to be sent again");

impl Counter {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicU64::new(0) }
    }

    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
    }
}

/// The registration of the counts with one pipeline's meters; they are observed for as long as it is kept.
pub(in super::super) struct Instruments {
    _counters: Vec<ObservableCounter<u64>>,
    _undelivered: ObservableGauge<u64>,
}

/// Registers the counts with the meters of the pipeline that is being put together.
pub(in super::super) fn observe() -> Instruments {
    let meter = meter_provider().meter("velvet.router");
    let counters = [&RECORDS, &LATE, &LOST, &RETRIES].map(|counter| {
        meter
            .u64_observable_counter(counter.name)
            .with_description(counter.help)
            .with_callback(|observer| observer.observe(counter.value.load(Ordering::Relaxed), &[]))
            .build()
    });
    let undelivered = meter
        .u64_observable_gauge("velvet.router.usage.undelivered")
        .with_description("Calls of partners that are not in the log yet")
        .with_callback(|observer| observer.observe(*UNDELIVERED.borrow(), &[]))
        .build();
    Instruments { _counters: counters.into(), _undelivered: undelivered }
}
