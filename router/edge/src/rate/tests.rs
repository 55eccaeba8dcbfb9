use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const EMPTY: Bucket = Bucket { level: 0, at_us: 0 };

fn limit(units: u64, burst: u64) -> Limit {
    Limit::new(units, SECOND, burst).unwrap()
}

#[test]
fn a_burst_passes_at_once_and_then_one_for_each_interval() {
    let limit = limit(10, 3);
    let mut bucket = EMPTY;
    for remaining in [2, 1, 0] {
        assert_eq!(limit.take(&mut bucket, 0, 1), Ok(()));
        assert_eq!(limit.remaining(bucket.level), remaining);
    }
    assert_eq!(limit.take(&mut bucket, 0, 1), Err(Duration::from_millis(100)));
    assert_eq!(limit.take(&mut bucket, 99_999, 1), Err(Duration::from_micros(1)));
    assert_eq!(limit.take(&mut bucket, 100_000, 1), Ok(()));
    assert_eq!(limit.take(&mut bucket, 100_000, 1), Err(Duration::from_millis(100)));
    assert_eq!((limit.burst(), limit.window()), (3, Duration::from_millis(300)));
}

#[test]
fn what_is_more_than_fits_comes_when_the_bucket_is_empty_and_is_paid_for_afterwards() {
    let limit = limit(10, 5);
    let mut bucket = EMPTY;
    assert_eq!(limit.take(&mut bucket, 0, 1), Ok(()));
    assert_eq!(limit.take(&mut bucket, 0, 20), Err(Duration::from_millis(100)));
    assert_eq!(limit.take(&mut bucket, 100_000, 20), Ok(()));
    assert_eq!(limit.remaining(bucket.level), 0);
    assert_eq!(limit.take(&mut bucket, 100_000, 1), Err(Duration::from_millis(1_600)));
    assert_eq!(limit.take(&mut bucket, 100_000, 0), Err(Duration::from_millis(1_500)), "nothing while in debt");
}

#[test]
fn a_clock_that_goes_back_gives_nothing_and_takes_nothing() {
    let limit = limit(10, 1);
    let mut bucket = Bucket { level: 0, at_us: 1_000_000 };
    assert_eq!(limit.take(&mut bucket, 1_000_000, 1), Ok(()));
    assert_eq!(limit.take(&mut bucket, 500_000, 1), Err(Duration::from_millis(100)));
}

#[test]
fn what_cannot_be_counted_is_no_limit() {
    assert_eq!(Limit::new(0, SECOND, 1), None);
    assert_eq!(Limit::new(1, SECOND, 0), None);
    assert_eq!(Limit::new(1, Duration::ZERO, 1), None);
    assert_eq!(Limit::new(1, SECOND, u64::MAX), None);
    assert!(Limit::new(100_000_000, Duration::from_mins(1), 100_000_000).is_some(), "the most that accounts allows");
    assert!(Limit::new(10_000, SECOND, 20_000).is_some());
}

#[test]
fn seconds_are_rounded_up() {
    assert_eq!(whole_seconds(Duration::ZERO), 0);
    assert_eq!(whole_seconds(Duration::from_nanos(1)), 1);
    assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
}

/// Moments in rising order, with the units that are asked for at each.
fn calls() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0_u64..400_000, 1_u64..4), 1..80).prop_map(|steps| {
        let mut now_us = 0;
        steps
            .into_iter()
            .map(|(pause_us, units)| {
                now_us += pause_us;
                (now_us, units)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn no_stretch_of_time_has_more_than_the_burst_and_the_rate(
        units in 1_u64..50, burst in 4_u64..20, calls in calls()
    ) {
        let limit = limit(units, burst);
        let mut bucket = EMPTY;
        let mut passed = Vec::new();
        for (now_us, weight) in calls {
            if limit.take(&mut bucket, now_us, weight).is_ok() {
                passed.push((now_us, weight));
            }
        }
        for (index, (from_us, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (now_us, weight) in &passed[index..] {
                sum += weight;
                prop_assert!(sum * 1_000_000 <= burst * 1_000_000 + (now_us - from_us) * units);
            }
        }
    }

    #[test]
    fn after_the_wait_it_passes_and_not_a_microsecond_before(
        units in 1_u64..50, burst in 1_u64..20, weight in 1_u64..30, calls in calls()
    ) {
        let limit = limit(units, burst);
        let mut bucket = EMPTY;
        let mut last_us = 0;
        for (now_us, weight) in calls {
            let _ = limit.take(&mut bucket, now_us, weight);
            last_us = now_us;
        }
        if let Err(wait) = limit.take(&mut bucket, last_us, weight) {
            let wait_us = u64::try_from(wait.as_micros()).unwrap();
            let mut before = bucket;
            prop_assert!(limit.take(&mut before, last_us + wait_us - 1, weight).is_err());
            prop_assert!(limit.take(&mut bucket, last_us + wait_us, weight).is_ok());
        }
    }

    #[test]
    fn those_who_share_a_limit_pass_no_more_than_one_would(
        count in 1_u64..6, units in 1_u64..50, burst in 1_u64..40, calls in calls()
    ) {
        let whole = limit(units, burst);
        let share = whole.share(count);
        let mut buckets = vec![EMPTY; usize::try_from(count).unwrap()];
        let (mut sum, mut last_us) = (0, 0);
        for (now_us, _) in calls {
            for bucket in &mut buckets {
                // Where not even one is in a share, one alone is let through and paid for.
                if share.burst() > 0 && share.take(bucket, now_us, 1).is_ok() {
                    sum += 1;
                }
            }
            last_us = now_us;
        }
        prop_assert!(sum * 1_000_000 <= burst * 1_000_000 + last_us * units);
    }
}
