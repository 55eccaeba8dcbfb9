//! Counts of refusals, and what operations cost.
//!
//! The counts live in the process and survive a reload, as those of `velvet.subscriptions` do. Histograms belong to the
//! meters of their pipeline and begin anew with each.

use std::sync::atomic::{AtomicU64, Ordering};

use apollo_router::metrics::meter_provider;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, MeterProvider as _, ObservableCounter, ObservableGauge};
use velvet_edge::limits::Code;

use super::{in_flight, rate};

static REFUSALS: [AtomicU64; Code::ALL.len()] = [const { AtomicU64::new(0) }; Code::ALL.len()];

/// What one pipeline's meters show.
pub(super) struct Instruments {
    estimated: Histogram<u64>,
    actual: Histogram<u64>,
    _refusals: ObservableCounter<u64>,
    _in_flight: ObservableGauge<u64>,
    _rates: rate::metrics::Instruments,
}

/// Counts a refusal.
pub(super) fn refused(code: Code) {
    REFUSALS[code as usize].fetch_add(1, Ordering::Relaxed);
}

impl Instruments {
    pub(super) fn new() -> Self {
        let meter = meter_provider().meter("velvet.router");
        let histogram =
            |name: &'static str, help: &'static str| meter.u64_histogram(name).with_description(help).build();
        let refusals = meter
            .u64_observable_counter("velvet.router.refusals")
            .with_description("Requests refused before planning, by code")
            .with_callback(|observer| {
                for code in Code::ALL {
                    let count = REFUSALS[code as usize].load(Ordering::Relaxed);
                    if count > 0 {
                        observer.observe(count, &[KeyValue::new("code", code.as_str())]);
                    }
                }
            })
            .build();
        let in_flight = meter
            .u64_observable_gauge("velvet.router.requests.in_flight")
            .with_description("Requests that are being worked on")
            .with_callback(|observer| observer.observe(in_flight::count(), &[]))
            .build();
        Self {
            estimated: histogram("velvet.router.cost.estimated", "Estimated cost of admitted operations"),
            actual: histogram("velvet.router.cost.actual", "Cost of responses"),
            _refusals: refusals,
            _in_flight: in_flight,
            _rates: rate::metrics::observe(),
        }
    }

    pub(super) fn estimated(&self, cost: u64) {
        self.estimated.record(cost, &[]);
    }

    pub(super) fn actual(&self, cost: u64) {
        self.actual.record(cost, &[]);
    }
}
