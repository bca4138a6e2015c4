//! Work on many things at once whose results come in the order of the things.
//!
//! Each piece of work has a short queue of its own, and the caller empties them in order: so what
//! it sees does not depend on who was faster, and what waits in memory is a few results a thread.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use parking_lot::Mutex;

/// Results that may wait for the pieces of work before theirs.
const QUEUE_SIZE: usize = 64;

/// Pieces of work that may be begun or done while the caller still empties the queue of one.
const QUEUES_MAX: usize = 16;

/// The caller wants no more results: end what is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// What a piece of work gives its results to.
pub type Give<'g, T> = dyn FnMut(T) -> Result<(), Stopped> + 'g;

/// Calls `work` for each number below `count`, on up to `threads` threads, and `take` in the
/// calling thread with all that it gives: first what 0 gives, then what 1 gives, and so on.
///
/// # Errors
/// The first of `take`, after which nothing new is begun and [`Stopped`] tells what has begun.
pub fn in_order<T: Send, E>(
    threads: usize,
    count: usize,
    work: &(dyn Fn(usize, &mut Give<'_, T>) + Sync),
    take: &mut dyn FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    if threads <= 1 || count <= 1 {
        return one_by_one(count, work, take);
    }
    let (queues, results) = sync_channel(QUEUES_MAX);
    let claims = Mutex::new(Claims { next: 0, count, queues: Some(queues) });
    thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                while let Some((index, queue)) = claim(&claims) {
                    work(index, &mut |result| queue.send(result).map_err(|_| Stopped));
                }
            });
        }
        let taken = take_all(results, take);
        // Nobody waits for room in a queue any more: with an error the queues are gone.
        claims.lock().queues = None;
        taken
    })
}

/// Empties the queues in their order; at an error all of them go.
fn take_all<T, E>(
    results: Receiver<Receiver<T>>,
    take: &mut dyn FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    results.into_iter().flatten().try_for_each(take)
}

/// What is left to do.
struct Claims<T> {
    next: usize,
    count: usize,
    /// Takes the queues in the order of their work; gone when all is begun, or nothing is wanted.
    queues: Option<SyncSender<Receiver<T>>>,
}

/// The next piece of work, its queue already handed to the caller: under one lock, so that queues
/// come in the order of their work.
fn claim<T>(claims: &Mutex<Claims<T>>) -> Option<(usize, SyncSender<T>)> {
    let mut claims = claims.lock();
    let index = claims.next;
    if index >= claims.count {
        claims.queues = None;
    }
    let (queue, results) = sync_channel(QUEUE_SIZE);
    claims.queues.as_ref()?.send(results).ok()?;
    claims.next += 1;
    Some((index, queue))
}

fn one_by_one<T, E>(
    count: usize,
    work: &(dyn Fn(usize, &mut Give<'_, T>) + Sync),
    take: &mut dyn FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    for index in 0..count {
        let mut failed = None;
        work(index, &mut |result| {
            if failed.is_none() {
                failed = take(result).err();
            }
            failed.as_ref().map_or(Ok(()), |_| Err(Stopped))
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more results than a queue holds, the later pieces done long before the first.
    #[test]
    fn results_come_in_the_order_of_the_work() {
        for threads in [1, 2, 5] {
            let mut seen = Vec::new();
            let work = |index: usize, give: &mut Give<'_, (usize, usize)>| {
                for n in 0..1000 / (index + 1) {
                    give((index, n)).expect("all are wanted");
                }
            };
            in_order(threads, 40, &work, &mut |result| {
                seen.push(result);
                Ok::<(), ()>(())
            })
            .expect("nothing fails");
            let due: Vec<_> = (0..40)
                .flat_map(|index| (0..1000 / (index + 1)).map(move |n| (index, n)))
                .collect();
            assert_eq!(seen, due, "{threads} threads");
        }
    }

    /// The caller has seen enough: pieces of work that would never end do.
    #[test]
    fn an_error_of_the_caller_ends_all_work() {
        for threads in [1, 2, 5] {
            let work = |index: usize, give: &mut Give<'_, usize>| while give(index).is_ok() {};
            let mut left = 500;
            let ended = in_order(threads, 9, &work, &mut |_| {
                left -= 1;
                if left == 0 { Err("enough") } else { Ok(()) }
            });
            assert_eq!(ended, Err("enough"));
        }
    }
}
