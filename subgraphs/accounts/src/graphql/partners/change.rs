//! Changing partners: parse, ask, answer.

use super::{
    CreatePartnerInput, CreatePartnerKeyInput, Partner, PartnerKey, RetireOperationInput, RevokePartnerKeyInput,
    RotatePartnerKeyInput, UpdatePartnerInput,
    payload::{
        CreatePartnerKeyResult, CreatePartnerResult, OperationNotFound, OperationRetired, PartnerCreated,
        PartnerExists, PartnerKeyCreated, PartnerKeyNotFound, PartnerKeyRevoked, PartnerKeyRotated, PartnerNotFound,
        PartnerUpdated, RetireOperationResult, RevokePartnerKeyResult, RotatePartnerKeyResult, TooManyPartnerKeys,
        UpdatePartnerResult,
    },
};
use crate::{
    event::PartnerOutcome,
    model::Slug,
    service::{
        Service,
        partners::{Actor, Asked, Keyed, Partners, unexpected},
    },
};
use velvet_kernel::{fault::Fault, graph::UserNotFound, identity::Viewer};

fn asked<'a>(slug: &'a Slug, by: &'a Actor, idempotency_key: Option<&'a str>) -> Asked<'a> {
    Asked { slug, by, idempotency_key }
}

async fn partner(partners: &Partners, slug: &Slug) -> Result<Partner, Fault> {
    Ok(partners.partner(slug).await?.ok_or_else(Fault::unavailable)?.into())
}

pub(crate) async fn create(
    viewer: &Viewer,
    service: &Service,
    mut input: CreatePartnerInput,
) -> Result<CreatePartnerResult, Fault> {
    let wanted = match input.parse() {
        Ok(wanted) => wanted,
        Err(invalid) => return Ok(CreatePartnerResult::InputInvalid(invalid)),
    };
    let (partners, by) = (&service.partners, Actor::Admin(viewer.id));
    let Some(user) = wanted.user_id else {
        return Ok(CreatePartnerResult::UserNotFound(UserNotFound::new()));
    };
    if !partners.is_user(user).await? {
        return Ok(CreatePartnerResult::UserNotFound(UserNotFound::new()));
    }
    let slug = wanted.slug;
    let asked = asked(&slug, &by, input.idempotency_key.as_deref());
    match partners.create(asked, wanted.name, user, wanted.limits).await? {
        PartnerOutcome::Done => {
            let partner = partner(partners, &slug).await?;
            Ok(CreatePartnerResult::PartnerCreated(Box::new(PartnerCreated { partner })))
        }
        PartnerOutcome::Exists => {
            let reason = "there is a partner of this slug".to_owned();
            Ok(CreatePartnerResult::PartnerExists(PartnerExists { reason }))
        }
        other => Err(unexpected(&other)),
    }
}

pub(crate) async fn update(
    viewer: &Viewer,
    service: &Service,
    input: UpdatePartnerInput,
) -> Result<UpdatePartnerResult, Fault> {
    let asks_for_user = input.user_id.is_some();
    let (slug, update) = match input.parse() {
        Ok(parsed) => parsed,
        Err(invalid) => return Ok(UpdatePartnerResult::InputInvalid(invalid)),
    };
    let (partners, by) = (&service.partners, Actor::Admin(viewer.id));
    let user_is_there = match update.user_id {
        Some(user) => partners.is_user(user).await?,
        None => !asks_for_user,
    };
    if !user_is_there {
        return Ok(UpdatePartnerResult::UserNotFound(UserNotFound::new()));
    }
    match partners.update(asked(&slug, &by, None), update).await? {
        PartnerOutcome::Done => {
            let partner = partner(partners, &slug).await?;
            Ok(UpdatePartnerResult::PartnerUpdated(Box::new(PartnerUpdated { partner })))
        }
        PartnerOutcome::NotFound => Ok(UpdatePartnerResult::PartnerNotFound(PartnerNotFound::default())),
        other => Err(unexpected(&other)),
    }
}

pub(crate) async fn create_key(
    viewer: &Viewer,
    service: &Service,
    input: CreatePartnerKeyInput,
) -> Result<CreatePartnerKeyResult, Fault> {
    let (slug, wanted) = match input.parse(service.partners.now()) {
        Ok(parsed) => parsed,
        Err(invalid) => return Ok(CreatePartnerKeyResult::InputInvalid(invalid)),
    };
    let by = Actor::Admin(viewer.id);
    let asked = asked(&slug, &by, input.idempotency_key.as_deref());
    Ok(match service.partners.create_key(asked, wanted).await? {
        Keyed::Made(made) => {
            let (key, secret) = (PartnerKey::of(made.key, None), made.secret);
            CreatePartnerKeyResult::PartnerKeyCreated(Box::new(PartnerKeyCreated { key, secret }))
        }
        Keyed::NoPartner | Keyed::NoKey => CreatePartnerKeyResult::PartnerNotFound(PartnerNotFound::default()),
        Keyed::TooMany => CreatePartnerKeyResult::TooManyPartnerKeys(TooManyPartnerKeys::default()),
    })
}

pub(crate) async fn rotate_key(
    viewer: &Viewer,
    service: &Service,
    input: RotatePartnerKeyInput,
) -> Result<RotatePartnerKeyResult, Fault> {
    let (slug, overlap_s) = match input.parse(service.partners.now()) {
        Ok(parsed) => parsed,
        Err(invalid) => return Ok(RotatePartnerKeyResult::InputInvalid(invalid)),
    };
    let by = Actor::Admin(viewer.id);
    let asked = asked(&slug, &by, input.idempotency_key.as_deref());
    Ok(match service.partners.rotate_key(asked, &input.prefix, overlap_s, input.expires_at).await? {
        Keyed::Made(made) => {
            let replaced = service.partners.key(&slug, &input.prefix).await?;
            RotatePartnerKeyResult::PartnerKeyRotated(Box::new(PartnerKeyRotated {
                key: PartnerKey::of(made.key, None),
                secret: made.secret,
                replaced: replaced.map(|key| PartnerKey::of(key, None)),
            }))
        }
        Keyed::NoPartner | Keyed::NoKey => RotatePartnerKeyResult::PartnerKeyNotFound(PartnerKeyNotFound::default()),
        Keyed::TooMany => RotatePartnerKeyResult::TooManyPartnerKeys(TooManyPartnerKeys::default()),
    })
}

pub(crate) async fn revoke_key(
    viewer: &Viewer,
    service: &Service,
    input: RevokePartnerKeyInput,
) -> Result<RevokePartnerKeyResult, Fault> {
    let unknown = || Ok(RevokePartnerKeyResult::PartnerKeyNotFound(PartnerKeyNotFound::default()));
    let Ok(slug) = Slug::parse(&input.slug) else {
        return unknown();
    };
    let by = Actor::Admin(viewer.id);
    match service.partners.revoke_key(asked(&slug, &by, None), &input.prefix).await? {
        Keyed::Made(made) => {
            let key = PartnerKey::of(made.key, None);
            Ok(RevokePartnerKeyResult::PartnerKeyRevoked(Box::new(PartnerKeyRevoked { key })))
        }
        Keyed::NoPartner | Keyed::NoKey | Keyed::TooMany => unknown(),
    }
}

pub(crate) async fn retire(
    viewer: &Viewer,
    service: &Service,
    input: RetireOperationInput,
) -> Result<RetireOperationResult, Fault> {
    let unknown = || Ok(RetireOperationResult::OperationNotFound(OperationNotFound::default()));
    let Ok(slug) = Slug::parse(&input.slug) else {
        return unknown();
    };
    let by = Actor::Admin(viewer.id);
    match service.partners.retire(asked(&slug, &by, None), &input.id).await? {
        Some(operation) => {
            let operation = operation.into();
            Ok(RetireOperationResult::OperationRetired(Box::new(OperationRetired { operation })))
        }
        None => unknown(),
    }
}
