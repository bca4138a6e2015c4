//! From bytes to the files of a store.

use std::collections::BTreeMap;

use crate::inspect::hostile::seal;

/// The files of a store, by their names.
type Files = BTreeMap<String, Vec<u8>>;

/// The file of a store, embedded.
macro_rules! embedded {
    ($store:literal: $($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../../fixtures/v1/", $store, "/", $name)))),*]
    };
}

/// The stores that damage begins from.
const STORES: &[&[(&str, &[u8])]] = &[
    embedded!("fresh": "CURRENT" "MANIFEST-000002" "000001.wal"),
    embedded!("crashed": "CURRENT" "MANIFEST-000002" "MANIFEST-000020" "000021.sst" "000023.wal"
        "000024.sst" "000025.sst" "000026.sst"),
    embedded!("levels": "CURRENT" "MANIFEST-000002" "MANIFEST-000018" "MANIFEST-000030" "000023.sst"
        "000025.wal" "000026.sst" "000027.sst" "000029.sst"),
    embedded!("checkpoint": "CURRENT" "MANIFEST-000029" "000021.sst" "000024.sst" "000025.sst"
        "000026.sst" "000027.sst" "000028.wal"),
];

/// What a length is replaced by: those around which a reader's arithmetic breaks.
const LENGTHS: [u32; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];

/// Harms done to one store.
const HARMS_MAX: usize = 32;

/// Bytes of a file that grows by harms.
const FILE_SIZE_MAX: usize = 1 << 16;

/// A store from `fixtures/v1`, damaged as the bytes say: the first chooses the store and whether the
/// checksums are made right in the end; then come the harms.
pub(super) fn damaged(bytes: &[u8]) -> Files {
    let mut input = Input(bytes);
    let first = input.u8();
    let store = STORES[usize::from(first) % STORES.len()];
    let mut files: Files =
        store.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    for _ in 0..HARMS_MAX {
        if input.0.is_empty() {
            break;
        }
        harm(&mut files, &mut input);
    }
    sealed(files, first & 0x80 != 0)
}

/// The files that the bytes list: of each a byte for the kind, its number, two bytes of size, the
/// content. The first byte of all says whether the checksums are made right.
pub(super) fn unpacked(bytes: &[u8]) -> Files {
    let mut input = Input(bytes);
    let first = input.u8();
    let mut files = Files::new();
    while !input.0.is_empty() {
        let (kind, number) = (input.u8(), input.u8());
        let size = usize::from(input.u16());
        files.insert(name(kind, number), input.take(size).to_vec());
    }
    sealed(files, first & 0x80 != 0)
}

fn name(kind: u8, number: u8) -> String {
    match kind % 6 {
        0 => "CURRENT".to_owned(),
        1 => format!("MANIFEST-{number:06}"),
        2 => format!("{number:06}.wal"),
        3 => format!("{number:06}.sst"),
        4 => "CURRENT.tmp".to_owned(),
        _ => format!("{number:06}.tmp"),
    }
}

fn sealed(mut files: Files, seal: bool) -> Files {
    if seal {
        files.values_mut().for_each(|bytes| seal::file(bytes));
    }
    files
}

/// Does to one file what the next bytes say.
fn harm(files: &mut Files, input: &mut Input<'_>) {
    let (what, whose) = (input.u8(), input.u8());
    let Some(path) = nth(files, whose) else { return };
    let mut bytes = files.remove(&path).unwrap_or_default();
    let at = usize::from(input.u16()) % (bytes.len() + 1);
    let rest = bytes.get_mut(at..).unwrap_or_default();
    match what % 9 {
        0 => rest.iter_mut().take(1).for_each(|byte| *byte ^= 1 << (what >> 5)),
        1 => {
            let size = usize::from(input.u8() % 16) + 1;
            rest.iter_mut().zip(input.take(size)).for_each(|(byte, new)| *byte = *new);
        }
        2 => bytes.truncate(at),
        3 => {
            let length = LENGTHS[usize::from(input.u8()) % LENGTHS.len()].to_le_bytes();
            rest.iter_mut().zip(length).for_each(|(byte, new)| *byte = new);
        }
        4 => rest.iter_mut().take(512).for_each(|byte| *byte = 0),
        5 => {
            let from = usize::from(input.u16());
            let other = nth(files, input.u8()).and_then(|other| files.get(&other)?.get(from..));
            rest.iter_mut().zip(other.unwrap_or_default()).for_each(|(byte, new)| *byte = *new);
        }
        6 => return,
        7 if bytes.len() < FILE_SIZE_MAX => {
            let again = bytes.get(at..bytes.len().min(at + 4096)).unwrap_or_default().to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            // A second name, so that two files claim to be the same.
            let (kind, number) = (input.u8(), input.u8());
            files.insert(name(kind, number), bytes.clone());
        }
    }
    files.insert(path, bytes);
}

fn nth(files: &Files, index: u8) -> Option<String> {
    files.keys().nth(usize::from(index) % files.len().max(1)).cloned()
}

/// Bytes that are taken from the front; behind their end there are zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, size: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(size.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }
}
