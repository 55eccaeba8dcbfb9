//! What a process counts.

use anyhow::{Context, Result};

/// The sum of a counter over all its labels; 0 when it was never raised.
pub async fn total(url: &str, counter: &str) -> Result<f64> {
    let text = reqwest::get(format!("{url}/metrics")).await.context("asking for metrics")?.text().await?;
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(counter)?;
        let named = rest.starts_with(['{', ' ']);
        rest.rsplit(' ').next().filter(|_| named)?.parse::<f64>().ok()
    });
    Ok(values.sum())
}
