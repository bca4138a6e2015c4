//! Damage: what no crash leaves, and what therefore must never pass for one.
//!
//! A small history is played, and killed or closed. Then one file of it at a time is flipped in a
//! bit, overwritten, cut, emptied, taken away, replaced by an older copy of itself or by the same
//! file of a *twin*: a store of the same shape with other keys and another identity. The store then
//! - refuses to open, for corruption, and is left as it was,
//! - or says so when what is damaged is read, and whatever else it gives is right,
//! - or holds all that was promised: what was acknowledged, where only a crash could explain less
//!   what was durable, and where an older log is whole in itself, the store of that moment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::history::{Change, Setup, Shape, Step};
use super::oracle::{Broken, Oracle, failing};
use super::player::{DIR, Player, options};
use super::workload::Dice;
use crate::runtime::inline::InlineRuntime;
use crate::vfs::Vfs;
use crate::vfs::sim::SimVfs;
use crate::{Db, Error, Result, Value};

/// Bytes in which a disk writes.
const SECTOR_SIZE: usize = 512;

/// Bytes of a log or manifest before its first frame.
const HEADER_SIZE: usize = 64;

/// The last frame of a log that ends with a mark, a close or a small batch is no longer than this.
const LAST_FRAME_SIZE: usize = 64;

/// The ids of files that an examined store makes follow from this.
const EXAMINE_SEED: u64 = 5000;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What is done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Harm {
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
struct Case {
    path: PathBuf,
    harm: Harm,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name}: {:?}", self.harm)
    }
}

/// What a sweep saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that were damaged.
    pub damages: u64,
    /// Stores that refused to open.
    pub refused: u64,
    /// Stores that said so when they were read.
    pub on_read: u64,
    /// Stores that dropped it as a tail, and said so.
    pub as_tail: u64,
    /// Stores that it changed nothing about.
    pub harmless: u64,
}

impl Tally {
    /// Adds another.
    pub fn join(&mut self, other: &Tally) {
        self.damages += other.damages;
        self.refused += other.refused;
        self.on_read += other.on_read;
        self.as_tail += other.as_tail;
        self.harmless += other.harmless;
    }
}

/// A damage that passed, or was answered wrongly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number of the case.
    pub case: u64,
    /// What was expected and found.
    pub broken: Broken,
}

/// A history whose files are small: few steps, small values, now and then one that makes the log
/// grow.
#[must_use]
pub fn setup(seed: u64) -> Setup {
    let mut dice = Dice::new(seed, 0xda_4a9e);
    let shape = Shape {
        strategy: dice.below(3) as u8,
        // With a small one there are logs whose memtable waits for its flush.
        memtable_size: if dice.below(3) == 0 { 700 } else { 1 << 20 },
        table_size: 600,
        manifest_size: if dice.below(3) == 0 { 500 } else { 1 << 20 },
        compressed: dice.below(2) == 0,
        ..Shape::default()
    };
    let mut steps = vec![write(&mut dice, true)];
    for _ in 0..4 + dice.below(7) {
        steps.push(match dice.below(10) {
            0 | 1 => Step::Flush,
            2 => Step::Compact,
            3 => Step::Reopen,
            4 => Step::Kill,
            5 => Step::put(&format!("k{}", dice.below(6)), 6000, true),
            _ => {
                let sync = dice.below(2) == 0;
                write(&mut dice, sync)
            }
        });
    }
    // Small, so that the last frame is: see `LAST_FRAME_SIZE`.
    steps.push(Step::put("k1", 3, seed.is_multiple_of(2)));
    Setup { seed, shape, steps }
}

fn write(dice: &mut Dice, sync: bool) -> Step {
    let changes = (0..1 + dice.below(3)).map(|_| Change {
        key: format!("k{}", dice.below(6)),
        size: (dice.below(4) > 0).then(|| [3, 40, 400][dice.below(3) as usize]),
    });
    Step::Write { changes: changes.collect(), sync }
}

/// Damages everything a history leaves, killed and closed, one damage at a time.
///
/// # Errors
/// The first that was answered wrongly.
pub fn sweep(setup: &Setup) -> Result<Tally, Box<Violation>> {
    let mut tally = Tally::default();
    for closed in [false, true] {
        let subject = Subject::new(setup, closed)
            .map_err(|broken| Box::new(Violation { case: u64::from(closed), broken }))?;
        for (index, case) in subject.cases().iter().enumerate() {
            let number = 2 * index as u64 + u64::from(closed);
            let found = subject.run(setup, case);
            tally.note(found.map_err(|broken| Box::new(Violation { case: number, broken }))?);
        }
    }
    Ok(tally)
}

/// Does one case again.
///
/// # Errors
/// The wrong answer.
pub fn run(setup: &Setup, number: u64) -> Result<(), Broken> {
    let subject = Subject::new(setup, number % 2 == 1)?;
    let cases = subject.cases();
    match usize::try_from(number / 2).ok().and_then(|index| cases.get(index)) {
        Some(case) => subject.run(setup, case).map(drop),
        None => Ok(()),
    }
}

impl Tally {
    fn note(&mut self, found: Found) {
        self.damages += 1;
        match found {
            Found::AtOpen => self.refused += 1,
            Found::OnRead => self.on_read += 1,
            Found::AsTail => self.as_tail += 1,
            Found::Nowhere => self.harmless += 1,
        }
    }
}

/// Where a damage came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    AtOpen,
    OnRead,
    AsTail,
    Nowhere,
}

/// A store that is damaged again and again, always a copy of it.
struct Subject {
    disk: SimVfs,
    oracle: Oracle,
    seed: u64,
    /// Its files, and those of earlier moments, and the twin's.
    files: Files,
    older: Vec<Files>,
    twin: Files,
}

impl Subject {
    fn new(setup: &Setup, closed: bool) -> Result<Subject, Broken> {
        let mut older = Vec::new();
        let (disk, oracle) = played(setup, closed, &mut older)?;
        let (twin, _) = played(&twin_of(setup), closed, &mut Vec::new())?;
        let (files, twin) = (files(&disk), files(&twin));
        Ok(Subject { disk, oracle, seed: setup.seed ^ u64::from(closed), files, older, twin })
    }

    /// What is done, a pure function of the history.
    fn cases(&self) -> Vec<Case> {
        let mut dice = Dice::new(self.seed, 0xca5e);
        let mut cases = Vec::new();
        for (path, bytes) in &self.files {
            let harms = self.harms(path, bytes, &mut dice);
            cases.extend(harms.into_iter().map(|harm| Case { path: path.clone(), harm }));
        }
        cases
    }

    fn harms(&self, path: &Path, bytes: &[u8], dice: &mut Dice) -> Vec<Harm> {
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
        for (moment, files) in self.older.iter().enumerate() {
            let Some(copy) = files.get(path).filter(|copy| *copy != bytes) else { continue };
            if last != Some(copy) {
                harms.push(Harm::Older(moment));
            }
            last = Some(copy);
        }
        harms
    }

    fn run(&self, setup: &Setup, case: &Case) -> Result<Found, Broken> {
        let image = self.disk.kill();
        let path = &case.path;
        let harmed = match case.harm {
            Harm::Missing => image.remove(path),
            Harm::Older(moment) => match self.older.get(moment).and_then(|all| all.get(path)) {
                Some(copy) => image.install(path, copy),
                None => Ok(()),
            },
            _ => image.corrupt(path, |bytes| self.harm(case, bytes)),
        };
        failing("a damage", harmed)?;
        if image.dump().get(path) == self.files.get(path) {
            return Ok(Found::Nowhere);
        }
        let found = examine(setup, &image, &self.oracle, self.floor(case));
        let found = found
            .map_err(|broken| Broken::new(format!("({case}) {}", broken.expected), broken.found))?;
        if found != Found::AtOpen && self.must_refuse(case) {
            return Err(Broken::new(format!("({case}) a refusal"), "it opens"));
        }
        Ok(found)
    }

    /// Whether opening must notice, even where nothing of the data depends on it: each log on the
    /// disk has its size in the manifest, and each history ends with a write, whose frames promise
    /// the manifest to its end.
    fn must_refuse(&self, case: &Case) -> bool {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_manifest = |path: &&PathBuf| name(path).is_some_and(|n| n.starts_with("MANIFEST"));
        let live = self.files.keys().filter(is_manifest).max();
        match &case.harm {
            _ if Some(&case.path) == live || case.path.ends_with("CURRENT") => true,
            Harm::Missing | Harm::Cut(_) | Harm::Twin { at: 0, .. } => is_log(&case.path),
            _ => false,
        }
    }

    fn harm(&self, case: &Case, bytes: &mut Vec<u8>) {
        let within = |at: usize, size: usize, all: usize| at.min(all)..(at + size).min(all);
        match case.harm {
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
                let Some(twin) = self.twin.get(&case.path) else { return };
                let all = bytes.len().min(twin.len());
                let range = within(at, size, all);
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

    /// How many batches must be there if the store opens and reads well.
    fn floor(&self, case: &Case) -> usize {
        let is_log = is_log(&case.path);
        let end = match case.harm {
            // Whole in itself, and the manifest promises nothing beyond it.
            Harm::Older(_) if is_log => return 0,
            Harm::Fill { at, size, .. }
            | Harm::Twin { at, size }
            | Harm::Moved { to: at, size, .. } => at + size,
            _ => return self.oracle.acknowledged(),
        };
        // What was never promised may look so after a crash; and no promise is left where the last
        // frame, which carries it, is gone as well.
        let used = self.files.get(&case.path).map_or(0, |bytes| used(bytes));
        match is_log && end + LAST_FRAME_SIZE > used {
            true => 0,
            false => self.oracle.durable(),
        }
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

/// Bytes up to the last that is not zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// The same history with other keys, so that nothing of it can pass for the other's.
fn twin_of(setup: &Setup) -> Setup {
    let mut twin = setup.clone();
    twin.seed ^= 1 << 40;
    for step in &mut twin.steps {
        if let Step::Write { changes, .. } = step {
            changes.iter_mut().for_each(|change| change.key = change.key.replace('k', "j"));
        }
    }
    twin
}

/// Plays a history; the disk that it leaves, and what must be on it.
fn played(setup: &Setup, closed: bool, older: &mut Vec<Files>) -> Result<(SimVfs, Oracle), Broken> {
    let mut player = Player::new(setup);
    player.open()?;
    for step in &setup.steps {
        player.step(step, &mut |_, _| {})?;
        older.push(files(&player.vfs));
    }
    let oracle = std::sync::Arc::clone(&player.oracle);
    let disk = if closed {
        let disk = player.vfs.clone();
        player.finish()?;
        disk.kill()
    } else {
        player.vfs.kill()
    };
    let oracle = oracle.lock().clone();
    Ok((disk, oracle))
}

/// All files of the store but LOCK, whose content is for people.
fn files(disk: &SimVfs) -> Files {
    let mut files = disk.dump();
    files.retain(|path, _| path.starts_with(DIR) && !path.ends_with("LOCK"));
    files
}

/// Opens a damaged store and reads everything.
fn examine(setup: &Setup, image: &SimVfs, oracle: &Oracle, floor: usize) -> Result<Found, Broken> {
    let before = files(image);
    let runtime = InlineRuntime::new(EXAMINE_SEED);
    let db = match options(setup, image.clone(), &runtime).open(Path::new(DIR)) {
        Ok(db) => db,
        Err(error) => {
            is_damage(&error)?;
            return match files(image) == before {
                true => Ok(Found::AtOpen),
                false => Err(Broken::new("a refused store as it was", "another")),
            };
        }
    };
    let last = db.stats().last_seqno.0;
    let kept = oracle.batches_of(last).filter(|&kept| kept >= floor).ok_or_else(|| {
        let due = oracle.ops(floor);
        let expected = format!("a refusal, or {due} operations at least, in whole batches");
        Broken::new(expected, format!("{last} operations"))
    })?;
    let errors = read(&db, oracle, kept)?;
    Ok(match (errors, db.recovery().dropped.is_empty()) {
        (1.., _) => Found::OnRead,
        (0, false) => Found::AsTail,
        (0, true) => Found::Nowhere,
    })
}

fn is_damage(error: &Error) -> Result<(), Broken> {
    match error {
        Error::Corruption(_) | Error::NotOurs { .. } | Error::Unsupported { .. } => Ok(()),
        other => Err(Broken::new("an error that speaks of damage", other.to_string())),
    }
}

/// Reads everything in every way: right, or an error about the damage. How many errors.
fn read(db: &Db, oracle: &Oracle, batches: usize) -> Result<u64, Broken> {
    let due = oracle.content(batches);
    let mut errors = scan(db.iter(), &mut due.iter(), "a scan")?;
    errors += scan(db.iter().rev(), &mut due.iter().rev(), "a reverse scan")?;
    for key in oracle.keys() {
        match db.get(key) {
            Ok(value) if value.as_deref() == due.get(key).map(Vec::as_slice) => {}
            Ok(_) => {
                let expected = format!("what was written under {}", key.escape_ascii());
                return Err(Broken::new(expected, "something else, by a get"));
            }
            Err(error) => {
                is_damage(&error)?;
                errors += 1;
            }
        }
    }
    Ok(errors)
}

/// One direction: right up to the first error, and nothing behind that.
fn scan<'d>(
    mut pairs: impl Iterator<Item = Result<(Vec<u8>, Value)>>,
    due: &mut dyn Iterator<Item = (&'d Vec<u8>, &'d Vec<u8>)>,
    what: &str,
) -> Result<u64, Broken> {
    while let Some(pair) = pairs.next() {
        match pair {
            Ok((key, value)) if due.next() == Some((&key, &value.to_vec())) => {}
            Ok((key, _)) => {
                let found = format!("{} in {what}", key.escape_ascii());
                return Err(Broken::new("the next pair that was written", found));
            }
            Err(error) => {
                is_damage(&error)?;
                return match pairs.next() {
                    None => Ok(1),
                    Some(_) => {
                        Err(Broken::new("nothing behind an error", format!("more of {what}")))
                    }
                };
            }
        }
    }
    match due.next() {
        None => Ok(0),
        Some(_) => Err(Broken::new("all pairs or an error", format!("{what} that ended early"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::oracle::Content;

    /// Some histories, killed and closed: every answer is right, and every kind of answer occurs.
    #[test]
    fn damage_is_never_taken_for_a_crash() {
        let mut all = Tally::default();
        for seed in 0..12 {
            let setup = setup(seed);
            match sweep(&setup) {
                Ok(tally) => all.join(&tally),
                Err(violation) => panic!("{violation:#?}\n{}", setup.to_json()),
            }
        }
        println!("{all:?}");
        assert!(all.refused > all.damages / 2, "{all:?}");
        assert!(all.on_read > 100 && all.as_tail > 0 && all.harmless > 10, "{all:?}");
    }

    /// The twin has the same files of the same sizes, and no key in common.
    #[test]
    fn a_twin_has_the_same_shape_and_other_keys() {
        let setup = setup(3);
        let subject = Subject::new(&setup, true).expect("a history");
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&subject.files), names(&subject.twin));
        let (_, twin) = played(&twin_of(&setup), true, &mut Vec::new()).expect("a history");
        let (ours, theirs): (Content, Content) = (
            subject.oracle.content(subject.oracle.acknowledged()),
            twin.content(twin.acknowledged()),
        );
        assert_eq!(ours.len(), theirs.len());
        assert!(!ours.is_empty() && ours.keys().all(|key| !theirs.contains_key(key)));
    }
}
