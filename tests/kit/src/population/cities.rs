//! The published list of cities in `dev/data/cities.csv`.

use std::path::Path;

use anyhow::{Context, Result, bail};

#[derive(Debug, Clone, PartialEq)]
pub struct City {
    pub name: String,
    pub latitude: f64,
    pub longitude: f64,
    pub population: u64,
}

/// Cities with their running totals, for picking one in proportion to its population.
#[derive(Debug)]
pub struct Cities {
    cities: Vec<City>,
    totals: Vec<u64>,
}

impl Cities {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let cities: Vec<City> = text
            .lines()
            .skip(1)
            .map(|line| parse(line).with_context(|| format!("{}: {line:?}", path.display())))
            .collect::<Result<_>>()?;
        if cities.is_empty() {
            bail!("{} names no city", path.display());
        }
        let totals = cities
            .iter()
            .scan(0, |total, city| {
                *total += city.population;
                Some(*total)
            })
            .collect();
        Ok(Self { cities, totals })
    }

    pub fn total(&self) -> u64 {
        self.totals.last().copied().unwrap_or_default()
    }

    /// Where the inhabitant with this number lives.
    pub fn home(&self, inhabitant: u64) -> &City {
        let index = self.totals.partition_point(|total| *total <= inhabitant);
        &self.cities[index.min(self.cities.len() - 1)]
    }
}

fn parse(line: &str) -> Result<City> {
    let fields: Vec<&str> = line.split(',').collect();
    let [name, _country, latitude, longitude, population] = fields[..] else { bail!("not five fields") };
    Ok(City {
        name: name.to_owned(),
        latitude: latitude.parse().context("the latitude")?,
        longitude: longitude.parse().context("the longitude")?,
        population: population.parse().context("the population")?,
    })
}
