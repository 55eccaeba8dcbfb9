//! Whether something grows: a straight line through samples, by least squares.

/// A sample: when, in seconds, and how much.
pub type Sample = (f64, f64);

/// A line through samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    pub per_second: f64,
    pub mean: f64,
    /// How much of the samples' variance the line explains, 0 to 1; little means that they only go up and down.
    pub explained: f64,
}

/// None of fewer than three samples, or of samples at one moment.
pub fn trend(samples: &[Sample]) -> Option<Trend> {
    if samples.len() < 3 {
        return None;
    }
    let count = crate::schedule::exact(samples.len() as u64);
    let mean_of = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, mean) = (mean_of(|sample| sample.0), mean_of(|sample| sample.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| samples.iter().map(|(at, value)| of(at - time, value - mean)).sum::<f64>();
    let (times, values, both) = (sum(&|at, _| at * at), sum(&|_, value| value * value), sum(&|at, value| at * value));
    if times <= 0.0 {
        return None;
    }
    let explained = if values > 0.0 { both * both / (times * values) } else { 0.0 };
    Some(Trend { per_second: both / times, mean, explained })
}

/// Those after a part of the time: what a start brings about is no growth.
pub fn after(samples: &[Sample], part: f64) -> &[Sample] {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return samples };
    let from = first.0 + (last.0 - first.0) * part;
    &samples[samples.partition_point(|sample| sample.0 < from)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_explains_itself() {
        let samples: Vec<Sample> = (0..10).map(|at| (f64::from(at), 100.0 + 3.0 * f64::from(at))).collect();
        let trend = trend(&samples).unwrap();
        assert!((trend.per_second - 3.0).abs() < 1e-9 && (trend.explained - 1.0).abs() < 1e-9);
        assert!((trend.mean - 113.5).abs() < 1e-9);
    }

    #[test]
    fn what_only_goes_up_and_down_does_not_grow() {
        let samples: Vec<Sample> = (0..100).map(|at| (f64::from(at), f64::from(at % 2))).collect();
        let trend = trend(&samples).unwrap();
        assert!(trend.per_second.abs() < 1e-3 && trend.explained < 0.01, "{trend:?}");
    }

    #[test]
    fn nothing_is_said_of_too_little() {
        assert_eq!(trend(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(trend(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        let flat = trend(&[(0.0, 5.0), (1.0, 5.0), (2.0, 5.0)]).unwrap();
        assert!(flat.per_second.abs() < 1e-9 && flat.explained.abs() < 1e-9);
    }

    #[test]
    fn the_start_is_left_out() {
        let samples: Vec<Sample> = (0..=10).map(|at| (f64::from(at), 0.0)).collect();
        assert_eq!(after(&samples, 0.2).first().map(|sample| sample.0), Some(2.0));
        assert!(after(&[], 0.2).is_empty());
    }
}
