//! Blind mutations, the same for the same seed.

/// A generator of numbers (xorshift64*, Marsaglia 2003 and Vigna 2016): quick, and repeatable.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Any seed will do.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `limit`; 0 when that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        usize::try_from((self.next() >> 11).checked_rem(limit).unwrap_or_default()).unwrap_or_default()
    }

    /// One of them.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// The longest input.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Mutations of one input, at most.
const MUTATIONS_MAX: usize = 8;

/// An input made from one of the corpus.
pub fn input(numbers: &mut Numbers, corpus: &[Vec<u8>], words: &[&[&str]]) -> Vec<u8> {
    let mut input = numbers.one(corpus).cloned().unwrap_or_default();
    for _ in 0..=numbers.below(MUTATIONS_MAX) {
        mutate(numbers, &mut input, corpus, words);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn mutate(numbers: &mut Numbers, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&[&str]]) {
    let place = numbers.below(input.len() + 1);
    match numbers.below(7) {
        0 => {
            if let Some(byte) = input.get_mut(place) {
                *byte ^= 1 << numbers.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(place) {
                *byte = numbers.next().to_le_bytes()[0];
            }
        }
        2 => {
            let words = numbers.one(words).copied().unwrap_or_default();
            let word = numbers.one(words).copied().unwrap_or_default();
            input.splice(place..place, word.bytes());
        }
        3 => {
            let end = (place + 1 + numbers.below(16)).min(input.len());
            input.drain(place.min(end)..end);
        }
        // A part once more, up to some hundred times: depth and length are where readers break.
        4 => {
            let end = (place + 1 + numbers.below(32)).min(input.len());
            let part = input[place.min(end)..end].repeat(1 + numbers.below(200));
            input.splice(place..place, part);
        }
        5 => {
            let other = numbers.one(corpus).cloned().unwrap_or_default();
            let from = numbers.below(other.len() + 1);
            input.truncate(place);
            input.extend_from_slice(&other[from..]);
        }
        _ => input.truncate(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_of_inputs() {
        let corpus = [b"{ me }".to_vec(), Vec::new()];
        let inputs = |seed| {
            let mut numbers = Numbers::new(seed);
            (0..200).map(|_| input(&mut numbers, &corpus, &[&["first: "]])).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
        assert!(inputs(7).iter().any(|input| input.len() > 100));
    }
}
