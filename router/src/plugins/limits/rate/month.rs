//! Calendar months in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};

/// A counter is kept this much longer than its month.
const KEPT_AFTER: Duration = Duration::from_hours(72);

/// The month that a moment is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Month {
    /// As `2026-11`.
    pub(super) name: String,
    /// How long it is.
    pub(super) length: Duration,
    /// How long it still goes on.
    pub(super) left: Duration,
}

impl Month {
    pub(super) fn now() -> Self {
        Self::of(SystemTime::now())
    }

    fn of(now: SystemTime) -> Self {
        let date = DateTime::<Utc>::from(now).date_naive();
        let first = date.with_day(1).unwrap_or(date);
        let next = first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        let length = (next - first).to_std().unwrap_or_default();
        let end = since_epoch(next);
        let left = end.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        Self { name: first.format("%Y-%m").to_string(), length, left }
    }

    /// How long a counter of the month is kept.
    pub(super) fn lifetime(&self) -> Duration {
        self.left + KEPT_AFTER
    }
}

fn since_epoch(date: NaiveDate) -> Duration {
    (date - NaiveDate::default()).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Month {
        Month::of(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        const DAY: Duration = Duration::from_hours(24);
        // 2026-11-21T12:00:00Z
        let november = at(1_795_262_400);
        assert_eq!(november, Month { name: "2026-11".to_owned(), length: 30 * DAY, left: 19 * DAY / 2 });
        // The last second of 2027, and the first of 2028.
        assert_eq!(
            at(1_830_297_599),
            Month { name: "2027-12".to_owned(), length: 31 * DAY, left: Duration::from_secs(1) }
        );
        assert_eq!(at(1_830_297_600), Month { name: "2028-01".to_owned(), length: 31 * DAY, left: 31 * DAY });
        assert_eq!(at(1_832_976_000).length, 29 * DAY);
    }
}
