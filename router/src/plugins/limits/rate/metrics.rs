//! Counts of decisions; they live in the process and survive a reload.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use apollo_router::metrics::meter_provider;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{MeterProvider as _, ObservableCounter, ObservableGauge};

/// Whether this router counts by itself although it has a Redis.
pub(super) static IS_LOCAL: AtomicBool = AtomicBool::new(false);

/// Policies whose refusals are told apart.
const POLICIES: [&str; 9] =
    ["key", "key-cost", "quota", "viewer", "viewer-cost", "address", "address-cost", "operation", "operation-cost"];
static REFUSALS: [AtomicU64; POLICIES.len()] = [const { AtomicU64::new(0) }; POLICIES.len()];

/// Where calls were decided about: in Redis, by this router, by a refusal that it remembered, or by
/// what was drawn ahead.
#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    Redis,
    Local,
    Memory,
    Ahead,
}

static DECISIONS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// What one pipeline's meters show.
pub(in super::super) struct Instruments {
    _counters: [ObservableCounter<u64>; 2],
    _local: ObservableGauge<u64>,
}

pub(super) fn refused(policy: &str) {
    if let Some(index) = POLICIES.iter().position(|known| *known == policy) {
        REFUSALS[index].fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn decided(by: By) {
    DECISIONS[by as usize].fetch_add(1, Ordering::Relaxed);
}

pub(in super::super) fn observe() -> Instruments {
    let meter = meter_provider().meter("velvet.router");
    let refusals = meter
        .u64_observable_counter("velvet.router.rates.refusals")
        .with_description("Calls refused by a rate or a quota, by policy")
        .with_callback(|observer| {
            for (policy, count) in POLICIES.into_iter().zip(&REFUSALS) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    observer.observe(count, &[KeyValue::new("policy", policy)]);
                }
            }
        })
        .build();
    let decisions = meter
        .u64_observable_counter("velvet.router.rates.decisions")
        .with_description("Calls held against rates, by what decided")
        .with_callback(|observer| {
            for (by, count) in ["redis", "local", "memory", "ahead"].into_iter().zip(&DECISIONS) {
                observer.observe(count.load(Ordering::Relaxed), &[KeyValue::new("by", by)]);
            }
        })
        .build();
    let local = meter
        .u64_observable_gauge("velvet.router.rates.local")
        .with_description("1 while the router counts by itself because Redis is away")
        .with_callback(|observer| observer.observe(IS_LOCAL.load(Ordering::Relaxed).into(), &[]))
        .build();
    Instruments { _counters: [refusals, decisions], _local: local }
}
