//! Which operation a call means, and whether the caller may call it.

use std::sync::Arc;

use apollo_compiler::ast::OperationType;
use velvet_edge::sha256_hex;

use super::caller::Caller;
use super::config::Mode;
use super::first_party::FirstParty;
use super::graph::{Graph, Roots};
use super::refusal::Refusal;
use super::registry::Registry;
use super::request::Meant;

/// What is to be run.
pub enum Resolved {
    /// The registered operation of that text.
    Registered {
        /// Its text.
        text: Arc<str>,
        /// What it does.
        kind: OperationType,
    },
    /// What the caller sent, as it is.
    AsSent,
}

pub(super) struct Operations<'a> {
    pub(super) registry: &'a Registry,
    pub(super) first_party: &'a FirstParty,
    pub(super) graph: &'a Graph,
}

impl Operations<'_> {
    pub(super) fn resolve(&self, caller: Option<&Caller>, meant: Meant<'_>) -> Result<Resolved, Refusal> {
        let id = match (meant.document_id, meant.hash) {
            (Some(one), Some(other)) if one != other => return Err(Refusal::Request),
            (one, other) => one.or(other),
        };
        if let (Some(id), Some(text)) = (id, meant.text)
            && id != sha256_hex(text.as_bytes())
        {
            return Err(Refusal::Mismatch);
        }
        match caller {
            Some(caller) => self.of_partner(caller, id),
            None => self.of_first_party(id, meant),
        }
    }

    fn of_partner(&self, caller: &Caller, id: Option<&str>) -> Result<Resolved, Refusal> {
        let id = id.ok_or(Refusal::OperationRequired)?;
        let operation = self.registry.operation(&caller.partner_id, id);
        let operation =
            operation.filter(|operation| operation.retired_at.is_none()).ok_or(Refusal::OperationNotFound)?;
        let roots = self.roots(&operation.body)?;
        if !roots.are_covered_by(&caller.scopes) {
            return Err(Refusal::Forbidden);
        }
        Ok(Resolved::Registered { text: Arc::clone(&operation.body), kind: roots.kind })
    }

    fn of_first_party(&self, id: Option<&str>, meant: Meant<'_>) -> Result<Resolved, Refusal> {
        if let Some(text) = id.and_then(|id| self.first_party.find(id)) {
            let kind = self.roots(&text)?.kind;
            return Ok(Resolved::Registered { text, kind });
        }
        match (self.first_party.mode, meant.text) {
            (Mode::Required, None) if id.is_some() => Err(Refusal::OperationNotFound),
            (Mode::Required, _) => Err(Refusal::OperationRequired),
            // A hash is for the router's automatic persisted queries; any other id is for nobody else.
            (_, None) if meant.document_id.is_some() => Err(Refusal::OperationNotFound),
            (Mode::Open, _) | (Mode::Logged, None) => Ok(Resolved::AsSent),
            (Mode::Logged, Some(text)) => {
                self.first_party.log(text);
                Ok(Resolved::AsSent)
            }
        }
    }

    /// What is registered was looked into when it was published; what does not parse cannot be called.
    fn roots(&self, text: &Arc<str>) -> Result<Arc<Roots>, Refusal> {
        self.graph.roots(text).map_err(|error| {
            tracing::error!(error = %error, "a registered operation cannot be read");
            Refusal::OperationNotFound
        })
    }
}
