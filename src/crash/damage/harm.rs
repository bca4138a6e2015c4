//! What is done to a file.

use std::fmt;
use std::path::PathBuf;

use super::{Files, used};
use crate::crash::workload::Dice;

/// Bytes in which a disk writes.
const SECTOR_SIZE: usize = 512;

/// Bytes of a log or manifest before its first frame.
const HEADER_SIZE: usize = 64;

/// One way to damage a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    Missing,
    Cut(usize),
    Flip {
        at: usize,
        bit: u8,
    },
    Fill {
        at: usize,
        size: usize,
        byte: u8,
    },
    /// The twin's bytes, from one offset on.
    Twin {
        at: usize,
        size: usize,
    },
    /// Bytes of the same file from another place.
    Moved {
        from: usize,
        to: usize,
        size: usize,
    },
    /// As it was after an earlier step.
    Older(usize),
}

/// One case: a file, and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) path: PathBuf,
    pub(super) harm: Harm,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name}: {:?}", self.harm)
    }
}

/// Some of each kind for a file of these bytes, and each older copy in `older` that differs.
pub(super) fn harms(path: &PathBuf, bytes: &[u8], older: &[Files], dice: &mut Dice) -> Vec<Harm> {
    let mut harms = vec![Harm::Missing, Harm::Cut(0), Harm::Cut(bytes.len() / 2)];
    // Unused space is worth a few tries, not most of them.
    let used = used(bytes);
    let mut within = |size: usize| dice.below(size.max(1) as u64) as usize;
    harms.push(Harm::Cut(bytes.len().saturating_sub(1)));
    harms.extend((0..4).map(|_| Harm::Cut(within(used))));
    for _ in 0..40 {
        harms.push(Harm::Flip { at: within(used), bit: within(8) as u8 });
    }
    harms.extend((0..4).map(|_| Harm::Flip { at: within(bytes.len()), bit: 3 }));
    for _ in 0..24 {
        let size = [2, 13, 64, SECTOR_SIZE][within(4)];
        let byte = [0x00, 0xff, 0x5a][within(3)];
        harms.push(Harm::Fill { at: within(used), size, byte });
    }
    harms.push(Harm::Twin { at: 0, size: bytes.len() });
    harms.push(Harm::Twin { at: HEADER_SIZE, size: bytes.len() });
    for _ in 0..4 {
        let at = within(used) / SECTOR_SIZE * SECTOR_SIZE;
        harms.push(Harm::Twin { at, size: SECTOR_SIZE });
    }
    for _ in 0..4 {
        let [from, to] = [within(used), within(used)].map(|at| at / 8 * 8);
        harms.push(Harm::Moved { from, to, size: 8 * (1 + within(30)) });
    }
    let mut last: Option<&Vec<u8>> = None;
    for (moment, files) in older.iter().enumerate() {
        let Some(copy) = files.get(path).filter(|copy| *copy != bytes) else { continue };
        if last != Some(copy) {
            harms.push(Harm::Older(moment));
        }
        last = Some(copy);
    }
    harms
}

/// Changes bytes in place; `twin` are those of the twin's file. A file that goes or comes back is
/// not changed here.
pub(super) fn apply(harm: &Harm, bytes: &mut Vec<u8>, twin: Option<&Vec<u8>>) {
    let within = |at: usize, size: usize, all: usize| at.min(all)..(at + size).min(all);
    match *harm {
        Harm::Cut(size) => bytes.truncate(size),
        Harm::Flip { at, bit } => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Harm::Fill { at, size, byte } => {
            let range = within(at, size, bytes.len());
            bytes[range].fill(byte);
        }
        Harm::Twin { at, size } => {
            let Some(twin) = twin else { return };
            let range = within(at, size, bytes.len().min(twin.len()));
            bytes[range.clone()].copy_from_slice(&twin[range]);
        }
        Harm::Moved { from, to, size } => {
            let piece = bytes[within(from, size, bytes.len())].to_vec();
            let end = (to + piece.len()).min(bytes.len());
            bytes[to..end].copy_from_slice(&piece[..end - to]);
        }
        Harm::Missing | Harm::Older(_) => {}
    }
}
