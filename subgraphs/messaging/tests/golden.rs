//! What messaging decides is what `schema/events/` promises.

use anyhow::Result;
use velvet_kit::golden::reads_and_writes;
use velvet_messaging::row::{ConversationRow, MemberRow, MessageRow, ReactionRow, ReadRow};

#[test]
fn decided_events_are_as_promised() -> Result<()> {
    reads_and_writes::<ConversationRow>(&["conversation.opened", "conversation.closed"])?;
    reads_and_writes::<MemberRow>(&["conversation.joined"])?;
    reads_and_writes::<MessageRow>(&["message.sent", "message.edited", "message.deleted"])?;
    reads_and_writes::<ReactionRow>(&["message.reacted"])?;
    reads_and_writes::<ReadRow>(&["message.read"])?;
    Ok(())
}
