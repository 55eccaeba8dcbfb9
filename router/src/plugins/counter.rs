//! Numbers that only go up. They live in the process and the meters of each pipeline observe them, so a reload, which
//! replaces the meters, neither loses nor resets them.

use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::metrics::{Meter, ObservableCounter};

pub struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
}

impl Counter {
    /// One that stands at zero.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicU64::new(0) }
    }

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
    }

    /// Has a meter observe it, for as long as what comes of it is kept.
    pub fn observe(&'static self, meter: &Meter) -> ObservableCounter<u64> {
        meter
            .u64_observable_counter(self.name)
            .with_description(self.help)
            .with_callback(|observer| observer.observe(self.value.load(Ordering::Relaxed), &[]))
            .build()
    }
}
