//! A clock that is wrong on purpose, as a machine's may be: the fault harness sets it while a process runs.
//!
//! Debug builds alone look: `VELVET_CLOCK_SKEW_FILE` names a file with milliseconds to add. In a release the clock is right,
//! and what asks is gone.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{NoContext, Timestamp, Uuid};

/// By how much the clock is wrong.
#[cfg(debug_assertions)]
pub(super) fn now() -> TimeDelta {
    use parking_lot::Mutex;
    use std::{
        path::PathBuf,
        sync::LazyLock,
        time::{Duration, Instant},
    };
    /// A jump is seen by then.
    const LOOK_EVERY: Duration = Duration::from_millis(200);
    static FILE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("VELVET_CLOCK_SKEW_FILE").map(PathBuf::from));
    static LAST: Mutex<Option<(Instant, TimeDelta)>> = Mutex::new(None);

    let Some(file) = FILE.as_ref() else { return TimeDelta::zero() };
    let mut last = LAST.lock();
    if let Some((_, skew)) = last.filter(|(at, _)| at.elapsed() < LOOK_EVERY) {
        return skew;
    }
    let skew = std::fs::read_to_string(file).map_or(TimeDelta::zero(), |text| parse(&text));
    *last = Some((Instant::now(), skew));
    skew
}

/// Not in a release.
#[cfg(not(debug_assertions))]
pub(super) const fn now() -> TimeDelta {
    TimeDelta::zero()
}

#[cfg(debug_assertions)]
fn parse(text: &str) -> TimeDelta {
    text.trim().parse().ok().and_then(TimeDelta::try_milliseconds).unwrap_or_default()
}

/// An id at random that sorts by this time.
pub(super) fn id_of(time: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, time.timestamp_subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_unless_it_is_set_wrong() {
        assert_eq!(now(), TimeDelta::zero());
        assert_eq!(parse("-1500\n"), TimeDelta::milliseconds(-1_500));
        assert_eq!(parse("half"), TimeDelta::zero());
    }

    #[test]
    fn ids_of_a_wrong_clock_sort_by_it() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        assert!(id_of(at(1_700_000_000)) < id_of(at(1_700_000_001)));
        assert_ne!(id_of(at(1_700_000_000)), id_of(at(1_700_000_000)));
    }
}
