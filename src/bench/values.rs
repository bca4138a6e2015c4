//! Values: half of each compresses away.

use std::sync::Arc;

use super::stream::Dice;

/// Bytes of the pool that values are cut from, if none is larger.
const POOL_SIZE: usize = 1 << 20;

/// A piece of the pool: random printable bytes, and the same once more.
const PIECE_SIZE: usize = 100;

/// Values of one size, cut one behind the other out of a pool that is much larger than a block.
///
/// The pool is made as `db_bench` makes its own at `--compression_ratio=0.5`, so that both engines
/// compress alike data.
#[derive(Clone, Debug)]
pub struct Values {
    pool: Arc<[u8]>,
    size: usize,
    position: usize,
}

impl Values {
    /// Values of `size` bytes; always the same ones.
    #[must_use]
    pub fn new(size: usize) -> Values {
        let mut dice = Dice::new(301, 0);
        let mut pool = Vec::new();
        while pool.len() < POOL_SIZE.max(size) {
            let half: Vec<u8> = (0..PIECE_SIZE / 2).map(|_| b' ' + dice.below(95) as u8).collect();
            pool.extend_from_slice(&half);
            pool.extend_from_slice(&half);
        }
        Values { pool: pool.into(), size, position: 0 }
    }

    /// Bytes of each.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The next one.
    pub fn take(&mut self) -> &[u8] {
        if self.position + self.size > self.pool.len() {
            self.position = 0;
        }
        let start = self.position;
        self.position += self.size;
        &self.pool[start..start + self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first piece repeats its half; pieces differ; the pool begins again at its end; a value
    /// larger than the usual pool has one of its own.
    #[test]
    fn values_are_half_repetition() {
        let mut values = Values::new(100);
        let first = values.take().to_vec();
        assert_eq!(first[..50], first[50..]);
        assert_ne!(values.take(), first);
        let again = (2..).position(|_| values.take() == first).expect("the pool is finite");
        assert!(again > 10_000);
        assert_eq!(Values::new(3 << 20).take().len(), 3 << 20);
        assert_eq!(Values::new(0).take(), b"");
    }
}
