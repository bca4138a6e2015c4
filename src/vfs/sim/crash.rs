//! What a power loss may leave: plans, and the image each makes of a disk.
//!
//! Every image is one that a real disk may legally show, so whatever the store promised must hold
//! on it: bytes that were synced are there, names that were synced are there, and everything since
//! then is at the plan's mercy. The choices of a plan follow from its seed alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::content::Content;
use super::disk::{Cause, DataOp, Dir, Disk, Entry, FileState, Inode, NameChange, Names};

/// What becomes of the writes since each file's last sync.
///
/// "Write" includes a change of size. An extension whose size survives and whose bytes do not
/// reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataPlan {
    /// None survives: each file is as it was at its last sync.
    LoseAll,
    /// All survive.
    KeepAll,
    /// The first few survive, in the order they were made over all files.
    Prefix,
    /// All but one survive.
    DropOne,
    /// Those before one survive, and that one up to some byte; as often as not it is the last.
    TearLast,
    /// As [`DataPlan::TearLast`], cut between two sectors of 512 bytes.
    TearSector,
    /// The last write of each file is lost and its size kept: fresh bytes read as zeros.
    ZeroTail,
    /// The last write of each file is garbage, or its latter part from some sector on.
    GarbageTail,
    /// Each sector of 512 bytes shows the state after one of the writes to it, or before all.
    Subset512,
    /// The same by pages of 4096 bytes.
    Subset4096,
    /// Of each file only the last write survives.
    LastOnly,
}

impl DataPlan {
    /// Every plan.
    pub const ALL: [DataPlan; 11] = [
        DataPlan::LoseAll,
        DataPlan::KeepAll,
        DataPlan::Prefix,
        DataPlan::DropOne,
        DataPlan::TearLast,
        DataPlan::TearSector,
        DataPlan::ZeroTail,
        DataPlan::GarbageTail,
        DataPlan::Subset512,
        DataPlan::Subset4096,
        DataPlan::LastOnly,
    ];
}

/// What becomes of the names created, renamed and removed since each directory's last sync.
///
/// A rename happens or does not ([`DirPlan::RenameBoth`] aside), and replaces its target whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DirPlan {
    /// None of it happened.
    LoseAll,
    /// All of it happened.
    KeepAll,
    /// The first few operations happened, in order over all directories.
    Prefix,
    /// Each operation happened or not, independently.
    Subset,
    /// All happened but the removes.
    UndoRemoves,
    /// All happened, but what was renamed goes by its old name too.
    RenameBoth,
}

impl DirPlan {
    /// Every plan.
    pub const ALL: [DirPlan; 6] = [
        DirPlan::LoseAll,
        DirPlan::KeepAll,
        DirPlan::Prefix,
        DirPlan::Subset,
        DirPlan::UndoRemoves,
        DirPlan::RenameBoth,
    ];
}

/// One way to lose power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrashPlan {
    /// What becomes of unsynced writes.
    pub data: DataPlan,
    /// What becomes of unsynced names.
    pub dir: DirPlan,
    /// Whatever the plans leave open follows from it.
    pub seed: u64,
}

impl CrashPlan {
    /// Exactly what was synced survives.
    pub const LOSE_ALL: CrashPlan =
        CrashPlan { data: DataPlan::LoseAll, dir: DirPlan::LoseAll, seed: 0 };

    /// Everything survives, and is durable afterwards.
    pub const KEEP_ALL: CrashPlan =
        CrashPlan { data: DataPlan::KeepAll, dir: DirPlan::KeepAll, seed: 0 };

    /// Every data plan with every directory plan.
    pub fn all(seed: u64) -> impl Iterator<Item = CrashPlan> {
        DataPlan::ALL.into_iter().flat_map(move |data| {
            DirPlan::ALL.into_iter().map(move |dir| CrashPlan { data, dir, seed })
        })
    }
}

/// The disk after the power loss, with nothing pending.
pub(super) fn image(disk: &Disk, plan: &CrashPlan) -> Disk {
    let names = NamePlan::new(disk, plan.dir, Dice::new(plan.seed, 1));
    let mut image = disk.blank();
    let mut inodes = BTreeSet::new();
    // A directory's path follows its parent's, so a parent's fate is known before its children's.
    for (path, dir) in &disk.dirs {
        if !is_named(&image, path) {
            continue;
        }
        let names = names.image(dir);
        inodes.extend(names.values().filter_map(|entry| match entry {
            Entry::File(inode) => Some(*inode),
            Entry::Dir => None,
        }));
        image.dirs.insert(path.clone(), Arc::new(Dir::settled(names)));
    }
    let data = ContentPlan::new(disk, &inodes, plan.data, Dice::new(plan.seed, 2));
    for inode in inodes {
        if let Some(file) = disk.files.get(&inode) {
            let content = data.image(inode, file);
            image.files.insert(inode, Arc::new(FileState::settled(content)));
        }
    }
    image
}

/// Whether the image so far has a directory of this path.
fn is_named(image: &Disk, path: &str) -> bool {
    let (parent, name) = match path.rsplit_once('/') {
        Some(parts) => parts,
        None if path.is_empty() => return true,
        None => ("", path),
    };
    image.dirs.get(parent).is_some_and(|dir| dir.live.get(name) == Some(&Entry::Dir))
}

/// Which changes of names survive.
struct NamePlan {
    plan: DirPlan,
    /// For the plans that choose among operations: the chosen ones.
    kept: BTreeSet<u64>,
}

impl NamePlan {
    fn new(disk: &Disk, plan: DirPlan, mut dice: Dice) -> NamePlan {
        let changes = disk.dirs.values().flat_map(|dir| &dir.pending);
        let mut kept: BTreeSet<u64> = changes.map(|change| change.seq).collect();
        match plan {
            DirPlan::Prefix => {
                let count = dice.index(kept.len() + 1);
                kept = kept.into_iter().take(count).collect();
            }
            DirPlan::Subset => kept.retain(|_| dice.coin()),
            _ => {}
        }
        NamePlan { plan, kept }
    }

    fn image(&self, dir: &Dir) -> Names {
        let mut names = dir.durable.clone();
        for change in dir.pending.iter().filter(|change| self.keeps(change)) {
            change.apply(&mut names);
        }
        names
    }

    fn keeps(&self, change: &NameChange) -> bool {
        match self.plan {
            DirPlan::LoseAll => false,
            DirPlan::KeepAll => true,
            DirPlan::Prefix | DirPlan::Subset => self.kept.contains(&change.seq),
            DirPlan::UndoRemoves => change.cause != Cause::Remove,
            DirPlan::RenameBoth => change.cause != Cause::Rename || change.link,
        }
    }
}

/// What becomes of one write.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    /// Only so many bytes of it are kept.
    Cut(usize),
    SizeOnly,
    /// From the sector of this byte of it on there is garbage that follows from the seed.
    Garbage(usize, u64),
}

/// What becomes of every pending write to the files of an image.
struct ContentPlan {
    /// By the write's sequence number; those not in it are kept.
    fates: BTreeMap<u64, Fate>,
    /// For the subset plans: the size of a sector or page.
    unit: Option<u64>,
    dice: Dice,
}

/// A pending write: its sequence number, its file, itself.
type Op<'a> = (u64, Inode, &'a DataOp);

impl ContentPlan {
    fn new(disk: &Disk, inodes: &BTreeSet<Inode>, plan: DataPlan, mut dice: Dice) -> ContentPlan {
        let mut ops: Vec<Op<'_>> = Vec::new();
        for inode in inodes {
            let pending = disk.files.get(inode).map_or(&[][..], |file| &file.pending);
            ops.extend(pending.iter().map(|change| (change.seq, *inode, &change.op)));
        }
        ops.sort_unstable_by_key(|(seq, ..)| *seq);
        let unit = match plan {
            DataPlan::Subset512 => Some(512),
            DataPlan::Subset4096 => Some(4096),
            _ => None,
        };
        ContentPlan { fates: fates(&ops, plan, &mut dice), unit, dice }
    }

    fn image(&self, inode: Inode, file: &FileState) -> Arc<Content> {
        if let Some(unit) = self.unit {
            return Arc::new(mixture(file, unit, self.dice.for_inode(inode)));
        }
        if self.fates.is_empty() && !file.lost {
            return Arc::clone(&file.live);
        }
        let mut content = Arc::clone(&file.durable);
        for change in &file.pending {
            let fate = self.fates.get(&change.seq).copied().unwrap_or(Fate::Kept);
            suffer(fate, &change.op, &mut content);
        }
        content
    }
}

/// The fates that are not [`Fate::Kept`], by sequence number.
fn fates(ops: &[Op<'_>], plan: DataPlan, dice: &mut Dice) -> BTreeMap<u64, Fate> {
    let lost_from = |index: usize| ops[index..].iter().map(|(seq, ..)| (*seq, Fate::Lost));
    match plan {
        DataPlan::LoseAll => lost_from(0).collect(),
        DataPlan::KeepAll | DataPlan::Subset512 | DataPlan::Subset4096 => BTreeMap::new(),
        DataPlan::Prefix => lost_from(dice.index(ops.len() + 1)).collect(),
        DataPlan::DropOne if ops.is_empty() => BTreeMap::new(),
        DataPlan::DropOne => BTreeMap::from([(ops[dice.index(ops.len())].0, Fate::Lost)]),
        DataPlan::TearLast => torn(ops, 1, dice),
        DataPlan::TearSector => torn(ops, 512, dice),
        DataPlan::ZeroTail => last_writes(ops).map(|(seq, _)| (seq, Fate::SizeOnly)).collect(),
        DataPlan::GarbageTail => last_writes(ops)
            .map(|(seq, size)| {
                let from = if dice.coin() { 0 } else { dice.index(size.max(1)) };
                (seq, Fate::Garbage(from, dice.next_u64()))
            })
            .collect(),
        DataPlan::LastOnly => {
            let last: BTreeSet<u64> = last_writes(ops).map(|(seq, _)| seq).collect();
            lost_from(0).filter(|(seq, _)| !last.contains(seq)).collect()
        }
    }
}

/// One write cut at a multiple of `unit` in the file, those after it lost.
fn torn(ops: &[Op<'_>], unit: u64, dice: &mut Dice) -> BTreeMap<u64, Fate> {
    let writes: Vec<usize> =
        (0..ops.len()).filter(|&index| matches!(ops[index].2, DataOp::Write { .. })).collect();
    let Some(&last) = writes.last() else { return BTreeMap::new() };
    let index = if dice.coin() { last } else { writes[dice.index(writes.len())] };
    let mut fates: BTreeMap<u64, Fate> =
        ops[index..].iter().map(|(seq, ..)| (*seq, Fate::Lost)).collect();
    if let (seq, _, DataOp::Write { offset, bytes }) = ops[index] {
        // Anywhere in the write, then back to the boundary before; what lies before the write's
        // beginning means that nothing of it was kept.
        let end = offset + dice.index(bytes.len() + 1) as u64;
        let cut = (end / unit * unit).saturating_sub(*offset);
        fates.insert(seq, Fate::Cut(cut as usize));
    }
    fates
}

/// The last write of each file: sequence number and size in bytes.
fn last_writes<'a>(ops: &[Op<'a>]) -> impl Iterator<Item = (u64, usize)> + use<'a> {
    let mut last = BTreeMap::new();
    for (seq, inode, op) in ops {
        if let DataOp::Write { bytes, .. } = op {
            last.insert(*inode, (*seq, bytes.len()));
        }
    }
    last.into_values()
}

/// Applies what a write's fate leaves of it.
fn suffer(fate: Fate, op: &DataOp, content: &mut Arc<Content>) {
    match (fate, op) {
        (Fate::Lost, _) => {}
        (Fate::Cut(size), DataOp::Write { offset, bytes }) => {
            Arc::make_mut(content).write_at(&bytes[..size.min(bytes.len())], *offset);
        }
        (Fate::SizeOnly, DataOp::Write { offset, bytes }) => {
            let size = content.size().max(offset + bytes.len() as u64);
            Arc::make_mut(content).set_size(size);
        }
        (Fate::Garbage(from, seed), DataOp::Write { offset, bytes }) => {
            // A sector is garbage as a whole: back to the boundary before.
            let from = ((offset + from as u64) / 512 * 512).saturating_sub(*offset) as usize;
            let mut bytes = bytes.to_vec();
            Dice::new(seed, 0).fill(&mut bytes[from..]);
            Arc::make_mut(content).write_at(&bytes, *offset);
        }
        (_, op) => op.apply(Arc::make_mut(content)),
    }
}

/// Each unit of the file as some of the writes to it left it, in their order; the file's size
/// either where the last surviving byte puts it or what it would have been.
fn mixture(file: &FileState, unit: u64, mut dice: Dice) -> Content {
    let writes = || file.pending.iter().flat_map(|change| pieces(&change.op, unit));
    let mut left: BTreeMap<u64, usize> = BTreeMap::new();
    writes().for_each(|(offset, _)| *left.entry(offset / unit).or_default() += 1);
    // So many of the writes to each unit survive.
    left.values_mut().for_each(|count| *count = dice.index(*count + 1));

    let mut content = Content::clone(&file.durable);
    let mut full_size = content.size();
    for change in &file.pending {
        match &change.op {
            DataOp::Write { offset, bytes } => {
                full_size = full_size.max(offset + bytes.len() as u64);
            }
            DataOp::SetSize(size) => full_size = *size,
        }
    }
    for (offset, bytes) in writes() {
        if let Some(count) = left.get_mut(&(offset / unit))
            && *count > 0
        {
            *count -= 1;
            content.write_at(bytes, offset);
        }
    }
    if dice.coin() {
        content.set_size(full_size);
    }
    content
}

/// Splits a write where units of the file meet.
fn pieces(op: &DataOp, unit: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let (mut offset, mut bytes): (u64, &[u8]) = match op {
        DataOp::Write { offset, bytes } => (*offset, bytes),
        DataOp::SetSize(_) => (0, &[]),
    };
    std::iter::from_fn(move || {
        let size = (unit - offset % unit).min(bytes.len() as u64);
        let (piece, rest) = bytes.split_at(size as usize);
        let start = offset;
        (offset, bytes) = (offset + size, rest);
        (size > 0).then_some((start, piece))
    })
}

/// Choices that follow from a seed: the hash of one number after the other.
#[derive(Clone, Copy, Debug)]
struct Dice {
    seed: u64,
    count: u64,
}

impl Dice {
    /// Choices of their own for each `purpose`, so that one plan's do not shift another's.
    fn new(seed: u64, purpose: u64) -> Dice {
        Dice { seed: xxh3_64_with_seed(&purpose.to_le_bytes(), seed), count: 0 }
    }

    fn for_inode(self, inode: Inode) -> Dice {
        Dice::new(self.seed, inode.0)
    }

    fn next_u64(&mut self) -> u64 {
        self.count += 1;
        xxh3_64_with_seed(&self.count.to_le_bytes(), self.seed)
    }

    fn coin(&mut self) -> bool {
        self.next_u64() & 1 == 0
    }

    /// A number below `count`, which must not be 0.
    fn index(&mut self, count: usize) -> usize {
        (self.next_u64() % count as u64) as usize
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
