//! Publishing and retiring operations.

use super::{Judging, Kept, PartnerState, is_newer};
use crate::{
    event::{NewOperation, PARTNER_OPERATIONS, PartnerOutcome},
    row::{Operation, OperationRow, OperationsRow},
    view::partners as view,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use velvet_kernel::fold::Version;

/// Operations that a partner may have at once.
pub(super) const OPERATIONS_LIVE_MAX: usize = 2_000;
/// Operations that are remembered, retired ones among them.
const OPERATIONS_KNOWN_MAX: usize = 4_000;
/// Rows of one decided event. A fact has 256 versions, and a record of the log a megabyte.
const ROWS_MAX: usize = 50;
/// Ids that a refusal names.
const NAMED_MAX: usize = 20;

/// What is remembered of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownOperation {
    #[serde(flatten)]
    about: Operation,
    /// SHA-256 of the body, in hex.
    body_hash: String,
}

impl KnownOperation {
    fn of(row: &OperationRow) -> Self {
        Self { about: row.about.clone(), body_hash: hash(&row.body) }
    }

    fn is_live(&self) -> bool {
        self.about.retired_at.is_none()
    }
}

fn hash(body: &str) -> String {
    format!("{:x}", Sha256::digest(body.as_bytes()))
}

impl PartnerState {
    pub(super) fn publish(
        &mut self,
        client_name: &str,
        operations: Vec<NewOperation>,
        judging: &mut Judging<'_>,
    ) -> PartnerOutcome {
        let all = operations.len();
        let mut added: Vec<NewOperation> = Vec::new();
        let mut changed: Vec<String> = Vec::new();
        for operation in operations {
            let known = self.operations.get(&operation.id);
            let beside = added.iter().find(|other| other.id == operation.id);
            let differs = known.is_some_and(|kept| kept.row.body_hash != hash(&operation.body))
                || beside.is_some_and(|other| other.body != operation.body);
            if differs {
                changed.push(operation.id);
            } else if beside.is_none() && known.is_none_or(|kept| !kept.row.is_live()) {
                added.push(operation);
            }
        }
        if !changed.is_empty() {
            changed.truncate(NAMED_MAX);
            return PartnerOutcome::OperationChanged { ids: changed };
        }
        let live = self.operations.values().filter(|kept| kept.row.is_live()).count();
        if live + added.len() > OPERATIONS_LIVE_MAX {
            return PartnerOutcome::TooManyOperations;
        }
        let count = added.len();
        if count > 0 {
            self.release += 1;
            self.add_operations(client_name, added, judging);
            judging.audit("operations.published", &format!("release {}: {count} added", self.release));
        }
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        PartnerOutcome::Published { release: self.release, added: small(count), unchanged: small(all - count) }
    }

    fn add_operations(&mut self, client_name: &str, added: Vec<NewOperation>, judging: &mut Judging<'_>) {
        let rows: Vec<OperationRow> = added
            .into_iter()
            .map(|NewOperation { id, name, kind, body, cost }| OperationRow {
                partner_id: judging.slug.id(),
                slug: judging.slug.clone(),
                about: Operation {
                    id,
                    name,
                    kind,
                    cost,
                    client_name: client_name.to_owned(),
                    release: self.release,
                    published_at: judging.at.time,
                    retired_at: None,
                },
                body,
            })
            .collect();
        for chunk in rows.chunks(ROWS_MAX) {
            self.keep_operations(chunk.to_vec(), judging);
        }
        self.forget_operations();
    }

    pub(super) fn retire(&mut self, id: &str, body: String, judging: &mut Judging<'_>) -> PartnerOutcome {
        let Some(known) = self.operations.get(id).filter(|kept| kept.row.body_hash == hash(&body)) else {
            return PartnerOutcome::OperationNotFound;
        };
        if known.row.is_live() {
            let about = Operation { retired_at: Some(judging.at.time), ..known.row.about.clone() };
            let (partner_id, slug) = (judging.slug.id(), judging.slug.clone());
            self.keep_operations(vec![OperationRow { partner_id, slug, about, body }], judging);
            judging.audit("operation.retired", id);
        }
        PartnerOutcome::Done
    }

    fn keep_operations(&mut self, rows: Vec<OperationRow>, judging: &mut Judging<'_>) {
        let version = judging.next_version();
        for row in &rows {
            for call in view::put_operation(row, version) {
                judging.effects.view(call);
            }
            self.operations.insert(row.about.id.clone(), Kept { row: KnownOperation::of(row), version });
        }
        judging.effects.decide(PARTNER_OPERATIONS, judging.owner(), &OperationsRow { operations: rows });
    }

    /// Forgets the operations that were retired first.
    fn forget_operations(&mut self) {
        while self.operations.len() > OPERATIONS_KNOWN_MAX {
            let retired = self.operations.iter().filter_map(|(id, kept)| Some((kept.row.about.retired_at?, id)));
            let Some(id) = retired.min().map(|(_, id)| id.clone()) else { break };
            self.operations.remove(&id);
        }
    }

    pub(super) fn restore_operation(&mut self, row: &OperationRow, version: Version) {
        self.release = self.release.max(row.about.release);
        if is_newer(self.operations.get(&row.about.id), version) {
            self.operations.insert(row.about.id.clone(), Kept { row: KnownOperation::of(row), version });
            self.forget_operations();
        }
    }
}
