//! The boxes of the index, and distances on the globe.
//!
//! Rows of a quarter of a degree, each cut into as many equal boxes as keep them about as wide as
//! they are high: so a circle of 50 km meets some 25 boxes anywhere, at the poles as well, and the
//! antimeridian is an edge between two boxes like any other.

use crate::model::Point;

/// The height of a box: about 28 km.
const ROW_DEGREES: f64 = 0.25;
/// Rows from pole to pole.
const ROWS: i32 = 720;
/// Boxes of a row at the equator.
const COLUMNS_AT_EQUATOR: f64 = 1_440.0;
/// The mean radius of the earth (IUGG).
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

/// A box of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GridCell {
    row: i32,
    column: i32,
}

impl std::fmt::Display for GridCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.row, self.column)
    }
}

impl GridCell {
    /// The box that a point lies in.
    pub fn of(point: Point) -> Self {
        let row = row_of(point.latitude);
        let columns = columns_of(row);
        Self { row, column: index((point.longitude + 180.0) / 360.0 * f64::from(columns)).rem_euclid(columns) }
    }

    fn centre(self) -> Point {
        Point {
            latitude: (f64::from(self.row) + 0.5) * ROW_DEGREES - 90.0,
            longitude: (f64::from(self.column) + 0.5) * 360.0 / f64::from(columns_of(self.row)) - 180.0,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a coordinate in boxes is at most a few thousand")]
fn index(boxes: f64) -> i32 {
    boxes.floor() as i32
}

fn row_of(latitude: f64) -> i32 {
    index((latitude + 90.0) / ROW_DEGREES).clamp(0, ROWS - 1)
}

/// How many boxes a row has, by its edge that is nearer to the equator.
fn columns_of(row: i32) -> i32 {
    let south = f64::from(row) * ROW_DEGREES - 90.0;
    let edge = south.abs().min((south + ROW_DEGREES).abs());
    index((COLUMNS_AT_EQUATOR * edge.to_radians().cos()).ceil()).max(1)
}

/// The great-circle distance in kilometres (haversine).
pub fn distance_km(from: Point, to: Point) -> f64 {
    let (from_latitude, to_latitude) = (from.latitude.to_radians(), to.latitude.to_radians());
    let north = ((to_latitude - from_latitude) / 2.0).sin();
    let east = ((to.longitude - from.longitude).to_radians() / 2.0).sin();
    let haversine = north * north + from_latitude.cos() * to_latitude.cos() * east * east;
    2.0 * EARTH_RADIUS_KM * haversine.sqrt().min(1.0).asin()
}

/// The distance as people see it: whole kilometres, rounded up, at least 1.
pub fn shown_km(from: Point, to: Point) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no two places are 21,000 km apart")]
    let whole = distance_km(from, to).ceil() as u32;
    whole.max(1)
}

/// All boxes that a circle meets (and some at its corners), nearest centre first.
pub fn cells_around(centre: Point, radius_km: u32) -> Vec<GridCell> {
    let angle = f64::from(radius_km) / EARTH_RADIUS_KM;
    let (south, north) = (centre.latitude - angle.to_degrees(), centre.latitude + angle.to_degrees());
    let half_width = if south <= -90.0 || north >= 90.0 {
        180.0
    } else {
        (angle.sin() / centre.latitude.to_radians().cos()).min(1.0).asin().to_degrees()
    };
    let mut cells = Vec::new();
    for row in row_of(south)..=row_of(north) {
        let columns = columns_of(row);
        let column = |longitude: f64| index((longitude + 180.0) / 360.0 * f64::from(columns));
        let (west, east) = (column(centre.longitude - half_width), column(centre.longitude + half_width));
        let east = east.min(west + columns - 1);
        cells.extend((west..=east).map(|column| GridCell { row, column: column.rem_euclid(columns) }));
    }
    let mut by_distance: Vec<(f64, GridCell)> =
        cells.into_iter().map(|cell| (distance_km(centre, cell.centre()), cell)).collect();
    by_distance.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    by_distance.into_iter().map(|(_, cell)| cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(latitude: f64, longitude: f64) -> Point {
        Point { latitude, longitude }
    }

    #[test]
    fn distances_are_those_of_the_globe() {
        let berlin_potsdam = distance_km(at(52.52, 13.405), at(52.4, 13.06));
        assert!((berlin_potsdam - 26.9).abs() < 0.5, "{berlin_potsdam}");
        let over_the_antimeridian = distance_km(at(-16.5, 179.975), at(-16.5, -179.975));
        assert!((over_the_antimeridian - 5.33).abs() < 0.05, "{over_the_antimeridian}");
        let over_the_pole = distance_km(at(89.975, 0.0), at(89.975, 180.0));
        assert!((over_the_pole - 5.56).abs() < 0.05, "{over_the_pole}");
    }

    #[test]
    fn shown_distances_are_whole_and_at_least_one() {
        assert_eq!(shown_km(at(52.525, 13.375), at(52.525, 13.375)), 1);
        assert_eq!(shown_km(at(52.525, 13.375), at(52.575, 13.375)), 6);
    }

    #[test]
    fn boxes_meet_at_the_antimeridian_and_at_the_poles() {
        assert_eq!(GridCell::of(at(10.0, 180.0)), GridCell::of(at(10.0, -180.0)));
        assert_eq!(GridCell::of(at(90.0, 0.0)).row, ROWS - 1);
        let around = cells_around(at(-16.5, 179.975), 20);
        assert!(around.contains(&GridCell::of(at(-16.5, -179.975))));
        assert!(cells_around(at(89.975, 0.0), 50).contains(&GridCell::of(at(89.975, 180.0))));
    }

    #[test]
    fn the_own_box_comes_first_or_nearly_so() {
        let here = at(52.375, 13.375);
        let place = cells_around(here, 50).iter().position(|cell| *cell == GridCell::of(here));
        assert_eq!(place, Some(0));
    }

    proptest! {
        #[test]
        fn whoever_is_in_range_is_in_a_box_that_is_walked(
            latitude in -90.0..=90.0_f64,
            longitude in -180.0..180.0_f64,
            bearing in 0.0..std::f64::consts::TAU,
            share in 0.0..=1.0_f64,
            radius_km in 1_u32..=50,
        ) {
            let (angle, here) = (f64::from(radius_km) * share / EARTH_RADIUS_KM, at(latitude, longitude));
            let (north, east) = (latitude.to_radians(), longitude.to_radians());
            let to_north = (north.sin() * angle.cos() + north.cos() * angle.sin() * bearing.cos()).clamp(-1.0, 1.0).asin();
            let to_east = east + (bearing.sin() * angle.sin() * north.cos()).atan2(angle.cos() - north.sin() * to_north.sin());
            let there = at(to_north.to_degrees(), (to_east.to_degrees() + 540.0).rem_euclid(360.0) - 180.0);
            prop_assume!(distance_km(here, there) <= f64::from(radius_km) - 1e-6);
            prop_assert!(cells_around(here, radius_km).contains(&GridCell::of(there)));
        }

        #[test]
        fn a_walk_is_short_and_meets_no_box_twice(
            latitude in -90.0..=90.0_f64, longitude in -180.0..180.0_f64, radius_km in 1_u32..=50,
        ) {
            let cells = cells_around(at(latitude, longitude), radius_km);
            let distinct: std::collections::HashSet<_> = cells.iter().collect();
            prop_assert_eq!(distinct.len(), cells.len());
            prop_assert!(cells.len() <= 64, "{}", cells.len());
        }
    }
}
