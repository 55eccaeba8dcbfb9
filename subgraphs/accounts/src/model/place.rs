//! Where somebody is, as coarsely as it is ever known.

use super::Parsed;
use serde::{Deserialize, Serialize};

/// The side of a cell of the grid, in thousandths of a degree: about 5.5 km from south to north.
pub const CELL_SIZE_MILLIDEGREES: i32 = 50;

/// A cell of the grid, named by its middle. The exact point is forgotten where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Degrees north, of the middle.
    pub latitude: f64,
    /// Degrees east, of the middle.
    pub longitude: f64,
}

/// Degrees north: -90 to 90.
pub fn latitude(degrees: f64) -> Parsed<f64> {
    if (-90.0..=90.0).contains(&degrees) { Ok(degrees) } else { Err("must be from -90 to 90 degrees".into()) }
}

/// Degrees east: -180 to 180.
pub fn longitude(degrees: f64) -> Parsed<f64> {
    if (-180.0..=180.0).contains(&degrees) { Ok(degrees) } else { Err("must be from -180 to 180 degrees".into()) }
}

impl Cell {
    /// The cell that a point lies in. 180 degrees east is the same meridian as 180 west.
    pub fn snap(latitude: f64, longitude: f64) -> Self {
        let east = if longitude >= 180.0 { -180.0 } else { longitude };
        Self { latitude: middle(latitude, 90), longitude: middle(east, 180) }
    }
}

/// The middle of the cell that a coordinate lies in; the last cell holds its outer edge as well.
#[expect(clippy::cast_possible_truncation, reason = "a coordinate is at most 180, its cell at most 3600")]
fn middle(degrees: f64, limit_degrees: i32) -> f64 {
    let cells = limit_degrees * 1000 / CELL_SIZE_MILLIDEGREES;
    let index = (degrees * 1000.0 / f64::from(CELL_SIZE_MILLIDEGREES)).floor() as i32;
    let index = index.clamp(-cells, cells - 1);
    f64::from(index * CELL_SIZE_MILLIDEGREES + CELL_SIZE_MILLIDEGREES / 2) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn coordinates_end_where_the_globe_does() {
        assert!(latitude(90.0).is_ok() && latitude(-90.0).is_ok());
        assert!(latitude(90.000_001).is_err() && latitude(-90.000_001).is_err());
        assert!(longitude(180.0).is_ok() && longitude(-180.0).is_ok());
        assert!(longitude(180.000_001).is_err() && longitude(-180.000_001).is_err());
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(latitude(odd).is_err() && longitude(odd).is_err());
        }
    }

    #[test]
    fn a_point_is_known_by_its_cell_alone() {
        assert_eq!(Cell::snap(52.5163, 13.3777), Cell { latitude: 52.525, longitude: 13.375 });
        assert_eq!(Cell::snap(52.5299, 13.3501), Cell::snap(52.5163, 13.3777));
        assert_eq!(Cell::snap(90.0, 180.0), Cell { latitude: 89.975, longitude: -179.975 });
        assert_eq!(Cell::snap(-90.0, -180.0), Cell { latitude: -89.975, longitude: -179.975 });
    }

    proptest! {
        #[test]
        fn snapping_stays_near_and_is_final(north in -90.0..=90.0_f64, east in -180.0..180.0_f64) {
            let cell = Cell::snap(north, east);
            prop_assert!((cell.latitude - north).abs() <= 0.025_001);
            prop_assert!((cell.longitude - east).abs() <= 0.025_001);
            prop_assert_eq!(Cell::snap(cell.latitude, cell.longitude), cell);
        }
    }
}
