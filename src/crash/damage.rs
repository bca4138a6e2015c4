//! Damage: what no crash leaves, and what therefore must never pass for one.
//!
//! A small history is played, and killed or closed. Then one file of it at a time is flipped in a
//! bit, overwritten, cut, emptied, taken away, replaced by an older copy of itself or by the same
//! file of a *twin*: a store of the same shape with other keys and another identity. The store then
//! - refuses to open, for corruption, and is left as it was,
//! - or says so when what is damaged is read, and whatever else it gives is right,
//! - or holds all that was promised: what was acknowledged, where only a crash could explain less
//!   what was durable, and where an older log is whole in itself, the store of that moment.

mod harm;
mod tally;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harm::{Case, Harm};
use tally::Found;
pub use tally::{Answers, FILES, HARMS, Tally};

use super::history::{Change, Setup, Shape, Step};
use super::oracle::{Broken, Oracle, failing};
use super::player::{DIR, Player, options};
use super::workload::Dice;
use crate::inspect::frames::Expect;
use crate::inspect::manifest::read_manifest;
use crate::runtime::inline::InlineRuntime;
use crate::vfs::sim::SimVfs;
use crate::vfs::{Access, Vfs};
use crate::{Db, Error, Result, Value};

/// The last frame of a log that ends with a mark, a close or a small batch is no longer than this.
const LAST_FRAME_SIZE: usize = 64;

/// The ids of files that an examined store makes follow from this.
const EXAMINE_SEED: u64 = 5000;

type Files = BTreeMap<PathBuf, Vec<u8>>;

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
        steps.push(match dice.below(11) {
            0 | 1 => Step::Flush,
            2 => Step::Compact,
            3 => Step::Reopen,
            4 => Step::Kill,
            5 => Step::put(&format!("k{}", dice.below(6)), 6000, true),
            6 => Step::BackgroundStep(0),
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

/// Damages everything a history leaves, killed and closed, one damage at a time; if `every_bit`,
/// each bit of each file besides.
///
/// # Errors
/// The first that was answered wrongly.
pub fn sweep(setup: &Setup, every_bit: bool) -> Result<Tally, Box<Violation>> {
    let mut tally = Tally::default();
    for closed in [false, true] {
        let subject = Subject::new(setup, closed)
            .map_err(|broken| Box::new(Violation { case: u64::from(closed), broken }))?;
        let flips = if every_bit { subject.bits() } else { 0 };
        for index in 0..subject.some.len() as u64 + flips {
            let Some(case) = subject.case(index) else { break };
            let number = 2 * index + u64::from(closed);
            subject
                .run(setup, &case, &mut tally)
                .map_err(|broken| Box::new(Violation { case: number, broken }))?;
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
    match subject.case(number / 2) {
        Some(case) => subject.run(setup, &case, &mut Tally::default()),
        None => Ok(()),
    }
}

/// A store that is damaged again and again, always a copy of it.
struct Subject {
    disk: SimVfs,
    oracle: Oracle,
    /// Its files, and those of earlier moments, and the twin's.
    files: Files,
    older: Vec<Files>,
    twin: Files,
    /// Up to where its manifest promises each log.
    promises: BTreeMap<PathBuf, u64>,
    /// The cases that come before the flips of every bit.
    some: Vec<Case>,
}

impl Subject {
    fn new(setup: &Setup, closed: bool) -> Result<Subject, Broken> {
        let mut older = Vec::new();
        let (disk, oracle) = played(setup, closed, &mut older)?;
        let (twin, _) = played(&twin_of(setup), closed, &mut Vec::new())?;
        let (files, twin) = (files(&disk), files(&twin));
        let mut dice = Dice::new(setup.seed ^ u64::from(closed), 0xca5e);
        let mut some = Vec::new();
        for (path, bytes) in &files {
            let harms = harm::harms(path, bytes, &older, &mut dice);
            some.extend(harms.into_iter().map(|harm| Case { path: path.clone(), harm }));
        }
        let promises = promises(&disk, &files)?;
        Ok(Subject { disk, oracle, files, older, twin, promises, some })
    }

    /// The bits of all files.
    fn bits(&self) -> u64 {
        self.files.values().map(|bytes| 8 * bytes.len() as u64).sum()
    }

    /// What is done, a pure function of the history and the number.
    fn case(&self, index: u64) -> Option<Case> {
        if let Some(case) = self.some.get(usize::try_from(index).ok()?) {
            return Some(case.clone());
        }
        let mut bit = index - self.some.len() as u64;
        for (path, bytes) in &self.files {
            let bits = 8 * bytes.len() as u64;
            if bit < bits {
                let harm = Harm::Flip { at: (bit / 8) as usize, bit: (bit % 8) as u8 };
                return Some(Case { path: path.clone(), harm });
            }
            bit -= bits;
        }
        None
    }

    /// Damages a copy of the store, sees what comes of it and counts that.
    fn run(&self, setup: &Setup, case: &Case, tally: &mut Tally) -> Result<(), Broken> {
        let image = self.disk.kill();
        let path = &case.path;
        let harmed = match case.harm {
            Harm::Missing => image.remove(path),
            Harm::Older(moment) => match self.copy(moment, path) {
                Some(copy) => image.install(path, copy),
                None => Ok(()),
            },
            _ => image.corrupt(path, |bytes| harm::apply(&case.harm, bytes, self.twin.get(path))),
        };
        failing("a damage", harmed)?;
        if image.dump().get(path) == self.files.get(path) {
            return Ok(());
        }
        let examined = examine(setup, &image, &self.oracle, self.floor(case));
        let (found, kept) = examined
            .map_err(|broken| Broken::new(format!("({case}) {}", broken.expected), broken.found))?;
        let must_refuse = self.must_refuse(case);
        if found != Found::AtOpen && must_refuse {
            return Err(Broken::new(format!("({case}) a refusal"), "it opens"));
        }
        let size = self.files.get(path).map_or(0, Vec::len);
        let is_earlier = kept.is_some_and(|kept| kept < self.oracle.acknowledged());
        tally.at(self.sort(path), size, &case.harm).note(found, must_refuse, is_earlier);
        Ok(())
    }

    /// The file after an earlier step.
    fn copy(&self, moment: usize, path: &Path) -> Option<&Vec<u8>> {
        self.older.get(moment)?.get(path)
    }

    /// The place of this file in [`FILES`].
    fn sort(&self, path: &Path) -> usize {
        let name = match () {
            () if is_log(path) => "log",
            () if Some(path) == live_manifest(&self.files) => "manifest",
            () if path.ends_with("CURRENT") => "CURRENT",
            () if path.extension().is_some() => "table",
            () => "history",
        };
        FILES.iter().position(|&file| file == name).unwrap_or_default()
    }

    /// Whether opening must notice, even where nothing of the data depends on it: each log on the
    /// disk has its size in the manifest, and each history ends with a write, whose frames promise
    /// the manifest to its end.
    fn must_refuse(&self, case: &Case) -> bool {
        let path = case.path.as_path();
        match &case.harm {
            _ if Some(path) == live_manifest(&self.files) || path.ends_with("CURRENT") => true,
            Harm::Missing | Harm::Cut(_) | Harm::Twin { at: 0, .. } => is_log(path),
            Harm::Older(moment) => self.copy(*moment, path).is_some_and(|copy| {
                self.promises.get(path).is_some_and(|&promised| (used(copy) as u64) < promised)
            }),
            _ => false,
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

/// The manifest that counts.
fn live_manifest(files: &Files) -> Option<&Path> {
    let is_manifest = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST"))
    };
    files.keys().filter(is_manifest).max().map(PathBuf::as_path)
}

/// Up to where the manifest promises that each log holds its bytes, read as the tools read it.
fn promises(disk: &SimVfs, files: &Files) -> Result<BTreeMap<PathBuf, u64>, Broken> {
    let path = live_manifest(files).ok_or_else(|| Broken::new("a manifest", "none"))?;
    let file = failing("an opening of the manifest", disk.open(path, Access::Read))?;
    let totals = read_manifest::<Error>(&*file, &Expect::default(), &mut |_| Ok(()));
    let state = failing("a reading of the manifest", totals)?.state;
    let settled = state.logs.iter().filter_map(|(number, log)| Some((*number, log.end?)));
    let mut promises = BTreeMap::new();
    for (number, end) in settled.chain(state.log_synced) {
        let promise: &mut u64 =
            promises.entry(path.with_file_name(format!("{number}.wal"))).or_default();
        *promise = end.max(*promise);
    }
    Ok(promises)
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
/// How many batches it holds; none if it does not open.
fn examine(
    setup: &Setup,
    image: &SimVfs,
    oracle: &Oracle,
    floor: usize,
) -> Result<(Found, Option<usize>), Broken> {
    let before = files(image);
    let runtime = InlineRuntime::new(EXAMINE_SEED);
    let db = match options(setup, image.clone(), &runtime).open(Path::new(DIR)) {
        Ok(db) => db,
        Err(error) => {
            is_damage(&error)?;
            return match files(image) == before {
                true => Ok((Found::AtOpen, None)),
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
    let found = match (errors, db.recovery().dropped.is_empty()) {
        (1.., _) => Found::OnRead,
        (0, false) => Found::AsTail,
        (0, true) => Found::Nowhere,
    };
    Ok((found, Some(kept)))
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
            match sweep(&setup, false) {
                Ok(tally) => all.join(&tally),
                Err(violation) => panic!("{violation:#?}\n{}", setup.to_json()),
            }
        }
        let all = all.sum();
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
