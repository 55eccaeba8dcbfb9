//! Bugs that are planted on purpose, one at a time, to see that the fault harness finds them.
//!
//! They are compiled into debug builds alone, and wake up only where `VELVET_PLANT` names one. In a release this is
//! a constant, and what it guards is gone.

/// What goes wrong when it is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A message is acknowledged whatever its append comes to.
    AcknowledgeBeforeAppend,
    /// The writer moves its positions before it writes the rows.
    CommitBeforeRows,
    /// Now and then an event never reaches its receiver's inbox.
    LostInboxEntry,
    /// A cursor stands just before the event that it came with.
    CursorOffByOne,
    /// What follows from another domain's event gets an id at random.
    RandomReactionId,
    /// Samples are merged as if they were newer than anything.
    UnversionedMerge,
    /// A fold asks the clock.
    FoldReadsClock,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AcknowledgeBeforeAppend,
        Self::CommitBeforeRows,
        Self::LostInboxEntry,
        Self::CursorOffByOne,
        Self::RandomReactionId,
        Self::UnversionedMerge,
        Self::FoldReadsClock,
    ];

    /// As the environment names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcknowledgeBeforeAppend => "acknowledge-before-append",
            Self::CommitBeforeRows => "commit-before-rows",
            Self::LostInboxEntry => "lost-inbox-entry",
            Self::CursorOffByOne => "cursor-off-by-one",
            Self::RandomReactionId => "random-reaction-id",
            Self::UnversionedMerge => "unversioned-merge",
            Self::FoldReadsClock => "fold-reads-clock",
        }
    }
}

/// Whether a bug has been planted in this process.
#[cfg(debug_assertions)]
pub fn planted(bug: Bug) -> bool {
    static NAMED: std::sync::LazyLock<Option<Bug>> = std::sync::LazyLock::new(|| {
        let named = std::env::var("VELVET_PLANT").ok()?;
        let planted = Bug::ALL.into_iter().find(|bug| bug.name() == named)?;
        tracing::error!(bug = planted.name(), "planted");
        Some(planted)
    });
    *NAMED == Some(bug)
}

/// None is in a release.
#[cfg(not(debug_assertions))]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_planted_unless_it_is_asked_for() {
        assert!(Bug::ALL.into_iter().all(|bug| !planted(bug)));
    }
}
