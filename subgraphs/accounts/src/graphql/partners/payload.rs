//! What comes of what is asked of partners.

use super::{Partner, PartnerKey, PartnerOperation};
use async_graphql::{SimpleObject, Union};
use velvet_kernel::graph::{InputInvalid, UserNotFound};

/// The partner is made.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerCreated {
    /// The partner.
    pub partner: Partner,
}

/// There is a partner of this slug.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerExists {
    /// One sentence for the developer.
    pub reason: String,
}

/// What came of `createPartner`.
#[derive(Debug, Clone, Union)]
pub(crate) enum CreatePartnerResult {
    /// The partner is made.
    PartnerCreated(Box<PartnerCreated>),
    /// There is a partner of this slug.
    PartnerExists(PartnerExists),
    /// There is no user to act as.
    UserNotFound(UserNotFound),
    /// The input is out of its bounds.
    InputInvalid(InputInvalid),
}

/// The partner is as was asked for.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerUpdated {
    /// The partner.
    pub partner: Partner,
}

/// There is no partner of this slug.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerNotFound {
    /// One sentence for the developer.
    pub reason: String,
}

impl Default for PartnerNotFound {
    fn default() -> Self {
        Self { reason: "there is no such partner".to_owned() }
    }
}

/// What came of `updatePartner`.
#[derive(Debug, Clone, Union)]
pub(crate) enum UpdatePartnerResult {
    /// The partner is as was asked for.
    PartnerUpdated(Box<PartnerUpdated>),
    /// There is no such partner.
    PartnerNotFound(PartnerNotFound),
    /// There is no user to act as.
    UserNotFound(UserNotFound),
    /// The input is out of its bounds; nothing has changed.
    InputInvalid(InputInvalid),
}

/// The key is made.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerKeyCreated {
    /// What is kept of it.
    pub key: PartnerKey,
    /// The key itself, this once: a repeat of the request gets null.
    pub secret: Option<String>,
}

/// The partner has as many keys as it may: 20 that are good.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct TooManyPartnerKeys {
    /// One sentence for the developer.
    pub reason: String,
}

impl Default for TooManyPartnerKeys {
    fn default() -> Self {
        Self { reason: "the partner has as many keys as it may; revoke one".to_owned() }
    }
}

/// What came of `createPartnerKey`.
#[derive(Debug, Clone, Union)]
pub(crate) enum CreatePartnerKeyResult {
    /// The key is made.
    PartnerKeyCreated(Box<PartnerKeyCreated>),
    /// There is no such partner.
    PartnerNotFound(PartnerNotFound),
    /// The partner has as many keys as it may.
    TooManyPartnerKeys(TooManyPartnerKeys),
    /// The input is out of its bounds.
    InputInvalid(InputInvalid),
}

/// The key has another in its place, and ends after the overlap.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerKeyRotated {
    /// What is kept of the new one.
    pub key: PartnerKey,
    /// The new key itself, this once: a repeat of the request gets null.
    pub secret: Option<String>,
    /// The old one, and when it ends.
    pub replaced: Option<PartnerKey>,
}

/// The partner has no such key that is good.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerKeyNotFound {
    /// One sentence for the developer.
    pub reason: String,
}

impl Default for PartnerKeyNotFound {
    fn default() -> Self {
        Self { reason: "the partner has no such key that is good".to_owned() }
    }
}

/// What came of `rotatePartnerKey`.
#[derive(Debug, Clone, Union)]
pub(crate) enum RotatePartnerKeyResult {
    /// The key has another in its place.
    PartnerKeyRotated(Box<PartnerKeyRotated>),
    /// There is no such key that is good.
    PartnerKeyNotFound(PartnerKeyNotFound),
    /// The partner has as many keys as it may.
    TooManyPartnerKeys(TooManyPartnerKeys),
    /// The input is out of its bounds.
    InputInvalid(InputInvalid),
}

/// The key lets nobody in any more.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PartnerKeyRevoked {
    /// What is kept of it.
    pub key: PartnerKey,
}

/// What came of `revokePartnerKey`.
#[derive(Debug, Clone, Union)]
pub(crate) enum RevokePartnerKeyResult {
    /// The key lets nobody in any more.
    PartnerKeyRevoked(Box<PartnerKeyRevoked>),
    /// There is no such key.
    PartnerKeyNotFound(PartnerKeyNotFound),
}

/// The operation is not to be called any more.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct OperationRetired {
    /// The operation.
    pub operation: PartnerOperation,
}

/// The partner has no such operation.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct OperationNotFound {
    /// One sentence for the developer.
    pub reason: String,
}

impl Default for OperationNotFound {
    fn default() -> Self {
        Self { reason: "the partner has no such operation".to_owned() }
    }
}

/// What came of `retireOperation`.
#[derive(Debug, Clone, Union)]
pub(crate) enum RetireOperationResult {
    /// The operation is not to be called any more.
    OperationRetired(Box<OperationRetired>),
    /// There is no such operation.
    OperationNotFound(OperationNotFound),
}
