//! Hostile bytes for every decoder and every report over one file: what the fuzz targets and the
//! tests of hostile files call.
//!
//! Invariants:
//! - A target takes any bytes and returns. A panic in it is a bug of what it calls, an assertion of
//!   its own included.
//! - What a decoder accepts, it encodes to something that decodes to the same.
//! - A checksum hides what lies behind it from whoever guesses bytes. So each target of checked bytes
//!   runs twice: as they are, and with the checksums made right by [`seal`].

mod files;
pub mod seal;

use crate::format::batch::{self, WriteBatch};
use crate::format::block::{self, Block};
use crate::format::edit::Edit;
use crate::format::filter::{self, Filter};
use crate::format::frame::{
    self, BatchPayload, ClosePayload, Decoded, EndPayload, GapPayload, MarkPayload,
};
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::format::key::Trailer;
use crate::format::names;
use crate::format::state::State;
use crate::format::table::{FOOTER_SIZE, Footer, Handle, Properties, TableMeta};
use crate::table::Index;
use crate::types::FileId;

/// A name, which is also that of its directory of examples, and what to call with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// One for each decoder, then one for each kind of file.
pub const DECODERS: &[Target] = &[
    ("frame", frame),
    ("header", header),
    ("payload", payload),
    ("batch", batch),
    ("edit", edit),
    ("sealed_block", sealed_block),
    ("block", block),
    ("index", index),
    ("filter", filter),
    ("footer", footer),
    ("properties", properties),
    ("table_meta", table_meta),
    ("names", names),
    ("log", files::log),
    ("manifest", files::manifest),
    ("table", files::table),
];

/// The identity that the bytes of a frame or block are checked with.
const ID: FileId = FileId(0x0706_0504_0302_0100);

/// Entries that are searched for in a block; all are read.
const SEARCHES_MAX: usize = 64;

fn frame(bytes: &[u8]) {
    let at = HEADER_SIZE as u64;
    let mut sealed = bytes.to_vec();
    seal::frames(&mut sealed, ID, 0, at);
    for bytes in [bytes, &sealed] {
        let head = frame::head(bytes, ID, at);
        if let Decoded::Frame { payload, size, .. } = frame::decode(bytes, ID, at) {
            assert!(size <= bytes.len() && payload.len() < size);
            assert!(head.is_some_and(|head| head.is_whole(bytes)), "a frame without a head");
        }
    }
}

fn header(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::header(&mut sealed);
    for bytes in [bytes, &sealed] {
        for kind in [FileKind::Wal, FileKind::Manifest] {
            if let Ok(header) = Header::decode(bytes, kind) {
                assert_eq!(header.encode()[..], bytes[..HEADER_SIZE]);
            }
        }
    }
}

fn payload(bytes: &[u8]) {
    if let Ok(payload) = BatchPayload::decode(bytes) {
        assert_eq!(BatchPayload::encode_first(payload.first)[..], bytes[..8]);
    }
    let same = |again: &[u8]| assert_eq!(again, bytes);
    if let Ok(mark) = MarkPayload::decode(bytes) {
        same(&mark.encode());
    }
    if let Ok(close) = ClosePayload::decode(bytes) {
        same(&close.encode());
    }
    if let Ok(end) = EndPayload::decode(bytes) {
        same(&end.encode());
    }
    if let Ok(gap) = GapPayload::decode(bytes) {
        same(&gap.encode());
    }
}

fn batch(bytes: &[u8]) {
    let valid = batch::validate(bytes);
    if let Ok(decoder) = batch::Decoder::new(bytes) {
        let ops: Result<Vec<_>, _> = decoder.collect();
        assert_eq!(ops.is_ok(), valid.is_ok(), "the two readers of a batch disagree");
    }
    if let Ok(batch) = WriteBatch::from_bytes(bytes) {
        assert_eq!(batch.as_bytes(), bytes);
        assert_eq!(batch.ops().count(), batch.len());
    }
}

fn edit(bytes: &[u8]) {
    let Ok(edit) = Edit::decode(bytes) else { return };
    assert_eq!(Edit::decode(&edit.encode()).as_ref(), Ok(&edit));
    let mut state = State::default();
    if state.apply(&edit).is_ok() {
        let _ = state.apply(&edit);
        let _ = state.tables().count();
        assert!(Edit::decode(&state.to_edit().encode()).is_ok(), "a state that cannot be written");
    }
}

fn sealed_block(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::block(&mut sealed, ID, 0);
    let mut content = Vec::new();
    for bytes in [bytes, &sealed] {
        for kind in 1..=4 {
            let Some(kind) = block::Kind::from_u8(kind) else { continue };
            let whole = block::unseal(kind, bytes.to_vec(), ID, 0);
            match block::unseal_into(kind, bytes, ID, 0, &mut content) {
                Ok(_) => assert_eq!(whole.as_ref(), Ok(&content)),
                Err(_) => assert!(whole.is_err(), "the two ways to unseal disagree"),
            }
        }
    }
}

fn block(bytes: &[u8]) {
    let Ok(block) = Block::new(bytes.to_vec()) else { return };
    block.touch_keys();
    let is_ordered = block.verify_order().is_ok();
    for index in 0..block.count() {
        let (user, trailer) = (block.user_key(index), block.trailer(index));
        let _ = block.value(index);
        assert!(block.value_range(index).end <= block.content().len());
        assert!(block.key_is(index, &user));
        if index < SEARCHES_MAX {
            let _ = block.place(&user);
            let found = block.lower_bound(&user, trailer);
            assert!(found == index || !is_ordered, "entry {index} is found at {found}");
        }
    }
    let _ = block.lower_bound(bytes, Trailer::LAST);
}

fn index(bytes: &[u8]) {
    let Some((data_end, content)) = bytes.split_first_chunk() else { return };
    let Ok(index) = Index::new(content.to_vec(), u64::from_le_bytes(*data_end)) else { return };
    for position in 0..index.count() {
        assert!(index.handle(position).end().is_some());
    }
    let _ = index.find(content, Trailer::FIRST);
    let _ = index.find(b"", Trailer::LAST);
}

fn filter(bytes: &[u8]) {
    if let Ok(filter) = Filter::decode(bytes) {
        let _ = (filter.fill(), filter.probes(), filter.line_count(), filter.size());
        let _ = filter.may_contain(filter::hash(bytes));
        let _ = (filter.may_contain(0), filter.may_contain(u64::MAX));
    }
}

fn footer(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::footer(&mut sealed, 0);
    for bytes in [bytes, &sealed] {
        let _ = Footer::is_intact_but_for_magic(bytes, 0);
        let Ok(footer) = Footer::decode(bytes, 0) else { continue };
        for size in [0, FOOTER_SIZE as u64, u64::MAX] {
            let _ = footer.check_places(size);
        }
        let mut again = Vec::new();
        footer.encode(&mut again, 0);
        assert!(footer.version > 1 || again == bytes, "another footer than it was");
    }
    let _ = Handle::decode(bytes).map(Handle::check_size);
}

fn properties(bytes: &[u8]) {
    if let Ok(properties) = Properties::decode(bytes) {
        let mut again = Vec::new();
        properties.encode(&mut again);
        assert_eq!(Properties::decode(&again), Ok(properties));
    }
}

fn table_meta(bytes: &[u8]) {
    if let Ok(meta) = TableMeta::decode(bytes) {
        let mut again = Vec::new();
        meta.encode(&mut again);
        let _ = meta.check();
        assert_eq!(TableMeta::decode(&again), Ok(meta));
    }
}

fn names(bytes: &[u8]) {
    let _ = names::parse(&String::from_utf8_lossy(bytes)).number();
    if let Ok(number) = names::decode_current(bytes) {
        assert_eq!(names::encode_current(number).as_bytes(), bytes);
    }
}
