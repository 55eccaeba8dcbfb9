//! Cards of the deck, and what narrows it.

use super::User;
use crate::deck;
use async_graphql::{InputObject, SimpleObject};
use velvet_kernel::graph::Gender;

/// Somebody to swipe on.
#[derive(Debug, Clone, SimpleObject)]
pub struct Card {
    /// Who.
    user: User,
    /// Rounded up to whole kilometres, at least 1.
    distance_km: u32,
    /// Whether they have super-liked the viewer.
    super_liked_you: bool,
}

impl From<deck::Card> for Card {
    fn from(card: deck::Card) -> Self {
        Self {
            user: User { id: card.user.global() },
            distance_km: card.distance_km,
            super_liked_you: card.super_liked_you,
        }
    }
}

/// Narrows the viewer's preferences for one call; it never widens them.
#[derive(Debug, Clone, InputObject)]
pub struct DeckFilter {
    /// Youngest age in years, 18 to 120.
    age_min: Option<i32>,
    /// Oldest age in years, 18 to 120.
    age_max: Option<i32>,
    /// Farthest distance in kilometres, at least 1.
    distance_km_max: Option<i32>,
    /// Genders, at least one.
    genders: Option<Vec<Gender>>,
    /// Only people whose identity was verified.
    verified_only: Option<bool>,
}

impl From<DeckFilter> for deck::Filter {
    fn from(filter: DeckFilter) -> Self {
        Self {
            age_min: filter.age_min,
            age_max: filter.age_max,
            distance_km_max: filter.distance_km_max,
            genders: filter.genders,
            verified_only: filter.verified_only,
        }
    }
}
