//! What accounts decides is what `schema/events/` promises.

use anyhow::Result;
use velvet_accounts::row::{AuditRow, KeyRow, OperationsRow, PartnerRow, SessionRow, UsageRows, UserRow};
use velvet_kit::golden::reads_and_writes;

#[test]
fn decided_events_are_as_promised() -> Result<()> {
    reads_and_writes::<UserRow>(&["user.created", "user.updated", "user.located", "user.active", "user.verified"])?;
    reads_and_writes::<SessionRow>(&["session.started", "session.rotated", "session.ended"])?;
    reads_and_writes::<PartnerRow>(&["accounts.partner"])?;
    reads_and_writes::<KeyRow>(&["accounts.partner_key"])?;
    reads_and_writes::<OperationsRow>(&["accounts.partner_operations"])?;
    reads_and_writes::<AuditRow>(&["accounts.partner_audit"])?;
    reads_and_writes::<UsageRows>(&["accounts.partner_usage"])?;
    Ok(())
}
