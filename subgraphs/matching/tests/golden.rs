//! What matching decides is what `schema/events/` promises.

use anyhow::Result;
use velvet_kit::golden::reads_and_writes;
use velvet_matching::event::{BlockDecided, MatchRow, SwipeRow};

#[test]
fn decided_events_are_as_promised() -> Result<()> {
    reads_and_writes::<SwipeRow>(&["matching.swipe"])?;
    reads_and_writes::<MatchRow>(&["matching.matched", "matching.unmatched"])?;
    reads_and_writes::<BlockDecided>(&["matching.blocked"])?;
    Ok(())
}
