//! What came of the damages, by kind of file and kind of damage.

use super::harm::Harm;

/// The kinds of file; `history` are manifests before the live one, which nothing depends on.
pub const FILES: [&str; 5] = ["log", "manifest", "CURRENT", "table", "history"];

/// The kinds of damage.
pub const HARMS: [&str; 9] =
    ["flip", "fill", "cut", "emptied", "halved", "missing", "twin", "moved", "older"];

/// Where a damage came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    AtOpen,
    OnRead,
    AsTail,
    Nowhere,
}

/// The answers to one kind of damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Files that were damaged.
    pub damages: u64,
    /// Of them, those that had to make the store refuse to open.
    pub must_refuse: u64,
    /// Stores that refused to open.
    pub refused: u64,
    /// Stores that said so when they were read.
    pub on_read: u64,
    /// Stores that dropped it as a tail, and said so.
    pub as_tail: u64,
    /// Stores that it changed nothing about.
    pub harmless: u64,
    /// Stores that opened as they were before the last acknowledged batch, which nothing promised.
    pub earlier: u64,
}

impl Answers {
    /// Adds others.
    pub fn join(&mut self, other: &Answers) {
        self.damages += other.damages;
        self.must_refuse += other.must_refuse;
        self.refused += other.refused;
        self.on_read += other.on_read;
        self.as_tail += other.as_tail;
        self.harmless += other.harmless;
        self.earlier += other.earlier;
    }
}

/// What a sweep saw: the answers by [`FILES`] and [`HARMS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([[Answers; HARMS.len()]; FILES.len()]);

impl Tally {
    /// Adds another.
    pub fn join(&mut self, other: &Tally) {
        for (ours, theirs) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            ours.join(theirs);
        }
    }

    /// Each kind of file with each kind of damage that was done to it.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, &Answers)> {
        FILES.iter().zip(&self.0).flat_map(|(&file, by_harm)| {
            let rows = HARMS.iter().zip(by_harm).filter(|(_, answers)| answers.damages > 0);
            rows.map(move |(&harm, answers)| (file, harm, answers))
        })
    }

    /// All together.
    #[must_use]
    pub fn sum(&self) -> Answers {
        let mut sum = Answers::default();
        self.0.iter().flatten().for_each(|answers| sum.join(answers));
        sum
    }

    /// The answers to this damage of a file of this size.
    pub(super) fn at(&mut self, file: usize, size: usize, harm: &Harm) -> &mut Answers {
        let harm = match harm {
            Harm::Flip { .. } => "flip",
            Harm::Fill { .. } => "fill",
            Harm::Cut(0) => "emptied",
            Harm::Cut(to) if *to == size / 2 => "halved",
            Harm::Cut(_) => "cut",
            Harm::Missing => "missing",
            Harm::Twin { .. } => "twin",
            Harm::Moved { .. } => "moved",
            Harm::Older(_) => "older",
        };
        let harm = HARMS.iter().position(|&name| name == harm).unwrap_or_default();
        &mut self.0[file][harm]
    }
}

impl Answers {
    pub(super) fn note(&mut self, found: Found, must_refuse: bool, is_earlier: bool) {
        self.damages += 1;
        self.must_refuse += u64::from(must_refuse);
        self.earlier += u64::from(is_earlier);
        match found {
            Found::AtOpen => self.refused += 1,
            Found::OnRead => self.on_read += 1,
            Found::AsTail => self.as_tail += 1,
            Found::Nowhere => self.harmless += 1,
        }
    }
}
