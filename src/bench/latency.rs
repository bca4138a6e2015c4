//! How long operations took.

use hdrhistogram::Histogram;

/// Longer than anything takes: an hour, in nanoseconds.
const NS_MAX: u64 = 3_600_000_000_000;

/// Decimal digits that are kept: a latency is told to within a percent, and the counters that
/// matter stay in the processor's cache.
const DIGITS: u8 = 2;

/// Latencies of one thread, or of several added up.
#[derive(Clone, Debug)]
pub(super) struct Latency(Histogram<u64>);

/// What is told of them, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Percentiles {
    /// Operations that were timed.
    pub samples: u64,
    /// Half took no longer.
    pub p50_us: f64,
    /// 99 of 100 took no longer.
    pub p99_us: f64,
    /// 999 of 1000 took no longer.
    pub p999_us: f64,
    /// The longest of those that were timed.
    pub max_us: f64,
}

impl Latency {
    pub(super) fn new() -> Latency {
        let made = Histogram::new_with_bounds(1, NS_MAX, DIGITS);
        Latency(made.expect("the bounds are constants that fit"))
    }

    pub(super) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(super) fn add(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// None if nothing was recorded.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        (!self.0.is_empty()).then(|| Percentiles {
            samples: self.0.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One to a thousand microseconds, in two halves: the percentiles are known.
    #[test]
    fn percentiles_are_right_within_a_percent() {
        let (mut all, mut rest) = (Latency::new(), Latency::new());
        assert_eq!(all.percentiles(), None);
        for us in 1..=1000 {
            let half = if us % 2 == 0 { &mut all } else { &mut rest };
            half.record(us * 1000);
        }
        all.add(&rest);
        let told = all.percentiles().expect("some");
        assert_eq!(told.samples, 1000);
        for (is, wanted) in [
            (told.p50_us, 500.0),
            (told.p99_us, 990.0),
            (told.p999_us, 999.0),
            (told.max_us, 1000.0),
        ] {
            assert!((is / wanted - 1.0_f64).abs() < 0.01, "{is} is not {wanted}");
        }
        all.record(u64::MAX);
        assert!(all.percentiles().is_some_and(|told| told.max_us > 3.5e9));
    }
}
