//! Subscriptions by a key, from their start to their end: the one place where they begin and end, whatever the transport.

use std::sync::Arc;

use super::metrics::FOLLOWED;
use crate::plugins::partners::Caller;

/// A running subscription of a partner; it ends with this.
pub(super) struct Followed {
    _caller: Arc<Caller>,
    _operation_id: Arc<str>,
}

impl Followed {
    pub(super) fn begin(caller: Arc<Caller>, operation_id: Arc<str>) -> Self {
        FOLLOWED.add(1);
        Self { _caller: caller, _operation_id: operation_id }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        FOLLOWED.add(-1);
    }
}
