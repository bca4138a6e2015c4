//! The filter of a table: a Bloom filter whose probes for one key all lie in one cache line.
//!
//! Invariants: a key that was given to [`build`] is always reported as possible; a damaged filter
//! is an error of [`Filter::decode`] (and before it of the block's checksum), never a "no". The
//! layout is in [`format::table`](super::table).

use super::block::CONTENT_SIZE_MAX;
use super::coding::Cursor;
use crate::probe::mutant;

const HEADER_SIZE: usize = 8;
const LINE_SIZE: usize = 64;
const LINES_MAX: u64 = (CONTENT_SIZE_MAX as u64 - HEADER_SIZE as u64) / LINE_SIZE as u64;
const PROBES_MAX: u8 = 16;

/// What the low half of a hash is multiplied with from probe to probe: 2^32 over the golden ratio.
const STEP: u32 = 0x9e37_79b9;

/// The hash of a user key, computed once for all filters it is looked up in: XXH3, 64 bits, seed 0.
#[must_use]
pub fn hash(user_key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(user_key)
}

/// The content of a filter block over these hashes; with 0 bits a key, a filter that lets all pass.
#[must_use]
pub fn build(hashes: &[u64], bits_per_key: u32) -> Vec<u8> {
    let bits = hashes.len() as u64 * u64::from(bits_per_key);
    let count = bits.div_ceil(LINE_SIZE as u64 * 8).min(LINES_MAX) as u32;
    // 0.69 times the bits a key would be best for a plain Bloom filter; keys that crowd into one
    // line shift the best a little down.
    let probes = if count == 0 { 0 } else { (bits_per_key * 6 / 10).clamp(1, 12) as u8 };
    let mut lines = vec![Line::default(); count as usize];
    // Rule 15: a filter has no false negative.
    let hashes = if mutant("filter_forgets_a_key") {
        &hashes[..hashes.len().saturating_sub(1)]
    } else {
        hashes
    };
    for &hash in hashes {
        if let Some(line) = lines.get_mut(line_index(hash, count)) {
            line.set(hash as u32, probes);
        }
    }
    let mut out = Vec::with_capacity(HEADER_SIZE + lines.len() * LINE_SIZE);
    out.extend_from_slice(&[probes, 0, 0, 0]);
    out.extend_from_slice(&count.to_le_bytes());
    for word in lines.iter().flat_map(|line| line.0) {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out
}

/// Sets the bits of a key in the content of a filter block, whose header says how many there are.
pub fn insert(content: &mut [u8], hash: u64) {
    let Some((&mut [probes, _, _, _, l0, l1, l2, l3], lines)) = content.split_first_chunk_mut()
    else {
        return;
    };
    let line = line_index(hash, u32::from_le_bytes([l0, l1, l2, l3])) * LINE_SIZE;
    if let Some(line) = lines.get_mut(line..line + LINE_SIZE) {
        for bit in bits(hash as u32, probes.min(PROBES_MAX)) {
            line[bit / 8] |= 1 << (bit % 8);
        }
    }
}

/// A filter in memory.
#[derive(Debug)]
pub struct Filter {
    probes: u8,
    lines: Vec<Line>,
}

impl Filter {
    /// Reads the content of a filter block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(content: &[u8]) -> Result<Filter, String> {
        let Some((header, bytes)) = content.split_first_chunk::<HEADER_SIZE>() else {
            return Err(format!("{} bytes of content, less than its header", content.len()));
        };
        let [probes, reserved @ .., l0, l1, l2, l3] = *header;
        let count = u32::from_le_bytes([l0, l1, l2, l3]);
        if reserved != [0; 3] {
            return Err("reserved bytes of the header are not zero".to_owned());
        }
        if u64::from(count) * LINE_SIZE as u64 != bytes.len() as u64 {
            return Err(format!("{count} lines, but {} bytes for them", bytes.len()));
        }
        if probes > PROBES_MAX || (probes == 0) != (count == 0) {
            return Err(format!("{probes} probes into {count} lines"));
        }
        let lines = bytes.chunks_exact(LINE_SIZE).map(Line::from_bytes).collect();
        Ok(Filter { probes, lines })
    }

    /// `false` if no user key with this hash is in the table.
    #[must_use]
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        match self.lines.get(line_index(hash, self.lines.len() as u32)) {
            Some(line) => line.has(hash as u32, self.probes),
            None => true,
        }
    }

    /// Probes for each key; 0 if there is no filter.
    #[must_use]
    pub fn probes(&self) -> u8 {
        self.probes
    }

    /// Lines of 64 bytes; 0 if there is no filter.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Bytes it takes in memory.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.lines.len() * LINE_SIZE) as u64
    }

    /// The share of bits that are set: about half in a filter that was sized well.
    #[must_use]
    pub fn fill(&self) -> f64 {
        let set: u64 =
            self.lines.iter().flat_map(|line| line.0).map(|w| w.count_ones() as u64).sum();
        set as f64 / (self.lines.len() * LINE_SIZE * 8).max(1) as f64
    }
}

/// The upper half of the hash, scaled down to the number of lines.
fn line_index(hash: u64, lines: u32) -> usize {
    (((hash >> 32) * u64::from(lines)) >> 32) as usize
}

/// One cache line: aligned, so that a lookup costs one miss.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([u64; LINE_SIZE / 8]);

impl Line {
    fn from_bytes(bytes: &[u8]) -> Line {
        let mut line = Line::default();
        let mut words = Cursor::new(bytes);
        for word in &mut line.0 {
            *word = words.u64().unwrap_or_default();
        }
        line
    }

    fn set(&mut self, hash: u32, probes: u8) {
        for bit in bits(hash, probes) {
            self.0[bit >> 6] |= 1 << (bit & 63);
        }
    }

    #[inline]
    fn has(&self, hash: u32, probes: u8) -> bool {
        bits(hash, probes).all(|bit| self.0[bit >> 6] >> (bit & 63) & 1 == 1)
    }
}

/// The bits of its line that a key sets: the top nine of the low half, then of its multiples.
#[inline]
fn bits(hash: u32, probes: u8) -> impl Iterator<Item = usize> {
    let mut state = hash;
    (0..probes).map(move |_| {
        let bit = (state >> 23) as usize;
        state = state.wrapping_mul(STEP);
        bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(keys: std::ops::Range<u32>) -> Vec<u64> {
        keys.map(|key| hash(format!("key{key:08}").as_bytes())).collect()
    }

    /// Looks up a hundred thousand keys that are in, and as many that are not, and counts.
    #[test]
    fn no_key_is_hidden_and_few_strangers_pass() {
        let present = hashes(0..100_000);
        let filter = Filter::decode(&build(&present, 10)).unwrap();
        assert_eq!(filter.probes(), 6);
        assert!(present.iter().all(|&hash| filter.may_contain(hash)));
        let passed = hashes(100_000..200_000).iter().filter(|&&h| filter.may_contain(h)).count();
        assert!(passed < 1_500, "{passed} of 100000 passed");
        assert!(passed > 300, "{passed} of 100000 passed: too good to be true");
        assert!((0.4..0.5).contains(&filter.fill()));
    }

    /// The same for every number of bits a key, and for tables of one key and of none.
    #[test]
    fn no_key_is_hidden_whatever_the_size() {
        for bits_per_key in 0..40 {
            for count in [0, 1, 2, 50, 1000] {
                let present = hashes(0..count);
                let filter = Filter::decode(&build(&present, bits_per_key)).unwrap();
                assert!(present.iter().all(|&hash| filter.may_contain(hash)));
            }
        }
    }

    /// Keys set one by one in an empty filter of the same size make the same bytes.
    #[test]
    fn a_filter_can_be_made_key_by_key() {
        let present = hashes(0..1_000);
        let built = build(&present, 10);
        let mut content = vec![0; built.len()];
        content[..8].copy_from_slice(&built[..8]);
        present.iter().for_each(|&hash| insert(&mut content, hash));
        assert_eq!(content, built);
        insert(&mut [6, 0, 0, 0, 9, 0, 0, 0, 1], 5);
    }

    /// A later writer may choose other numbers of probes; all probes of a reader that believes the
    /// header find their bits.
    #[test]
    fn the_probes_in_the_header_are_the_ones_used() {
        let present = hashes(0..50);
        let mut content = build(&present, 10);
        content[0] = 1;
        let one = Filter::decode(&content).unwrap();
        assert!(present.iter().all(|&hash| one.may_contain(hash)));
        let strangers = hashes(1_000..11_000);
        let passed = |filter: &Filter| strangers.iter().filter(|&&h| filter.may_contain(h)).count();
        let six = Filter::decode(&build(&present, 10)).unwrap();
        assert!(passed(&one) > 10 * passed(&six));
    }

    /// The hash is XXH3 as specified (its published value for no input), and a probe is where the
    /// format says it is: computed here a second time, bit by bit.
    #[test]
    fn hash_and_bits_are_as_documented() {
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
        let hash = 0x8000_0000_0123_4567;
        let content = build(&[hash; 60], 10);
        let line = 8 + 64; // 600 bits are two lines, and the upper half says: the second.
        let mut expected = vec![0; 2 * 64];
        let mut state = 0x0123_4567u32;
        for _ in 0..6 {
            let bit = (state >> 23) as usize;
            expected[64 + bit / 8] |= 1 << (bit % 8);
            state = (u64::from(state) * 0x9e37_79b9 % (1 << 32)) as u32;
        }
        assert_eq!(content[..8], [6, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(content[8..], expected);
        assert_eq!(line + 64, content.len());
    }

    /// Sizes, probes and reserved bytes that no writer writes are refused, and so is every cut.
    #[test]
    fn a_wrong_header_is_an_error() {
        let content = build(&hashes(0..100), 10);
        for cut in 0..content.len() {
            assert!(Filter::decode(&content[..cut]).is_err());
        }
        for (at, byte) in [(0, 0), (0, 17), (1, 1), (3, 1), (4, 1), (7, 0xff)] {
            let mut damaged = content.clone();
            damaged[at] = byte;
            assert!(Filter::decode(&damaged).is_err(), "byte {at} set to {byte}");
        }
    }
}
