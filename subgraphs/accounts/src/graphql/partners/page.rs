//! Pages of partners, of their operations, and of what was done with them.

use super::{Partner, PartnerOperation};
use crate::{
    row::Operation,
    view::partners::{AuditView, PartnerView},
};
use async_graphql::SimpleObject;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use velvet_kernel::{fault::Fault, graph::PageInfo, store::view::Entry};

/// The longest cursor that we read.
const CURSOR_LENGTH_MAX: usize = 512;

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    score: i64,
    id: String,
}

impl Place {
    /// Where an entry stands.
    pub fn of<T>(entry: &Entry<T>) -> Self {
        Self { score: entry.score, id: entry.id.clone() }
    }

    /// The place as a cursor.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}", self.score, self.id))
    }

    /// Reads a cursor that we made.
    pub fn parse(cursor: &str) -> Result<Self, Fault> {
        let read = || {
            let cursor = Some(cursor).filter(|cursor| cursor.len() <= CURSOR_LENGTH_MAX)?;
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            let (score, id) = text.split_once(':')?;
            Some(Self { score: score.parse().ok()?, id: id.to_owned() })
        };
        read().ok_or_else(|| Fault::invalid("this cursor was not made for this list"))
    }

    /// The place as views take it.
    pub fn as_after(&self) -> (i64, &str) {
        (self.score, &self.id)
    }
}

/// Where a page lies, and its entries with their cursors; one more than `first` was read when more follow.
pub(super) fn page<T>(
    mut entries: Vec<Entry<T>>,
    first: usize,
    has_previous_page: bool,
) -> (Vec<(String, T)>, PageInfo) {
    let has_next_page = entries.len() > first;
    entries.truncate(first);
    let edges: Vec<(String, T)> = entries.into_iter().map(|entry| (Place::of(&entry).text(), entry.value)).collect();
    let cursor = |edge: Option<&(String, T)>| edge.map(|(cursor, _)| cursor.clone());
    let page_info = PageInfo {
        has_next_page,
        has_previous_page,
        start_cursor: cursor(edges.first()),
        end_cursor: cursor(edges.last()),
    };
    (edges, page_info)
}

/// A page of partners.
#[derive(Debug, SimpleObject)]
pub(crate) struct PartnerConnection {
    /// The partners, each with its place.
    edges: Vec<PartnerEdge>,
    /// The partners alone.
    nodes: Vec<Partner>,
    /// Where the page lies.
    page_info: PageInfo,
}

/// A partner and its place.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerEdge {
    /// Its place in the list.
    cursor: String,
    /// The partner.
    node: Partner,
}

impl PartnerConnection {
    pub fn new(entries: Vec<Entry<PartnerView>>, first: usize, has_previous_page: bool) -> Self {
        let (edges, page_info) = page(entries, first, has_previous_page);
        let edges: Vec<PartnerEdge> =
            edges.into_iter().map(|(cursor, view)| PartnerEdge { cursor, node: view.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

/// A page of a partner's operations.
#[derive(Debug, SimpleObject)]
#[graphql(name = "PartnerOperationConnection")]
pub(crate) struct OperationConnection {
    /// The operations, each with its place.
    edges: Vec<OperationEdge>,
    /// The operations alone.
    nodes: Vec<PartnerOperation>,
    /// Where the page lies.
    page_info: PageInfo,
}

/// An operation and its place.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "PartnerOperationEdge")]
pub(crate) struct OperationEdge {
    /// Its place in the list.
    cursor: String,
    /// The operation.
    node: PartnerOperation,
}

impl OperationConnection {
    pub fn new(entries: Vec<Entry<Operation>>, first: usize, has_previous_page: bool) -> Self {
        let (edges, page_info) = page(entries, first, has_previous_page);
        let edges: Vec<OperationEdge> =
            edges.into_iter().map(|(cursor, operation)| OperationEdge { cursor, node: operation.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

/// Something that somebody has done with a partner.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(name = "PartnerAuditEntry")]
pub(crate) struct Audited {
    /// When.
    at: DateTime<Utc>,
    /// Who: `user:<id>`, `key:<prefix>`, or `operator` for a command with the server's configuration.
    by: String,
    /// What, such as `key.revoked`.
    action: String,
    /// What it was done to: a key's prefix, an operation's id, a release.
    subject: String,
}

/// A page of what was done with a partner.
#[derive(Debug, SimpleObject)]
#[graphql(name = "PartnerAuditConnection")]
pub(crate) struct AuditConnection {
    /// The entries, each with its place.
    edges: Vec<AuditEdge>,
    /// The entries alone.
    nodes: Vec<Audited>,
    /// Where the page lies.
    page_info: PageInfo,
}

/// An entry and its place.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "PartnerAuditEdge")]
pub(crate) struct AuditEdge {
    /// Its place in the list.
    cursor: String,
    /// The entry.
    node: Audited,
}

impl AuditConnection {
    pub fn new(entries: Vec<Entry<AuditView>>, first: usize, has_previous_page: bool) -> Self {
        let (edges, page_info) = page(entries, first, has_previous_page);
        let node = |AuditView { at, by, action, subject }| Audited { at, by, action, subject };
        let edges: Vec<AuditEdge> =
            edges.into_iter().map(|(cursor, entry)| AuditEdge { cursor, node: node(entry) }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_others_are_refused() {
        let place = Place { score: 1_790_000_000_000_000, id: "sha:1".to_owned() };
        assert_eq!(Place::parse(&place.text()).unwrap(), place);
        for odd in ["", "x", "bm9uZQ", &"a".repeat(600)] {
            assert!(Place::parse(odd).is_err(), "{odd}");
        }
    }
}
