//! Counts about executions. They live in the process and survive a reload.

use std::sync::atomic::{AtomicU64, Ordering};

use apollo_router::metrics::meter_provider;
use opentelemetry::metrics::{MeterProvider as _, ObservableCounter};

/// A number that only goes up.
pub(super) struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
}

pub(super) static RUN: Counter = Counter::new("velvet.router.executor.run", "Operations that the router ran itself");
pub(super) static HANDED_OVER: Counter =
    Counter::new("velvet.router.executor.handed_over", "Operations that were begun here and ended by Apollo Router");
pub(super) static LEFT: Counter =
    Counter::new("velvet.router.executor.left", "Operations that could have been run here and were Apollo Router's");

impl Counter {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicU64::new(0) }
    }

    pub(super) fn increment(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
    }
}

/// The registration of the counts with one pipeline's meters; they are observed for as long as it is kept.
pub(super) struct Instruments {
    _counters: Vec<ObservableCounter<u64>>,
}

/// Registers the counts with the meters of the pipeline that is being put together.
pub(super) fn observe() -> Instruments {
    let meter = meter_provider().meter("velvet.router");
    let counters = [&RUN, &HANDED_OVER, &LEFT].map(|counter| {
        meter
            .u64_observable_counter(counter.name)
            .with_description(counter.help)
            .with_callback(|observer| observer.observe(counter.value.load(Ordering::Relaxed), &[]))
            .build()
    });
    Instruments { _counters: counters.into() }
}
