//! Power is lost at every operation of a history, in every way that the simulated disk knows.
//!
//! After each operation that changes the disk, each [`CrashPlan`] makes an image; each image that
//! was not seen before is opened, compared with what may be left, written to and opened again. The
//! opening of some images is crashed at each of its operations in turn, and the opening of some of
//! those once more. A kill (which keeps what the kernel has) is checked at each operation too.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::history::Setup;
use super::oracle::{Broken, Oracle, failing};
use super::player::{DIR, Happened, Player, options};
use crate::Error;
use crate::runtime::inline::InlineRuntime;
use crate::vfs::Vfs;
use crate::vfs::sim::{CrashPlan, SimVfs};

/// One of so many images has its opening crashed, and of these one of so many once more.
const DEEPER: u64 = 61;

/// Of the plans for the crash of an opening, every so manieth is tried at each operation.
const DEEP_PLANS: usize = 7;

/// One crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Operations on the disk before it, counted through kills; of a crash in an opening, those of
    /// that opening.
    pub op: u64,
    /// What was lost; none for a kill.
    pub plan: Option<CrashPlan>,
}

/// A promise that a crash broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The crashes: of the history, of the opening behind it, and so on. None: the history itself
    /// went wrong, or it is not known where.
    pub crashes: Vec<Crash>,
    /// What was expected and found.
    pub broken: Broken,
}

/// What a campaign saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Histories played.
    pub histories: u64,
    /// Images made.
    pub states: u64,
    /// Of them, images that differed from all before, or had other promises to keep.
    pub distinct: u64,
    /// Kills checked.
    pub kills: u64,
    /// Images that a crash of an opening left.
    pub recoveries_crashed: u64,
    /// Images whose last close was not clean.
    pub unclean: u64,
    /// Images with a torn tail that was dropped.
    pub torn_tails: u64,
    /// Images in which a batch that was only buffered is gone.
    pub lost_batches: u64,
    /// Images that hold a batch whose write had not returned yet.
    pub unknown_kept: u64,
    /// Images in which a synced bit was flipped and that then were refused, unchanged.
    pub refused: u64,
    /// What the histories themselves made happen.
    pub happened: Happened,
}

impl Seen {
    /// Adds another campaign's.
    pub fn join(&mut self, other: &Seen) {
        self.histories += other.histories;
        self.states += other.states;
        self.distinct += other.distinct;
        self.kills += other.kills;
        self.recoveries_crashed += other.recoveries_crashed;
        self.unclean += other.unclean;
        self.torn_tails += other.torn_tails;
        self.lost_batches += other.lost_batches;
        self.unknown_kept += other.unknown_kept;
        self.refused += other.refused;
        self.happened.join(&other.happened);
    }
}

/// Images that were checked already, of all threads.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashSet<u64>>);

impl Known {
    fn is_new(&self, key: u64) -> bool {
        self.0.lock().insert(key)
    }
}

/// Plays a history and crashes it at every operation from step `from` on (0 is the opening).
///
/// # Errors
/// The first promise that was broken.
pub fn crash_everywhere(
    setup: &Setup,
    from: usize,
    known: &Arc<Known>,
) -> Result<Seen, Box<Violation>> {
    let mut player = Player::new(setup);
    let watch = Watch {
        setup: setup.clone(),
        oracle: Arc::clone(&player.oracle),
        known: Arc::clone(known),
        found: Arc::default(),
    };
    let found = Arc::clone(&watch.found);
    let played = play(&mut player, setup, from, &watch);
    let disk = player.vfs.clone();
    let finished = played.and_then(|()| player.finish());
    disk.clear_observer();
    let mut found = found.lock();
    if let Some(violation) = found.violation.take() {
        return Err(violation);
    }
    let happened =
        finished.map_err(|broken| Box::new(Violation { crashes: Vec::new(), broken }))?;
    let mut seen = found.seen;
    seen.histories = 1;
    seen.happened.join(&happened);
    Ok(seen)
}

fn play(player: &mut Player<'_>, setup: &Setup, from: usize, watch: &Watch) -> Result<(), Broken> {
    if from == 0 {
        watch.begin(&player.vfs, player.ops_before());
    }
    player.open()?;
    for (index, step) in setup.steps.iter().enumerate() {
        if index + 1 >= from {
            watch.begin(&player.vfs, player.ops_before());
        }
        player.step(step, &mut |vfs, base| watch.begin(vfs, base))?;
        if watch.found.lock().violation.is_some() {
            break;
        }
    }
    Ok(())
}

/// Checks the one image that these crashes of this history make; without any, all there are.
///
/// # Errors
/// The promise that is broken.
pub fn crash_once(setup: &Setup, crashes: &[Crash]) -> Result<(), Box<Violation>> {
    let known = Arc::new(Known::default());
    let Some((first, again)) = crashes.split_first() else {
        return crash_everywhere(setup, 0, &known).map(drop);
    };
    let mut player = Player::new(setup);
    let caught: Arc<Mutex<Option<(SimVfs, Oracle)>>> = Arc::default();
    let oracle = Arc::clone(&player.oracle);
    let begin = |vfs: &SimVfs, base: u64| {
        let (caught, oracle, first) = (Arc::clone(&caught), Arc::clone(&oracle), *first);
        vfs.set_observer(Box::new(move |op, vfs| {
            // Of two looks with nothing between them the later one has more to demand.
            if base + op == first.op {
                *caught.lock() = Some((image(vfs, first), oracle.lock().clone()));
            }
        }));
    };
    begin(&player.vfs, 0);
    let mut played = player.open();
    for step in &setup.steps {
        played = played.and_then(|()| player.step(step, &mut |vfs, base| begin(vfs, base)));
    }
    player.vfs.clear_observer();
    let violated = |broken| Box::new(Violation { crashes: crashes.to_vec(), broken });
    let Some((mut vfs, oracle)) = caught.lock().take() else {
        return played.map_err(violated);
    };
    for crash in again {
        vfs = crash_opening(setup, &vfs, *crash).unwrap_or(vfs);
    }
    let floor = floor(&oracle, crashes);
    check_image(setup, &vfs, &oracle, floor, &mut Seen::default()).map_err(violated)
}

/// What this crash of the opening leaves; none if it does not come so far.
fn crash_opening(setup: &Setup, before: &SimVfs, crash: Crash) -> Option<SimVfs> {
    let watched = before.kill();
    let caught: Arc<Mutex<Option<SimVfs>>> = Arc::default();
    let keep = Arc::clone(&caught);
    watched.set_observer(Box::new(move |op, vfs| {
        let mut caught = keep.lock();
        if op == crash.op && caught.is_none() {
            *caught = Some(image(vfs, crash));
        }
    }));
    drop(options(setup, watched.clone(), &InlineRuntime::new(RECOVERY_SEED)).open(Path::new(DIR)));
    watched.clear_observer();
    caught.lock().take()
}

fn image(vfs: &SimVfs, crash: Crash) -> SimVfs {
    match crash.plan {
        Some(plan) => vfs.crash(&plan),
        None => vfs.kill(),
    }
}

/// How many batches must be left: a kill alone keeps all that was acknowledged.
fn floor(oracle: &Oracle, crashes: &[Crash]) -> usize {
    let power = crashes.iter().any(|crash| crash.plan.is_some());
    if power { oracle.durable() } else { oracle.acknowledged() }
}

/// Seeds other than any history's: the ids of files are random.
const CHECK_SEED: u64 = 7000;
const RECOVERY_SEED: u64 = 3000;

/// What is watched, and what was found so far.
#[derive(Clone)]
struct Watch {
    setup: Setup,
    oracle: Arc<Mutex<Oracle>>,
    known: Arc<Known>,
    found: Arc<Mutex<Found>>,
}

#[derive(Default)]
struct Found {
    seen: Seen,
    violation: Option<Box<Violation>>,
}

impl Watch {
    /// Crashes this disk at every operation from now on.
    fn begin(&self, vfs: &SimVfs, base: u64) {
        let watch = self.clone();
        vfs.set_observer(Box::new(move |op, vfs| watch.operation(base + op, vfs)));
    }

    fn operation(&self, op: u64, vfs: &SimVfs) {
        let oracle = self.oracle.lock();
        let mut found = self.found.lock();
        if found.violation.is_some() {
            return;
        }
        let plans = CrashPlan::all(self.setup.seed ^ op).map(Some).chain([None]);
        for plan in plans {
            let crash = Crash { op, plan };
            if let Err(violation) =
                self.judge(&image(vfs, crash), &oracle, &[crash], &mut found.seen)
            {
                found.violation = Some(violation);
                return;
            }
        }
    }

    /// Checks what these crashes left, unless it is known.
    fn judge(
        &self,
        image: &SimVfs,
        oracle: &Oracle,
        crashes: &[Crash],
        seen: &mut Seen,
    ) -> Result<(), Box<Violation>> {
        let is_kill = crashes.last().is_some_and(|crash| crash.plan.is_none());
        seen.states += 1;
        seen.kills += u64::from(is_kill);
        seen.recoveries_crashed += u64::from(crashes.len() > 1);
        let floor = floor(oracle, crashes);
        // LOCK names this process, of which the campaign must not depend.
        let hash = image.image_hash_but("LOCK");
        let acknowledged = oracle.acknowledged() as u64;
        let parts = [hash, floor as u64, acknowledged, oracle.hash()].map(u64::to_le_bytes);
        // What a kill leaves may still be lost later, so it is not the same as its image; and an image
        // is crashed further or not by how it came about, so that the order in which threads come to
        // the same one changes nothing.
        let key = xxh3_64_with_seed(&parts.concat(), crashes.len() as u64 * 2 + u64::from(is_kill));
        if !self.known.is_new(key) {
            return Ok(());
        }
        seen.distinct += 1;
        // A copy for the crashes of its opening: the check itself writes.
        let is_deep = crashes.len() < 3 && key.is_multiple_of(DEEPER);
        let before = is_deep.then(|| image.kill());
        check_image(&self.setup, image, oracle, floor, seen)
            .map_err(|broken| Box::new(Violation { crashes: crashes.to_vec(), broken }))?;
        let Some(before) = before else { return Ok(()) };
        refuse_damage(&self.setup, &before, key, seen)
            .map_err(|broken| Box::new(Violation { crashes: crashes.to_vec(), broken }))?;
        self.crash_opening(&before, oracle, crashes, seen)
    }

    /// Crashes the opening of an image at each of its operations.
    fn crash_opening(
        &self,
        before: &SimVfs,
        oracle: &Oracle,
        crashes: &[Crash],
        seen: &mut Seen,
    ) -> Result<(), Box<Violation>> {
        let states: Arc<Mutex<Vec<(Crash, SimVfs)>>> = Arc::default();
        let keep = Arc::clone(&states);
        before.set_observer(Box::new(move |op, vfs| {
            let plans = CrashPlan::all(op ^ 0x5eed).skip(op as usize % DEEP_PLANS);
            for plan in plans.step_by(DEEP_PLANS) {
                let crash = Crash { op, plan: Some(plan) };
                keep.lock().push((crash, image(vfs, crash)));
            }
        }));
        let runtime = InlineRuntime::new(RECOVERY_SEED);
        drop(options(&self.setup, before.clone(), &runtime).open(Path::new(DIR)));
        before.clear_observer();
        for (crash, image) in std::mem::take(&mut *states.lock()) {
            self.judge(&image, oracle, &[crashes, &[crash]].concat(), seen)?;
        }
        Ok(())
    }
}

/// Flips a bit of `CURRENT` or of the head of the manifest, all of which was synced before it
/// counted: the store must be refused, and left as it is.
fn refuse_damage(setup: &Setup, before: &SimVfs, key: u64, seen: &mut Seen) -> Result<(), Broken> {
    let current = Path::new(DIR).join("CURRENT");
    let Ok(text) = before.read_file(&current) else { return Ok(()) };
    let manifest =
        Path::new(DIR).join(String::from_utf8_lossy(&text[..text.len().min(15)]).as_ref());
    let damaged = before.kill();
    let target = if key & 1 == 0 { current } else { manifest };
    let place = key >> 8;
    let flipped = damaged.corrupt(&target, |bytes| {
        let count = bytes.len().min(64) as u64;
        bytes[(place % count) as usize] ^= 1 << ((place >> 32) % 8);
    });
    failing("a flipped bit", flipped)?;
    let content = |vfs: &SimVfs| {
        let mut files = vfs.dump();
        files.retain(|path, _| path.file_name().is_some_and(|name| name != "LOCK"));
        files
    };
    let due = content(&damaged);
    let runtime = InlineRuntime::new(CHECK_SEED);
    match options(setup, damaged.clone(), &runtime).open(Path::new(DIR)) {
        Err(Error::Corruption(_)) => {}
        Err(other) => return Err(Broken::new("a refusal for corruption", other.to_string())),
        Ok(_) => {
            let found = format!("it opens with a flipped bit in {}", target.display());
            return Err(Broken::new("a refusal for corruption", found));
        }
    }
    if content(&damaged) != due {
        return Err(Broken::new("a refused store as it was", "another"));
    }
    seen.refused += 1;
    Ok(())
}

/// Opens an image, compares it, writes to it, and opens it again.
fn check_image(
    setup: &Setup,
    vfs: &SimVfs,
    oracle: &Oracle,
    floor: usize,
    seen: &mut Seen,
) -> Result<(), Broken> {
    if !failing("a look", vfs.exists(Path::new(DIR)))? {
        return match floor {
            0 => Ok(()),
            _ => Err(Broken::new(format!("{floor} batches at least"), "no store")),
        };
    }
    let runtime = InlineRuntime::new(CHECK_SEED);
    let open = || options(setup, vfs.clone(), &runtime).open(Path::new(DIR));
    let db = failing("an opening", open())?;
    seen.unclean += u64::from(!db.recovery().clean);
    seen.torn_tails += u64::from(!db.recovery().dropped.is_empty());
    let kept = oracle.check(&db, floor)?;
    seen.lost_batches += u64::from(kept < oracle.acknowledged());
    seen.unknown_kept += u64::from(kept > oracle.acknowledged());
    let after = failing("a write afterwards", db.put(b"~afterwards", b"1"))?;
    let due = oracle.ops(kept) + 1;
    if after.0 != due {
        return Err(Broken::new(format!("sequence number {due} afterwards"), after.to_string()));
    }
    drop(db);
    let db = failing("a second opening", open())?;
    let value = failing("a get afterwards", db.get(b"~afterwards"))?;
    if db.stats().last_seqno != after || value.as_deref() != Some(b"1") {
        return Err(Broken::new("the write after the crash", "it is gone at the next opening"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::history::Step;

    fn campaign(setups: impl Iterator<Item = Setup>) -> Seen {
        let known = Arc::default();
        let mut all = Seen::default();
        for setup in setups {
            match crash_everywhere(&setup, 0, &known) {
                Ok(seen) => all.join(&seen),
                Err(violation) => panic!("{violation:#?}\n{}", setup.to_json()),
            }
        }
        all
    }

    /// All histories of up to two steps, and some long ones; what the campaign is about occurs.
    #[test]
    fn the_engine_survives_small_campaigns() {
        let short = campaign(
            (0..=2)
                .flat_map(|n| (0..8u64.pow(n)).map(move |i| Setup::exhaustive(n, i, i % 2 == 0))),
        );
        assert_eq!(short.histories, 73);
        let seen = campaign((0..6).map(Setup::seeded));
        println!("{short:?}\n{seen:?}");
        assert!(seen.states > 5_000 && seen.distinct < seen.states / 2, "{seen:?}");
        assert!(seen.torn_tails > 0 && seen.lost_batches > 0 && seen.unknown_kept > 0, "{seen:?}");
        assert!(seen.recoveries_crashed > 100 && seen.refused > 20, "{seen:?}");
        assert!(seen.happened.flushes > 0 && seen.happened.compactions > 0, "{seen:?}");
    }

    /// A state that was seen in a campaign is made again from its crashes alone.
    #[test]
    fn a_crash_can_be_repeated() {
        let steps = vec![Step::put("a", 20, true), Step::put("b", 20, false)];
        let setup = Setup { steps, ..Setup::exhaustive(0, 0, false) };
        for op in 5..25 {
            for plan in CrashPlan::all(op) {
                let first = Crash { op, plan: Some(plan) };
                let second = Crash { op: 2, plan: Some(CrashPlan::LOSE_ALL) };
                assert_eq!(crash_once(&setup, &[first, second]), Ok(()));
            }
        }
    }
}
