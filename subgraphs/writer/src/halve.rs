//! Finding the record that spoils a batch: what fails on its data is halved until one is left.

use async_trait::async_trait;

/// Work that is done on many items at once and may fail on one of them.
#[async_trait]
pub trait Batchwise<T: Sync>: Send {
    /// What is wrong with an item.
    type Cause: Send;
    /// What ends the work altogether.
    type Error: Send;

    /// Does the work on a part, as a whole or not at all; says what is wrong if its data is.
    async fn attempt(&mut self, part: &[T]) -> Result<Option<Self::Cause>, Self::Error>;

    /// Puts the one item aside that cannot be worked on.
    async fn reject(&mut self, item: &T, cause: Self::Cause) -> Result<(), Self::Error>;
}

/// Does the work on all items, in order, but for those that are rejected. One bad item among n costs
/// about 2·log₂ n attempts.
pub async fn halve<T: Sync, B: Batchwise<T>>(items: &[T], work: &mut B) -> Result<(), B::Error> {
    let mut open = if items.is_empty() { Vec::new() } else { vec![items] };
    while let Some(part) = open.pop() {
        let Some(cause) = work.attempt(part).await? else {
            continue;
        };
        if let [item] = part {
            work.reject(item, cause).await?;
        } else {
            let (first, second) = part.split_at(part.len() / 2);
            open.extend([second, first]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Odd {
        done: Vec<u32>,
        rejected: Vec<(u32, &'static str)>,
        attempts: usize,
    }

    #[async_trait]
    impl Batchwise<u32> for Odd {
        type Cause = &'static str;
        type Error = std::convert::Infallible;

        async fn attempt(&mut self, part: &[u32]) -> Result<Option<Self::Cause>, Self::Error> {
            self.attempts += 1;
            if part.iter().any(|item| item % 500 == 77) {
                return Ok(Some("odd"));
            }
            self.done.extend(part);
            Ok(None)
        }

        async fn reject(&mut self, item: &u32, cause: Self::Cause) -> Result<(), Self::Error> {
            self.rejected.push((*item, cause));
            Ok(())
        }
    }

    async fn run(items: &[u32]) -> Odd {
        let mut work = Odd::default();
        let Ok(()) = halve(items, &mut work).await;
        work
    }

    #[tokio::test]
    async fn the_bad_records_are_found_and_the_rest_is_done_in_order() {
        let items: Vec<u32> = (0..1_000).collect();
        let work = run(&items).await;
        assert_eq!(work.rejected, [(77, "odd"), (577, "odd")]);
        let rest: Vec<u32> = items.into_iter().filter(|item| item % 500 != 77).collect();
        assert_eq!(work.done, rest);
        assert!(work.attempts < 50, "{} attempts", work.attempts);
    }

    #[tokio::test]
    async fn a_good_batch_is_done_at_once_and_an_empty_one_not_at_all() {
        assert_eq!(run(&[1, 2, 3]).await.attempts, 1);
        assert_eq!(run(&[]).await.attempts, 0);
        assert_eq!(run(&[77]).await.rejected.len(), 1);
    }
}
