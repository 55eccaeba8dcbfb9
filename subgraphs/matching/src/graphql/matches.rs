//! Matches and pages of them.

use super::{Conversation, User, load::MatchLoader};
use crate::model::{MatchDocument, MatchId};
use async_graphql::{Context, ID, Object, SimpleObject};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use velvet_kernel::{fault::Fault, graph::PageInfo, id::UserId, store::view::Entry};

/// Two people who like each other, as one of them sees it.
#[derive(Debug, Clone)]
pub struct Match {
    other: UserId,
    document: MatchDocument,
}

impl Match {
    /// A match as one of its partners sees it; nothing for a stranger.
    pub fn seen_by(viewer: UserId, document: MatchDocument) -> Option<Self> {
        let other = document.other(viewer)?;
        Some(Self { other, document })
    }
}

/// Two people who like each other, as one of them sees it.
#[Object]
impl Match {
    /// The match's id.
    async fn id(&self) -> ID {
        self.document.match_id.global()
    }

    /// The other one.
    async fn with(&self) -> User {
        User { id: self.other.global() }
    }

    /// When the second like came.
    async fn matched_at(&self) -> DateTime<Utc> {
        self.document.matched_at
    }

    /// Opened by the match, under an id derived from it: there when `MatchCreated` arrives, null for
    /// the moment before.
    async fn conversation(&self, ctx: &Context<'_>) -> Result<Option<Conversation>, Fault> {
        let mut open = self.document.conversation_id;
        if open.is_none()
            && let Some(loader) = ctx.data_opt::<MatchLoader>()
        {
            open = loader.load(self.document.match_id).await?.and_then(|document| document.conversation_id);
        }
        Ok(open.map(|id| Conversation { id: id.global() }))
    }
}

/// A page of matches.
#[derive(Debug, SimpleObject)]
pub struct MatchConnection {
    /// The matches, each with its place.
    edges: Vec<MatchEdge>,
    /// The matches alone.
    nodes: Vec<Match>,
    /// Where the page lies.
    page_info: PageInfo,
}

/// A match and its place.
#[derive(Debug, Clone, SimpleObject)]
pub struct MatchEdge {
    /// Its place in the list.
    cursor: String,
    /// The match.
    node: Match,
}

impl MatchConnection {
    /// A page from entries that were read, one more than `first` when more follow.
    pub fn new(viewer: UserId, mut entries: Vec<Entry<MatchDocument>>, first: usize, has_previous_page: bool) -> Self {
        let has_next_page = entries.len() > first;
        entries.truncate(first);
        let edges: Vec<MatchEdge> = entries
            .into_iter()
            .filter_map(|entry| {
                let cursor = Place { score: entry.score, id: entry.value.match_id }.text();
                Some(MatchEdge { cursor, node: Match::seen_by(viewer, entry.value)? })
            })
            .collect();
        let cursor = |edge: Option<&MatchEdge>| edge.map(|edge| edge.cursor.clone());
        let page_info = PageInfo {
            has_next_page,
            has_previous_page,
            start_cursor: cursor(edges.first()),
            end_cursor: cursor(edges.last()),
        };
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

/// A place in a list of matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When the match was made, in microseconds since 1970.
    pub score: i64,
    /// The match.
    pub id: MatchId,
}

impl Place {
    fn text(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}", self.score, self.id))
    }

    /// Reads a cursor that we made.
    pub fn parse(cursor: &str) -> Result<Self, Fault> {
        let read = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            let (score, id) = text.split_once(':')?;
            Some(Self { score: score.parse().ok()?, id: MatchId::parse(id)? })
        };
        read().ok_or_else(|| Fault::invalid("this cursor was not made for this list"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MatchStatus, Pair};
    use uuid::Uuid;

    fn entry(other: u128) -> Entry<MatchDocument> {
        let (alice, other) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(other)));
        let value = MatchDocument {
            match_id: Pair::of(alice, other).unwrap().match_id(),
            user_a_id: alice,
            user_b_id: other,
            matched_at: DateTime::UNIX_EPOCH,
            conversation_id: None,
            status: MatchStatus::Active,
        };
        Entry { id: value.match_id.to_string(), score: 5, value }
    }

    #[test]
    fn a_page_says_whether_more_follow() {
        let alice = UserId(Uuid::from_u128(1));
        let page = MatchConnection::new(alice, vec![entry(2), entry(3)], 1, false);
        assert_eq!((page.edges.len(), page.nodes.len()), (1, 1));
        assert!(page.page_info.has_next_page && !page.page_info.has_previous_page);
        let place = Place::parse(page.page_info.end_cursor.as_deref().unwrap()).unwrap();
        assert_eq!(place, Place { score: 5, id: entry(2).value.match_id });
        assert!(!MatchConnection::new(alice, vec![entry(2)], 1, true).page_info.has_next_page);
        assert_eq!(MatchConnection::new(alice, vec![], 1, false).page_info, PageInfo::default());
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for cursor in ["", "AAAA", "not base64!", &URL_SAFE_NO_PAD.encode("5:x"), &URL_SAFE_NO_PAD.encode("5")] {
            assert!(Place::parse(cursor).is_err(), "{cursor}");
        }
    }

    #[test]
    fn strangers_see_no_match() {
        assert!(Match::seen_by(UserId(Uuid::from_u128(9)), entry(2).value).is_none());
    }
}
