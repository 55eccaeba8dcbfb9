//! The epoch: one life of Redis' content. A wiped, restarted or failed-over master has lost it.
//!
//! Canaries stand at even distances over the slots, so that each master holds some. All of them
//! with the same id say that the content is whole; the rebuild writes them last.

use super::{Call, Error, Reply, Store, slot};
use std::sync::LazyLock;
use uuid::Uuid;

/// Masters that hold at least this share of the slots (1,024) are seen to be wiped.
const CANARY_COUNT: u16 = 16;

/// The keys of the canaries, one for each sixteenth of the slots.
pub static CANARIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let width = slot::SLOTS / CANARY_COUNT;
    (0..CANARY_COUNT)
        .filter_map(|part| {
            (0_u32..1_000_000)
                .map(|number| format!("velvet:epoch:{{{number}}}"))
                .find(|key| slot::slot_of(key) / width == part)
        })
        .collect()
});

/// One life of Redis' content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub Uuid);

/// The epoch that all canaries agree on, or nothing when one is missing or differs.
pub fn epoch_of(replies: &[Reply]) -> Option<Epoch> {
    let mut epochs = replies.iter().map(|reply| match reply {
        Reply::BulkString(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| Uuid::try_parse(text).ok()),
        _ => None,
    });
    let first = epochs.next()??;
    epochs.all(|epoch| epoch == Some(first)).then_some(Epoch(first))
}

impl Store {
    /// The calls that read the canaries, to be sent along with what they vouch for.
    pub fn canary_calls() -> impl Iterator<Item = Call> {
        CANARIES.iter().map(|key| Call::command_on("GET", key.as_str()))
    }

    /// The epoch of the content, or nothing while it is not whole.
    pub async fn epoch(&self) -> Result<Option<Epoch>, Error> {
        let calls: Vec<Call> = Self::canary_calls().collect();
        Ok(epoch_of(&self.run(&calls).await?))
    }

    /// Declares the content whole, under a new epoch.
    pub async fn begin_epoch(&self, epoch: Epoch) -> Result<(), Error> {
        let calls: Vec<Call> =
            CANARIES.iter().map(|key| Call::command_on("SET", key.as_str()).arg(epoch.0.to_string())).collect();
        self.run(&calls).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_canary_in_each_sixteenth_of_the_slots() {
        let parts: Vec<u16> = CANARIES.iter().map(|key| slot::slot_of(key) / 1024).collect();
        assert_eq!(parts, (0..CANARY_COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn a_missing_or_different_canary_is_no_epoch() {
        let one = Reply::BulkString(Uuid::from_u128(1).to_string().into_bytes());
        let two = Reply::BulkString(Uuid::from_u128(2).to_string().into_bytes());
        assert_eq!(epoch_of(&[one.clone(), one.clone()]), Some(Epoch(Uuid::from_u128(1))));
        assert_eq!(epoch_of(&[one.clone(), Reply::Nil]), None);
        assert_eq!(epoch_of(&[one, two]), None);
        assert_eq!(epoch_of(&[]), None);
    }
}
