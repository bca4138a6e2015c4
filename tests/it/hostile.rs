//! Hostile files: bytes that somebody made to break whoever reads them. Every decoder, every report
//! and whole stores take the examples in `fuzz/corpus` and mutations of them, and return.
//!
//! `BEACH_HOSTILE_CASES=100000` makes as many mutations for each target; a failure leaves the bytes in
//! the directory for temporary files, as an example to be kept.

#![allow(clippy::disallowed_methods, reason = "tests read examples and note failures")]

mod allocator;
mod mutate;
mod seeds;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use beachdb::crash::hostile::targets;
use beachdb::inspect::hostile::Target;

/// Bytes that one allocation may have: far more than any example needs, far less than a hostile length
/// asks for.
const ALLOCATION_MAX: usize = 64 << 20;

/// A case that takes longer hangs.
const CASE_MAX: Duration = Duration::from_secs(20);

/// Mutations of the decoders' examples, and of the others', where the environment does not say.
const CASES: (usize, usize) = (3000, 60);

/// All examples together are no larger than this, in bytes.
const CORPUS_SIZE_MAX: u64 = 160 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The examples of a target, in the order of their names.
fn examples(target: &str) -> Vec<Vec<u8>> {
    let listed = fs::read_dir(corpus().join(target)).into_iter().flatten().flatten();
    let mut paths: Vec<_> = listed.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("an example")).collect()
}

fn cases_of(target: &str) -> usize {
    let slow = ["log", "manifest", "table", "store", "archive"].contains(&target);
    let told = std::env::var("BEACH_HOSTILE_CASES").ok().and_then(|cases| cases.parse().ok());
    told.unwrap_or(if slow { CASES.1 } else { CASES.0 })
}

/// Runs one case; the error says what went wrong and where the bytes are.
fn run((name, target): Target, bytes: &[u8]) -> Result<(), String> {
    let begin = Instant::now();
    let (largest, outcome) =
        allocator::largest_in(|| catch_unwind(AssertUnwindSafe(|| target(bytes))));
    let why = if outcome.is_err() {
        "panicked".to_owned()
    } else if largest > ALLOCATION_MAX {
        format!("allocated {largest} bytes at once")
    } else if begin.elapsed() > CASE_MAX {
        format!("took {:?}", begin.elapsed())
    } else {
        return Ok(());
    };
    let kept = std::env::temp_dir().join(format!("hostile-{name}"));
    let _ = fs::write(&kept, bytes);
    Err(format!("{name} {why}; the bytes are in {}", kept.display()))
}

fn campaign(target: Target) -> Result<(), String> {
    let examples = examples(target.0);
    if examples.is_empty() {
        return Err(format!("{}: no examples", target.0));
    }
    for bytes in &examples {
        run(target, bytes)?;
    }
    let mut mutator = mutate::Mutator::new(target.0, &examples);
    for _ in 0..cases_of(target.0) {
        run(target, &mutator.next())?;
    }
    Ok(())
}

/// Thousands of mutations of valid bytes for each decoder, with right checksums too, and damaged stores
/// that are inspected, read, repaired, opened and written: no panic, no hang, no large allocation. What
/// a decoder accepts must mean the same after encoding; inspection and refusals change no file.
#[test]
fn no_bytes_break_a_reader() {
    let failed: Vec<String> =
        targets().into_iter().filter_map(|target| campaign(target).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The largest allocation is seen, a second one of zeros as well, and one of another thread is not
/// mistaken for ours: without this the limit above would hold for anything.
#[test]
fn a_large_allocation_is_noticed() {
    let large = 3 * ALLOCATION_MAX;
    let (seen, _) = allocator::largest_in(|| std::hint::black_box(Vec::<u8>::with_capacity(large)));
    assert_eq!(seen, large);
    let (seen, _) = allocator::largest_in(|| std::hint::black_box(vec![0_u8; large]));
    assert_eq!(seen, large);
    let (seen, _) = allocator::largest_in(|| std::hint::black_box(vec![0_u8; 10]));
    assert_eq!(seen, 10);
}

/// A target that panics and one that allocates what a length says fail; one that returns passes.
#[test]
fn a_target_that_breaks_is_reported() {
    let large: fn(&[u8]) = |_| drop(std::hint::black_box(vec![0_u8; 2 * ALLOCATION_MAX]));
    assert!(
        run(("panics", |_| panic!("as it should")), b"x")
            .is_err_and(|why| why.contains("panicked"))
    );
    assert!(run(("large", large), b"x").is_err_and(|why| why.contains("allocated")));
    assert_eq!(run(("sound", |_| {}), b"x"), Ok(()));
}

/// Each target has its fuzz target, under the same name, and the other way round; the examples are few.
#[test]
fn every_target_is_fuzzed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest =
        fs::read_to_string(root.join("Cargo.toml")).expect("the manifest of the targets");
    let files = fs::read_dir(root.join("fuzz_targets")).expect("the targets").flatten();
    let mut files: Vec<String> =
        files.map(|file| file.file_name().to_string_lossy().replace(".rs", "")).collect();
    let mut names: Vec<String> = targets().iter().map(|(name, _)| (*name).to_owned()).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names);
    for name in &names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\n")),
            "{name} is not in the manifest"
        );
        let path = root.join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(path).expect("a target");
        assert!(text.contains(&format!("(\"{name}\", bytes)")), "{name} calls another");
    }
    let sizes = names.iter().flat_map(|name| examples(name)).map(|bytes| bytes.len() as u64);
    let size: u64 = sizes.sum();
    assert!(size <= CORPUS_SIZE_MAX, "the examples have {size} bytes");
}

/// Writes the examples anew from `fixtures`: `cargo test --test it write_the_examples -- --ignored`.
#[test]
#[ignore = "changes the repository"]
fn write_the_examples() {
    for (target, name, bytes) in seeds::all() {
        let dir = corpus().join(target);
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join(name), bytes).expect("an example");
    }
}
