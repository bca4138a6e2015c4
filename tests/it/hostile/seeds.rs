//! The examples that `fuzz/corpus` begins with: files of `fixtures`, and what is inside them.

use std::fs;
use std::path::Path;

use beachdb::format::block::{self, Block};
use beachdb::format::edit::Edit;
use beachdb::format::frame::{self, BatchPayload, Decoded};
use beachdb::format::header::{FileKind, HEADER_SIZE, Header};
use beachdb::format::table::{FOOTER_SIZE, Footer, Handle};

/// An example: its target, its name, its bytes.
type Seed = (&'static str, String, Vec<u8>);

/// Frames or data blocks of one file that become examples.
const PARTS_MAX: usize = 2;

const LOGS: [&str; 4] = [
    "v1/crashed/000023.wal",
    "v1/checkpoint/000028.wal",
    "damaged/sound.wal",
    "damaged/torn-tail.wal",
];
const MANIFESTS: [&str; 3] =
    ["v1/fresh/MANIFEST-000002", "v1/levels/MANIFEST-000030", "v1/crashed/MANIFEST-000020"];
const TABLES: [&str; 3] =
    ["v1/levels/000023.sst", "v1/checkpoint/000027.sst", "damaged/table-sound.sst"];

pub(super) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for path in LOGS {
        let bytes = read(path);
        framed(&mut seeds, path, &bytes, FileKind::Wal);
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 64;
        seeds.push(("log", flat(path), bytes[..end.min(bytes.len())].to_vec()));
    }
    for path in MANIFESTS {
        let bytes = read(path);
        framed(&mut seeds, path, &bytes, FileKind::Manifest);
        seeds.push(("manifest", flat(path), bytes));
    }
    for path in TABLES {
        let bytes = read(path);
        blocks(&mut seeds, path, &bytes);
        seeds.push(("table", flat(path), bytes));
    }
    for (index, name) in ["MANIFEST-000002\n", "000001.wal", "000003.sst", "CURRENT", "9999999.sst"]
        .iter()
        .enumerate()
    {
        seeds.push(("names", format!("name-{index}"), name.as_bytes().to_vec()));
    }
    seeds.push(("names", "current".to_owned(), read("v1/fresh/CURRENT")));
    stores(&mut seeds);
    seeds
}

fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    fs::read(path).expect("a fixture")
}

fn flat(path: &str) -> String {
    path.replace(['/', '.'], "-")
}

fn framed(seeds: &mut Vec<Seed>, path: &str, bytes: &[u8], kind: FileKind) {
    let header = Header::decode(bytes, kind).expect("a sound header");
    seeds.push(("header", flat(path), bytes[..HEADER_SIZE].to_vec()));
    let (mut at, mut count) = (HEADER_SIZE, 0);
    while let Decoded::Frame { kind, payload, size, .. } =
        frame::decode(&bytes[at..], header.id, at as u64)
    {
        let name = format!("{}-{count}", flat(path));
        if count < PARTS_MAX || kind == frame::Kind::Close {
            seeds.push(("frame", name.clone(), bytes[at..at + size].to_vec()));
            seeds.push(
                match BatchPayload::decode(payload).ok().filter(|_| kind == frame::Kind::Batch) {
                    Some(content) => ("batch", name.clone(), content.batch.to_vec()),
                    None => ("payload", name.clone(), payload.to_vec()),
                },
            );
            if kind == frame::Kind::Batch {
                seeds.push(("payload", name.clone(), payload.to_vec()));
            }
        }
        if kind == frame::Kind::Edit {
            let edit = Edit::decode(payload).expect("a sound edit");
            for (_, table) in edit.tables_added.iter().take(1) {
                let mut meta = Vec::new();
                table.encode(&mut meta);
                seeds.push(("table_meta", name.clone(), meta));
            }
            if count < 4 {
                seeds.push(("edit", name, payload.to_vec()));
            }
        }
        at += size;
        count += 1;
    }
}

fn blocks(seeds: &mut Vec<Seed>, path: &str, bytes: &[u8]) {
    let start = bytes.len() - FOOTER_SIZE;
    let footer = Footer::decode(&bytes[start..], start as u64).expect("a sound footer");
    let name = flat(path);
    let stored = |handle: Handle| {
        bytes[handle.offset as usize..handle.offset as usize + handle.size as usize].to_vec()
    };
    let content = |kind, handle: Handle| {
        block::unseal(kind, stored(handle), footer.id, handle.offset).expect("a sound block")
    };
    seeds.push(("footer", name.clone(), bytes[start..].to_vec()));
    seeds.push(("filter", name.clone(), content(block::Kind::Filter, footer.filter)));
    seeds.push(("properties", name.clone(), content(block::Kind::Properties, footer.properties)));
    let index = content(block::Kind::Index, footer.index);
    let data_end = footer.filter.offset.to_le_bytes();
    seeds.push(("index", name.clone(), [&data_end, index.as_slice()].concat()));
    let index = Block::new(index).expect("a sound index");
    for position in 0..index.count().min(PARTS_MAX) {
        let handle = Handle::decode(index.value(position)).expect("a sound handle");
        let name = format!("{name}-{position}");
        seeds.push(("sealed_block", name.clone(), stored(handle)));
        seeds.push(("block", name, content(block::Kind::Data, handle)));
    }
    seeds.push(("block", format!("{name}-index"), index.into_content()));
}

fn stores(seeds: &mut Vec<Seed>) {
    for (name, harms) in [
        ("untouched", vec![0x81]),
        ("flip", vec![1, 0, 1, 40, 0]),
        ("cut-log", vec![0x82, 2, 5, 100, 0]),
        ("length", vec![0x81, 3, 2, 68, 0, 7, 3, 3, 30, 0, 4]),
        ("missing", vec![3, 6, 2, 0, 0]),
        ("twice", vec![0x82, 8, 4, 0, 0, 3, 99]),
        ("spliced", vec![0x81, 5, 3, 0, 1, 64, 0, 4, 7, 2, 200, 0]),
    ] {
        seeds.push(("store", name.to_owned(), harms));
    }
    for (name, files) in [
        (
            "fresh",
            [
                (0, 0, "v1/fresh/CURRENT"),
                (1, 2, "v1/fresh/MANIFEST-000002"),
                (2, 1, "v1/fresh/000001.wal"),
            ],
        ),
        (
            "torn",
            [
                (0, 0, "v1/fresh/CURRENT"),
                (1, 2, "v1/fresh/MANIFEST-000002"),
                (2, 1, "damaged/cut.wal"),
            ],
        ),
        (
            "table",
            [
                (0, 0, "v1/fresh/CURRENT"),
                (3, 3, "v1/checkpoint/000027.sst"),
                (2, 1, "damaged/cut.wal"),
            ],
        ),
    ] {
        let mut bytes = vec![0x80];
        for (kind, number, path) in files {
            let mut content = read(path);
            content.truncate(content.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1);
            bytes.extend_from_slice(&[kind, number]);
            bytes.extend_from_slice(&(content.len() as u16).to_le_bytes());
            bytes.extend_from_slice(&content);
        }
        seeds.push(("archive", name.to_owned(), bytes));
    }
}
