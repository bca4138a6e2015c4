//! Stores with random histories, and what must be in them.

use std::collections::BTreeMap;
use std::path::Path;

use beachdb::{Compression, Db, Durability, Options, SeqNo, Strategy, WriteBatch};

use super::stores::Beach;

/// Keys and their values.
pub(super) type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A closed store, and everything that was done to it.
pub(super) struct History {
    pub(super) beach: Beach,
    /// What a read returns.
    pub(super) pairs: Pairs,
    /// Every operation: a key and the value it got, or none.
    pub(super) ops: BTreeMap<SeqNo, (Vec<u8>, Option<Vec<u8>>)>,
    /// The pairs at the moment of the checkpoint `then`.
    pub(super) then: Pairs,
}

/// A small generator, so that a seed is a history.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }
}

/// The `n`th key: among them text, bytes that are no text, and one that others begin with.
pub(super) fn key(n: u64) -> Vec<u8> {
    match n % 4 {
        0 => format!("beach{:02}", n).into_bytes(),
        1 => vec![0xff, n as u8, 0],
        2 => format!("beach{:02}/dune", n).into_bytes(),
        _ => vec![b'a'; 1 + n as usize / 4],
    }
}

pub(super) const KEYS: u64 = 60;

fn options(seed: u64) -> Options {
    let strategy = match seed % 3 {
        0 => Strategy::Hybrid,
        1 => Strategy::Leveled,
        _ => Strategy::SizeTiered,
    };
    let compression = if seed.is_multiple_of(2) { Compression::Lz4 } else { Compression::None };
    Options::new()
        .memtable_size(6 << 10)
        .log_size(4 << 10)
        .table_size(2 << 10)
        .manifest_size(2 << 10)
        .strategy(strategy)
        .compression(compression)
}

impl History {
    /// Some hundred operations, with flushes, compactions and openings between them, and a
    /// checkpoint on the way, `then` beside the store.
    pub(super) fn of(seed: u64) -> History {
        let beach = Beach::new();
        let mut history =
            History { beach, pairs: Pairs::new(), ops: BTreeMap::new(), then: Pairs::new() };
        let mut dice = Dice::new(seed);
        let mut db = options(seed).open(history.beach.store()).expect("open");
        let steps = 250 + dice.below(250);
        let checkpoint = dice.below(steps);
        for step in 0..steps {
            match dice.below(100) {
                0..=2 => db.flush().expect("flush"),
                3 => db.compact::<&[u8], _>(..).expect("compact"),
                4 | 5 => {
                    db.close().expect("close");
                    db = options(seed).open(history.beach.store()).expect("open");
                }
                _ => history.write(&db, &mut dice),
            }
            if step == checkpoint {
                db.checkpoint(history.beach.home().join("then")).expect("checkpoint");
                history.then = history.pairs.clone();
            }
        }
        db.close().expect("close");
        history
    }

    fn write(&mut self, db: &Db, dice: &mut Dice) {
        let mut batch = WriteBatch::new();
        let mut ops = Vec::new();
        for _ in 0..=dice.below(4) {
            let key = key(dice.below(KEYS));
            let value = (dice.below(4) > 0).then(|| {
                let most = 1 << dice.below(10);
                let size = dice.below(most) as usize;
                (0..size).map(|at| (at / 7) as u8 ^ dice.below(3) as u8).collect::<Vec<u8>>()
            });
            match &value {
                Some(value) => batch.put(&key, value),
                None => batch.delete(&key),
            };
            ops.push((key, value));
        }
        let count = ops.len() as u64;
        let last = db.write(batch, Durability::Buffered).expect("write");
        for (seqno, (key, value)) in (last.0 - count + 1..).map(SeqNo).zip(ops) {
            match &value {
                Some(value) => self.pairs.insert(key.clone(), value.clone()),
                None => self.pairs.remove(&key),
            };
            self.ops.insert(seqno, (key, value));
        }
    }
}

/// The bytes of an object's field, however it is spelled.
pub(super) fn bytes(object: &serde_json::Value, name: &str) -> Vec<u8> {
    match object[name].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let text = object[format!("{name}_b64")].as_str().expect("the bytes");
            beachdb::cli::encode::decode_base64(text.as_bytes()).expect("base64")
        }
    }
}

/// Bytes of all files in a directory.
pub(super) fn size_of(dir: &Path) -> u64 {
    let listed = std::fs::read_dir(dir).expect("the store");
    listed.map(|entry| entry.expect("a name").metadata().expect("its size").len()).sum()
}
