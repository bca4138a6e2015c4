//! Watching a point read: told what it looks at, step by step.

use super::index::Index;
use super::reader::BlockEntry;
use crate::format::filter::Filter;
use crate::format::key::Trailer;

/// Told what a point read does in a table. Every method does nothing unless it is overridden, and a
/// read is compiled anew for each watcher: one that is not watched pays nothing.
pub trait Watch {
    /// The filter was asked; `may_contain` is what it said.
    #[inline(always)]
    fn filter(&mut self, _filter: &Filter, _may_contain: bool) {}

    /// The data block at `position` is there, from the cache or from the file.
    #[inline(always)]
    fn block(&mut self, _index: &Index, _position: usize, _cached: bool) {}

    /// A version was found.
    #[inline(always)]
    fn found(&mut self, _trailer: Trailer, _entry: BlockEntry<'_>) {}

    /// No version was found that is old enough; `false_positive` if there is none at all, and the
    /// filter could have known.
    #[inline(always)]
    fn absent(&mut self, _false_positive: bool) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}
