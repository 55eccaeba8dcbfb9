//! Counts for the Prometheus endpoint.
//!
//! They live in the process and Apollo Router's meters observe them, so a reload, which replaces the meters, neither
//! loses nor resets them.

use std::sync::atomic::{AtomicI64, Ordering};

use apollo_router::metrics::meter_provider;
use opentelemetry::metrics::{MeterProvider as _, ObservableCounter, ObservableGauge};

use crate::plugins::counter::Counter;

/// A number that goes up and down.
pub(super) struct Gauge {
    name: &'static str,
    help: &'static str,
    value: AtomicI64,
}

pub(super) static SOCKETS: Gauge = Gauge::new("velvet.router.sockets", "Open client sockets and streams");
pub(super) static OPERATIONS: Gauge =
    Gauge::new("velvet.router.operations", "Running operations on client sockets and streams");
pub(super) static FOLLOWED: Gauge =
    Gauge::new("velvet.router.partners.subscriptions", "Running subscriptions of partners' keys");
pub(super) static UPSTREAM_SOCKETS: Gauge = Gauge::new("velvet.router.upstream.sockets", "Open sockets to subgraphs");
pub(super) static FORWARDED: Counter = Counter::new("velvet.router.events.forwarded", "Events sent on as they came");
pub(super) static PROJECTED: Counter = Counter::new("velvet.router.events.projected", "Events cut to what was asked");
pub(super) static EXECUTED: Counter =
    Counter::new("velvet.router.events.executed", "Events completed by other subgraphs");
pub(super) static SHARED_STREAMS: Gauge =
    Gauge::new("velvet.router.streams.shared", "Streams that all their followers have in common");
pub(super) static COALESCED: Counter =
    Counter::new("velvet.router.fetches.coalesced", "Fetches within an event that another execution of it had made");
pub(super) static SLOW_CLOSES: Counter =
    Counter::new("velvet.router.sockets.slow", "Sockets and streams closed as too slow");
pub(super) static UPSTREAM_RECONNECTS: Counter =
    Counter::new("velvet.router.upstream.reconnects", "Sockets to subgraphs opened again after a loss");

impl Gauge {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicI64::new(0) }
    }

    pub(super) fn add(&self, count: i64) {
        self.value.fetch_add(count, Ordering::Relaxed);
    }
}

/// The registration of the counts with one pipeline's meters; they are observed for as long as it is kept.
pub(super) struct Instruments {
    _gauges: Vec<ObservableGauge<i64>>,
    _counters: Vec<ObservableCounter<u64>>,
}

/// Registers the counts with the meters of the pipeline that has just gone live.
pub(super) fn observe() -> Instruments {
    let meter = meter_provider().meter("velvet.router");
    let gauges = [&SOCKETS, &OPERATIONS, &FOLLOWED, &SHARED_STREAMS, &UPSTREAM_SOCKETS].map(|gauge| {
        meter
            .i64_observable_gauge(gauge.name)
            .with_description(gauge.help)
            .with_callback(|observer| observer.observe(gauge.value.load(Ordering::Relaxed), &[]))
            .build()
    });
    let counters = [&FORWARDED, &PROJECTED, &EXECUTED, &COALESCED, &SLOW_CLOSES, &UPSTREAM_RECONNECTS]
        .map(|counter| counter.observe(&meter));
    Instruments { _gauges: gauges.into(), _counters: counters.into() }
}
