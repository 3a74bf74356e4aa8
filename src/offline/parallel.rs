use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

/// The number of items that are not worth a thread.
const FEW: usize = 64;

/// The number of items that a thread takes at a time: few, so that all threads end together, but
/// enough that they seldom wait for each other.
const SHARE: usize = 32;

/// Maps items on all processors. The results are in the order of the items.
pub(super) fn parallel<T, R, I>(items: I, map: impl Fn(T) -> R + Sync) -> Vec<R>
where
    I: IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
    T: Send,
    R: Send,
{
    let items = items.into_iter();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    if items.len() < FEW || threads == 1 {
        return items.map(map).collect();
    }
    let count = items.len();
    let queue = Mutex::new((0.., items));
    let work = || {
        let mut done: Vec<(usize, Vec<R>)> = Vec::new();
        loop {
            let (number, share): (_, Vec<T>) = {
                let mut queue = queue
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let (numbers, items) = &mut *queue;
                (numbers.next(), items.take(SHARE).collect())
            };
            match number {
                Some(number) if !share.is_empty() => {
                    done.push((number, share.into_iter().map(&map).collect()));
                }
                _ => return done,
            }
        }
    };
    let mut shares = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads)
            .map(|_| scope.spawn(work))
            .collect();
        let mut shares = work();
        for worker in workers {
            match worker.join() {
                Ok(done) => shares.extend(done),
                // A panic of a worker is passed on to the caller.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        shares
    });
    shares.sort_unstable_by_key(|(number, _)| *number);
    let mut answers = Vec::with_capacity(count);
    for (_, share) in shares {
        answers.extend(share);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_keep_the_order_of_their_items() {
        for count in [0, FEW - 1, FEW, 1_000] {
            let doubled = parallel(0..count, |item| item * 2);
            assert_eq!(doubled.len(), count);
            assert!(
                doubled
                    .iter()
                    .enumerate()
                    .all(|(index, double)| *double == index * 2)
            );
        }
    }
}
