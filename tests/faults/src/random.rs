//! Choices that follow from a seed alone (`SplitMix64`).

/// Gives the same choices for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Choices of their own for a part of the run, so that no part disturbs another's.
    #[must_use]
    pub fn of(seed: u64, part: &str) -> Self {
        let mixed = part.bytes().fold(seed, |mixed, byte| Self(mixed ^ u64::from(byte)).next());
        Self(mixed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A number from `least` up to, and not including, `bound`.
    pub fn between(&mut self, least: u64, bound: u64) -> u64 {
        least + self.below(bound.saturating_sub(least))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of these, if there are any.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let index = self.below(among.len() as u64);
        among.get(usize::try_from(index).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_choices_and_parts_have_their_own() {
        let draw = |mut random: Random| (0..20).map(|_| random.below(1_000)).collect::<Vec<_>>();
        assert_eq!(draw(Random::of(7, "alice")), draw(Random::of(7, "alice")));
        assert_ne!(draw(Random::of(7, "alice")), draw(Random::of(7, "bob")));
        assert_ne!(draw(Random::of(7, "alice")), draw(Random::of(8, "alice")));
    }
}
