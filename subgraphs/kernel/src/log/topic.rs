//! Topics, and which partition an event goes to.

use md5::{Digest, Md5};

/// Logical shards of the database; partition counts are multiples of it.
pub const SHARDS: i32 = 16;

/// What a domain's topics are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Facts, keyed by entity; only the domain's projector folds them.
    Intake,
    /// Decided events, keyed by the owner of the row; for everyone.
    Decided,
    /// Requests that the writer decides, keyed by what must be unique.
    Commands,
    /// Stored rows, keyed by entity; only the domain's projector reads them.
    Warm,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 4] = [Self::Intake, Self::Decided, Self::Commands, Self::Warm];

    const fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Decided => "decided",
            Self::Commands => "commands",
            Self::Warm => "warm",
        }
    }
}

/// A topic, without the prefix that the configuration puts before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic(pub String);

impl Topic {
    /// A domain's topic of a stage.
    pub fn of(domain: &str, stage: Stage) -> Self {
        Self(format!("{domain}.{}", stage.name()))
    }

    /// Requests to the writer to warm an entity or to dump all rows.
    pub fn warmup_requests() -> Self {
        Self("cache.warmup".to_owned())
    }

    /// Records that the writer could not apply, with their causes.
    pub fn dead_letters() -> Self {
        Self("dead.letters".to_owned())
    }
}

/// The partition of a key: the first eight hex digits of its MD5, modulo the number of partitions.
/// As that is a multiple of 16, the partition modulo 16 is the key's shard.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    let digest = Md5::digest(key.as_bytes());
    let head = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let partitions = u32::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(head % partitions).unwrap_or(0)
}

/// The shard that the records of a partition belong to.
pub fn shard_of_partition(partition: i32) -> u8 {
    u8::try_from(partition.rem_euclid(SHARDS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_shard_whatever_the_number_of_partitions() {
        for key in ["a", "b", "00000000-0000-0000-0000-000000000001"] {
            let shard = shard_of_partition(partition_of(key, 16));
            assert_eq!(shard, shard_of_partition(partition_of(key, 48)));
        }
        // md5("a") = 0cc175b9…
        assert_eq!(partition_of("a", 16), i32::try_from(0x0cc1_75b9_u32 % 16).unwrap());
    }
}
