//! Damaged manifests: every flipped bit, and one fixture for each kind of damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use beachdb::format::edit::{Edit, Reason, StoreInfo};
use beachdb::format::frame::Kind;
use beachdb::format::names;
use beachdb::inspect::frames::Expect;
use beachdb::inspect::manifest::{ManifestItem, read_manifest};
use beachdb::inspect::{Code, Finding};
use beachdb::record::Writer;
use beachdb::runtime::inline::InlineRuntime;
use beachdb::types::{FileId, FileNumber, Level, StoreId};
use beachdb::vfs::sim::SimVfs;
use beachdb::vfs::{Access, Vfs};
use beachdb::{Error, Options};

use super::super::stores::MANIFEST;

type Files = Vec<(String, Vec<u8>)>;

/// Two flushes on the simulated disk: a manifest of five edits.
fn small(seed: u64, manifest_size: u64) -> Files {
    let (vfs, runtime) = (SimVfs::new(), InlineRuntime::new(seed));
    let options = Options::new().log_size(4096).manifest_size(manifest_size);
    let options = options.vfs(Arc::new(vfs.clone())).runtime(Arc::new(runtime));
    let db = options.open("db").expect("open");
    for round in 0..2 {
        db.put("tide", format!("{round}")).expect("put");
        db.put("shell", "white").expect("put");
        db.flush().expect("flush");
    }
    db.close().expect("close");
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut files: Files =
        vfs.dump().into_iter().map(|(path, bytes)| (name(&path), bytes)).collect();
    files.retain(|(name, _)| name != names::LOCK);
    files
}

fn named<'f>(files: &'f mut Files, part: &str) -> &'f mut Vec<u8> {
    let found = files.iter_mut().rev().find(|(name, _)| name.contains(part));
    &mut found.expect("the file").1
}

/// The edits of a manifest with their places, and what is wrong with it.
fn read(bytes: &[u8]) -> (Vec<(u64, u64, Edit)>, Vec<Finding>) {
    let vfs = SimVfs::new();
    vfs.create_dir_all(Path::new("db")).expect("a directory");
    let path = Path::new("db/MANIFEST-000002");
    vfs.create(path).and_then(|file| file.write_at(bytes, 0)).expect("a file");
    let file = vfs.open(path, Access::Read).expect("the file");
    let (mut edits, mut findings) = (Vec::new(), Vec::new());
    let read = read_manifest(&*file, &Expect::default(), &mut |item| {
        findings.extend(item.finding().cloned());
        if let ManifestItem::Edit(report) = item {
            edits.extend(report.edit.map(|edit| (report.offset, report.size, edit)));
        }
        Ok::<(), Error>(())
    });
    read.expect("it is read to its end");
    (edits, findings)
}

/// Every bit of a manifest: the damage is named within the frame it is in, and every other edit is
/// shown as it was.
#[test]
fn every_flipped_bit_is_named_and_hides_no_other_edit() {
    let bytes = named(&mut small(42, 1 << 20), "MANIFEST").clone();
    let (edits, findings) = read(&bytes);
    assert_eq!((edits.len(), findings.as_slice()), (5, &[][..]));
    assert_eq!(edits.last().map(|(offset, size, _)| offset + size), Some(bytes.len() as u64));
    let mut flips = 0;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let at = (bit / 8) as u64;
        let inside = |(offset, size, _): &&(u64, u64, Edit)| (*offset..offset + size).contains(&at);
        let (begin, end) = edits.iter().find(inside).map_or((0, 64), |it| (it.0, it.0 + it.1));
        let (shown, findings) = read(&damaged);
        let others: Vec<_> = edits.iter().filter(|edit| !inside(edit)).cloned().collect();
        assert_eq!(shown, others, "bit {} of byte {at}", bit % 8);
        let [found] = findings.as_slice() else { panic!("byte {at}: {findings:?}") };
        let offset = found.offset.expect("a place");
        assert!(found.is_damage() && (begin..end).contains(&offset), "byte {at}: {found}");
        let code = if begin == 0 { Code::ManifestHeader } else { Code::ManifestFlip };
        assert_eq!(found.code, code, "byte {at}: {found}");
        flips += 1;
    }
    println!("{flips} flipped bits");
}

/// Every cut: what is whole is shown; a cut inside a frame is a torn tail, for nobody promised more.
#[test]
fn every_cut_shows_what_is_whole() {
    let bytes = named(&mut small(42, 1 << 20), "MANIFEST").clone();
    let (edits, _) = read(&bytes);
    for cut in 64..bytes.len() {
        let (shown, findings) = read(&bytes[..cut]);
        let whole = edits.iter().filter(|(offset, size, _)| offset + size <= cut as u64);
        assert_eq!(shown, whole.cloned().collect::<Vec<_>>(), "cut at {cut}");
        let at_an_end = cut > 64 && edits.iter().any(|(offset, ..)| *offset == cut as u64);
        let codes: Vec<Code> = findings.iter().map(|found| found.code).collect();
        match cut {
            _ if at_an_end => assert_eq!(codes, [], "cut at {cut}"),
            64 => assert_eq!(codes, [Code::ManifestEmpty]),
            _ => assert!(codes.contains(&Code::ManifestTorn), "cut at {cut}: {codes:?}"),
        }
    }
}

/// Appends a frame of this manifest, with a right checksum.
pub(super) fn append(bytes: &mut Vec<u8>, payload: &[u8]) {
    let id = FileId(u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes")));
    let vfs = SimVfs::new();
    vfs.create_dir_all(Path::new("db")).expect("a directory");
    let file = vfs.create(Path::new("db/x")).expect("a file");
    file.write_at(bytes, 0).expect("write");
    let mut writer = Writer::new(Arc::clone(&file), id, bytes.len() as u64);
    writer.push(Kind::Edit, 0, &[payload]);
    writer.write().expect("write");
    *bytes = vec![0; file.size().expect("a size") as usize];
    file.read_at(bytes, 0).expect("read");
}

/// The files of a store with this damage. Offsets are those of [`small`].
fn damaged(code: Code) -> Files {
    let mut files = small(42, 1 << 20);
    let edits = read(named(&mut files, "MANIFEST")).0;
    let place = |index: usize| edits[index].0 as usize..(edits[index].0 + edits[index].1) as usize;
    let empty = Edit { reason: Reason::Rotate, time_ms: 1_700_000_000_000, ..Edit::default() };
    let manifest = named(&mut files, "MANIFEST");
    match code {
        Code::CurrentDamaged => named(&mut files, "CURRENT")[3] ^= 4,
        Code::ManifestHeader => manifest[20..24].fill(0x77),
        Code::ManifestFlip => manifest[place(2).start + 60] ^= 0x10,
        Code::ManifestZeros => manifest[place(2)].fill(0),
        Code::ManifestHole => manifest[place(2)].fill(0x5a),
        Code::ManifestForeign => {
            let other = named(&mut small(43, 1 << 20), "MANIFEST")[place(2)].to_vec();
            manifest[place(2)].copy_from_slice(&other);
        }
        Code::ManifestMisplaced => manifest.copy_within(place(1), place(3).start),
        Code::ManifestCut => manifest.truncate(place(4).start),
        Code::EditUnreadable => append(manifest, &[empty.encode(), vec![99, 0]].concat()),
        Code::EditContradicts => {
            let tables_removed = vec![(Level(3), FileNumber(77))];
            append(manifest, &Edit { tables_removed, ..empty }.encode());
        }
        Code::ManifestStranger => {
            let id = StoreId(0x5ea);
            let store = StoreInfo { id, comparator: "bytewise".to_owned(), format_version: 1 };
            append(manifest, &Edit { store: Some(store), ..empty }.encode());
        }
        Code::ManifestTorn => {
            let end = manifest.len();
            append(manifest, &empty.encode());
            manifest.truncate(end + 30);
        }
        Code::ManifestEmpty => manifest.truncate(64),
        Code::ManifestOlder => {
            files = small(42, 300);
            let current = named(&mut files, "CURRENT");
            *current = names::encode_current(FileNumber(2)).into_bytes();
        }
        Code::CurrentMissing => files.retain(|(name, _)| name != names::CURRENT),
        Code::ManifestMissing => files.retain(|(name, _)| !name.starts_with("MANIFEST")),
        other => panic!("{other} is not a manifest's"),
    }
    // Tables have no part in this, and only what the last log promises has.
    let promised = matches!(code, Code::ManifestCut | Code::ManifestOlder | Code::ManifestMissing);
    let last = files.iter().map(|(name, _)| name.clone()).filter(|it| it.ends_with(".wal")).max();
    files.retain(|(name, _)| {
        !name.ends_with(".sst")
            && (!name.ends_with(".wal") || promised && Some(name) == last.as_ref())
    });
    files
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/damaged/manifest")
}

/// Each kind of damage that a manifest or CURRENT can have lies in `fixtures/damaged/manifest`, with
/// what the tool prints about it. `BEACH_FIXTURES=1` makes the files anew, `UPDATE_GOLDEN=1` the
/// texts.
#[test]
fn every_kind_of_damage_has_a_fixture_and_a_dump() {
    let is_ours = |code: &&Code| code.id().starts_with("BM") || code.id().starts_with("BC");
    for code in Code::ALL.iter().filter(is_ours) {
        let dir = fixtures().join(code.id());
        if env::var_os("BEACH_FIXTURES").is_some() {
            fs::create_dir_all(&dir).expect("the directory");
            for (name, bytes) in damaged(*code) {
                fs::write(dir.join(name), bytes).expect("a file");
            }
        }
        let mut command = assert_cmd::Command::cargo_bin(MANIFEST).expect("the tool");
        let ran = command.current_dir(fixtures()).arg(code.id()).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let status = ran.status.code().expect("an exit");
        let shown = format!(
            "$ beach-manifest {code}\n{}--- standard error\n{}--- status {status}\n",
            text(&ran.stdout),
            text(&ran.stderr)
        );
        let path = dir.join("expected.txt");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &shown).expect("the text");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(shown, expected, "{code} differs; UPDATE_GOLDEN=1 makes the text anew");
        let is_damage = code.severity() == beachdb::inspect::Severity::Damage;
        assert_eq!(status, if is_damage { 3 } else { 0 }, "{code}");

        let found = format!("\"code\":\"{code}\"");
        for words in [&["check", "--json", code.id()][..], &["--json", code.id()]] {
            let mut command = assert_cmd::Command::cargo_bin(MANIFEST).expect("the tool");
            let ran = command.current_dir(fixtures()).args(words).output().expect("it runs");
            let out = text(&ran.stdout);
            assert!(out.contains(&found), "{words:?} does not tell {code}: {ran:?}");
            let schema = if words.len() == 3 { "manifest-check" } else { "manifest" };
            super::super::schema::assert_valid(schema, &out);
        }
    }
}
