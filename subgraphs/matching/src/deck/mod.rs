//! The deck: whom a viewer is shown next. From Redis alone.
//!
//! Cards come from the viewer's queue: one round trip. When it runs short, a refill scans the index
//! around the viewer, at most [`REFILL_ROUNDS_MAX`] rounds of two round trips each, checks the chosen
//! against their profiles (one) and fills the queue (one). Super-likers who wait are looked at first
//! (one or two more). So a call costs one round trip mostly, and at most
//! 1 + 2 + 1 + 2 · [`REFILL_ROUNDS_MAX`] + 2 = 14, whatever the population; each round looks at no
//! more than [`scan::CELLS_PER_REFILL`] boxes and [`scan::CANDIDATES_PER_REFILL`] people. Where the
//! rounds were used up on people who are out of the question, the list may be short or empty before
//! the scan has ended; the next call goes on from the mark.

mod filter;
pub mod grid;
mod queue;
mod refill;
mod scan;

pub use filter::{Filter, Seeker};
pub use queue::{BATCH, Card};
pub use refill::REFILL_ROUNDS_MAX;

use crate::{model::Profile, view::profile_key};
use chrono::{DateTime, NaiveDate, Utc};
use queue::{Hand, Queue};
use scan::Mark;
use velvet_kernel::{
    fault::Fault,
    id::UserId,
    store::{self, Reply, Store, view},
};

/// Deals up to `first` cards to a viewer; a filter narrows their preferences for this call. Nothing
/// when nothing is known of the viewer.
pub async fn deal(
    store: &Store,
    viewer: UserId,
    first: usize,
    filter: Option<&Filter>,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Card>>, Fault> {
    let queue = Queue::of(viewer, filter.is_some());
    let now_s = now.timestamp();
    let (profile, mark, taken) = open(store, &queue, viewer, now_s, first).await?;
    let Some(profile) = profile else { return Ok(None) };
    let Some(seeker) = seeker(profile, filter, now.date_naive()) else { return Ok(Some(Vec::new())) };
    let hand = Hand::read(&taken, &seeker.print());
    let mut table = Table {
        store,
        queue,
        viewer,
        now_s,
        first,
        print: seeker.print(),
        seeker,
        filtered: filter.is_some(),
        cards: Vec::new(),
    };
    match table.fill(hand, mark).await {
        // What is on the table was handed out already.
        Err(fault) if table.cards.is_empty() => Err(fault),
        Ok(()) | Err(_) => {
            table.cards.sort_by_key(|card| !card.super_liked_you);
            Ok(Some(table.cards))
        }
    }
}

/// The viewer with the preferences of this call; nothing without a place or when nobody can be meant.
fn seeker(mut profile: Profile, filter: Option<&Filter>, today: NaiveDate) -> Option<Seeker> {
    profile.cell?;
    profile.preferences = filter.unwrap_or(&Filter::default()).narrow(&profile.preferences)?;
    Some(Seeker { profile, today })
}

/// Cards and the ids of super-likers, as a queue gives them.
type Taken = (Vec<String>, Vec<String>);

/// Reads the profile and the mark and takes cards, in one round trip.
async fn open(
    store: &Store,
    queue: &Queue,
    viewer: UserId,
    now_s: i64,
    first: usize,
) -> Result<(Option<Profile>, Option<Mark>, Taken), Fault> {
    let key = profile_key(viewer);
    let replies = store.run(&[view::get(key.as_str()), queue.mark(), queue.take(now_s, first)]).await?;
    let [profile, mark, taken] = replies.as_slice() else { return Err(Fault::internal()) };
    let profile = view::parse::<Profile>(&key, profile)?.present();
    let mark: Option<String> = read(mark)?;
    let mark = mark.and_then(|mark| serde_json::from_str(&mark).ok());
    Ok((profile, mark, read(taken)?))
}

fn read<T: redis::FromRedisValue>(reply: &Reply) -> Result<T, store::Error> {
    Ok(T::from_redis_value_ref(reply)?)
}

/// One call while its cards are being laid out.
struct Table<'a> {
    store: &'a Store,
    queue: Queue,
    viewer: UserId,
    now_s: i64,
    first: usize,
    seeker: Seeker,
    print: String,
    filtered: bool,
    cards: Vec<Card>,
}

impl Table<'_> {
    fn missing(&self) -> usize {
        self.first.saturating_sub(self.cards.len())
    }

    async fn fill(&mut self, hand: Hand, mark: Option<Mark>) -> Result<(), Fault> {
        let looked = !hand.super_likers.is_empty();
        self.lay(hand).await?;
        if looked && self.missing() > 0 {
            let taken: Taken = self.store.ask(self.queue.take(self.now_s, self.missing())).await?;
            let hand = Hand::read(&taken, &self.print);
            self.lay(hand).await?;
        }
        if self.missing() == 0 {
            return Ok(());
        }
        let mark = mark.filter(|mark| mark.print == self.print).unwrap_or_else(|| Mark::start(self.print.clone()));
        if !mark.ended {
            self.refill(mark).await?;
        }
        Ok(())
    }

    /// Lays out what a queue gave: super-likers who fit, then cards; stale ones go.
    async fn lay(&mut self, hand: Hand) -> Result<(), Fault> {
        self.cards.extend(hand.cards);
        let mut calls = Vec::new();
        if !hand.stale.is_empty() {
            calls.extend([self.queue.drop_cards(), self.queue.not_served(&hand.stale)]);
        }
        if !hand.super_likers.is_empty() {
            let (fit, rest) = self.look_at(&hand.super_likers).await?;
            self.cards.extend(fit.into_iter().map(|card| Card { super_liked_you: true, ..card }));
            if self.filtered && !rest.is_empty() {
                // This filter alone is against them.
                calls.push(self.queue.not_served(&rest));
            }
        }
        if !calls.is_empty() {
            self.store.run(&calls).await?;
        }
        Ok(())
    }

    /// Reads profiles: who of these may be shown, and who may not.
    async fn look_at(&self, users: &[UserId]) -> Result<(Vec<Card>, Vec<UserId>), Fault> {
        let keys: Vec<String> = users.iter().map(|user| profile_key(*user)).collect();
        let profiles = self.store.documents::<Profile>(&keys).await?;
        let (mut fit, mut rest) = (Vec::new(), Vec::new());
        for (user, profile) in users.iter().copied().zip(profiles) {
            match profile.present().and_then(|profile| self.seeker.meets(&profile)) {
                Some(distance_km) => fit.push(Card { user, distance_km, super_liked_you: false }),
                None => rest.push(user),
            }
        }
        Ok((fit, rest))
    }
}
