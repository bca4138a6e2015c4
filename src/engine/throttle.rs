//! Slowing writers down before the tree gets out of shape.
//!
//! The *pressure* says how far the store is beyond the half of what it may owe: 0 up to there, 1 at
//! the limit, at most [`PRESSURE_MAX`]. A writer pays for each byte by the square of it, in delays under
//! a millisecond; so writing settles at the rate at which compaction keeps up, does not swing with each
//! job that ends, and never stops. Only memory stops it: when as many memtables wait as may be held, a
//! writer waits for the flush.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::compaction::Debt;
use super::compaction::pick;
use super::core::Core;
use super::counters::Counter;
use super::events::Event;
use super::stats::StallStats;
use super::version::Version;
use crate::runtime::Runtime;

/// A pressure of one, in parts.
const ONE: u64 = 1000;

/// Beyond the limit the price goes on rising, but not for ever: at four it is a megabyte a second.
const PRESSURE_MAX: u64 = 4 * ONE;

/// Picoseconds that a byte costs under a pressure of one: sixteen megabytes a second. A stronger price
/// makes writing swing: the debt jumps with each flush and each job by a tenth of the limit.
const PS_PER_BYTE: u64 = 60_000;

/// What is owed is paid when it is worth a sleep, and in pieces.
const SLEEP_US_MIN: u64 = 200;
const SLEEP_US_MAX: u64 = 900;

/// What writers have to wait for.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// By the debt of compaction and by memtables that wait, in parts of [`ONE`].
    debt: AtomicU64,
    memory: AtomicU64,
    /// Delays that were not worth a sleep yet; below zero what was slept too long.
    owed_ns: AtomicI64,
    pub(super) stalls: Stalls,
}

/// Every wait of a writer, by its reason.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    pub(super) debt_count: Counter,
    pub(super) debt_us: Counter,
    pub(super) memory_count: Counter,
    pub(super) memory_us: Counter,
    /// Waits for a flush because no more memtables may be held.
    pub(super) stop_count: Counter,
    pub(super) stop_us: Counter,
}

impl Throttle {
    /// Takes `part` of `limit` as the debt; half of it is free.
    pub(super) fn set_debt(&self, part: u64, limit: u64) {
        self.debt.store(pressure(part, limit), Ordering::Relaxed);
    }

    /// Takes `part` of `limit` bytes as waiting in memory; half of it is free.
    pub(super) fn set_memory(&self, part: u64, limit: u64) {
        self.memory.store(pressure(part, limit), Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> StallStats {
        let stalls = &self.stalls;
        StallStats {
            debt: (stalls.debt_count.get(), stalls.debt_us.get()),
            memory: (stalls.memory_count.get(), stalls.memory_us.get()),
            stop: (stalls.stop_count.get(), stalls.stop_us.get()),
        }
    }

    fn is_slowing(&self) -> bool {
        self.debt.load(Ordering::Relaxed).max(self.memory.load(Ordering::Relaxed)) > 0
    }

    /// Lets the writer of `bytes` wait as the pressure says; one writer at a time comes here.
    pub(super) fn delay(&self, runtime: &dyn Runtime, bytes: u64) {
        let (debt, memory) =
            (self.debt.load(Ordering::Relaxed), self.memory.load(Ordering::Relaxed));
        let pressure = debt.max(memory);
        if pressure == 0 {
            return;
        }
        let price_ps = PS_PER_BYTE * pressure * pressure / (ONE * ONE);
        let cost = bytes.saturating_mul(price_ps) / 1000;
        let owed = self.owed_ns.load(Ordering::Relaxed).saturating_add_unsigned(cost);
        let us = (owed.max(0).unsigned_abs() / 1000).min(SLEEP_US_MAX);
        if us < SLEEP_US_MIN {
            self.owed_ns.store(owed, Ordering::Relaxed);
            return;
        }
        let started = runtime.monotonic_us();
        runtime.sleep_us(us);
        let slept = runtime.monotonic_us().saturating_sub(started).max(us);
        // A sleep is longer than asked for; what was paid too much counts towards the next. What a
        // huge batch owes beyond one sleep is forgotten: delays stay short.
        let left = owed.saturating_sub_unsigned(slept.saturating_mul(1000));
        let most = SLEEP_US_MAX as i64 * 1000;
        self.owed_ns.store(left.clamp(-most, most), Ordering::Relaxed);
        let (count, total) = match debt >= memory {
            true => (&self.stalls.debt_count, &self.stalls.debt_us),
            false => (&self.stalls.memory_count, &self.stalls.memory_us),
        };
        count.add(1);
        total.add(slept);
    }
}

fn pressure(part: u64, limit: u64) -> u64 {
    let free = limit / 2;
    let over = part.saturating_sub(free);
    // Not zero as soon as there is something over.
    over.saturating_mul(ONE).div_ceil((limit - free).max(1)).min(PRESSURE_MAX)
}

impl Core {
    /// How much work the tree waits for.
    pub(super) fn debt(&self, version: &Version) -> Debt {
        pick::debt(self.options.strategy, &version.shape(), &self.limits())
    }

    /// Works the pressure out anew: after each change of the tree, and as a job gets on.
    pub(super) fn update_pressure(&self) {
        let Some(side) = &self.writer else { return };
        let view = self.superversion.load();
        let debt = self.debt(&view.version);
        let left = debt.bytes.saturating_sub(side.compactions.progress());
        let before = side.throttle.is_slowing();
        side.throttle.set_debt(left, debt.limit);
        // One memtable that waits is no reason to hurry, a second one is.
        let waiting = view.immutables.iter().map(|it| it.memtable.size_bytes()).sum();
        side.throttle.set_memory(waiting, self.options.memtable_size.saturating_mul(7) / 2);
        let slowed = side.throttle.is_slowing();
        if slowed != before {
            self.tell(&Event::Slowed { slowed });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::inline::InlineRuntime;

    /// Half the limit is free; from there it rises evenly, beyond the limit too, and has an end.
    #[test]
    fn pressure_begins_at_half_the_limit() {
        assert_eq!([0, 499, 500].map(|part| pressure(part, 1000)), [0, 0, 0]);
        assert_eq!([501, 750, 1000, 5000].map(|part| pressure(part, 1000)), [2, 500, 1000, 4000]);
        assert_eq!([0, 1].map(|part| pressure(part, 0)), [0, 1000]);
        assert_eq!(pressure(u64::MAX, 1), PRESSURE_MAX);
    }

    /// Ten thousand writes under half the pressure: the delays add up to what the bytes cost, each is
    /// counted under its reason and none is as long as a millisecond.
    #[test]
    fn delays_are_short_and_add_up_to_the_price() {
        let runtime = InlineRuntime::new(1);
        let throttle = Throttle::default();
        throttle.delay(&runtime, 1 << 20);
        assert_eq!(throttle.stalls.debt_count.get(), 0);
        throttle.set_debt(750, 1000);
        for _ in 0..10_000 {
            throttle.delay(&runtime, 1000);
        }
        // 15 nanoseconds a byte. The clock of the test ticks in milliseconds, and what was slept too
        // long counts as paid.
        let (count, us) = (throttle.stalls.debt_count.get(), throttle.stalls.debt_us.get());
        assert!(count > 0 && (145_000..300_000).contains(&us), "{count} delays, {us} us");
        assert_eq!(throttle.stalls.memory_count.get(), 0);
    }
}
