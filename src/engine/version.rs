//! The tables that make up the tree at one moment.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::format::names;
use crate::format::state::State;
use crate::format::table::TableMeta;
use crate::table::BlockCache;
use crate::table::Table;
use crate::types::{FileNumber, Level};
use crate::vfs::Vfs;

/// What tables need to be opened.
#[derive(Debug)]
pub(super) struct TableSpace {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) dir: PathBuf,
    pub(super) cache: Arc<BlockCache>,
    /// Beside a writer a missing table has been moved; otherwise it is lost.
    pub(super) read_only: bool,
}

/// A table of the tree: opened at its first use, kept open as long as a version names it.
#[derive(Debug)]
pub(super) struct TableFile {
    pub(super) meta: TableMeta,
    space: Arc<TableSpace>,
    opened: OnceLock<Arc<Table>>,
}

impl TableFile {
    pub(super) fn new(meta: TableMeta, space: Arc<TableSpace>) -> TableFile {
        TableFile { meta, space, opened: OnceLock::new() }
    }

    /// The open table.
    pub(super) fn table(&self) -> Result<&Arc<Table>> {
        if let Some(table) = self.opened.get() {
            return Ok(table);
        }
        let path = self.space.dir.join(names::table(self.meta.number));
        let cache = Some(Arc::clone(&self.space.cache));
        let table = match Table::open(&*self.space.vfs, &path, &self.meta, cache) {
            Ok(table) => Arc::new(table),
            Err(error) if error.is_not_found() && self.space.read_only => {
                return Err(Error::Moved { path });
            }
            Err(error) if error.is_not_found() => {
                return Err(Error::corruption(path, None, "the table is missing"));
            }
            Err(error) => return Err(error),
        };
        // Two readers may open it at once; one of the two is kept.
        Ok(self.opened.get_or_init(|| table))
    }

    /// Whether `key` lies within its bounds.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        self.meta.smallest.user.as_slice() <= key && key <= self.meta.largest.user.as_slice()
    }
}

/// The tree: L0 newest first (its tables may overlap), every other level sorted without overlap.
#[derive(Debug, Default)]
pub(super) struct Version {
    pub(super) levels: [Vec<Arc<TableFile>>; Level::COUNT],
}

impl Version {
    /// The version the manifest's state describes; tables that `previous` has stay open.
    pub(super) fn from_state(
        state: &State,
        previous: &Version,
        space: &Arc<TableSpace>,
    ) -> Version {
        let mut version = Version::default();
        for (level, meta) in state.tables() {
            let table = previous
                .find(level, meta.number)
                .unwrap_or_else(|| Arc::new(TableFile::new(meta.clone(), Arc::clone(space))));
            version.levels[usize::from(level.0)].push(table);
        }
        version
    }

    fn find(&self, level: Level, number: FileNumber) -> Option<Arc<TableFile>> {
        let mut tables = self.levels[usize::from(level.0)].iter();
        tables.find(|table| table.meta.number == number).cloned()
    }

    /// The tables that may hold `key`, in the order in which the newest version is found first.
    pub(super) fn candidates<'a>(
        &'a self,
        key: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<TableFile>> {
        let top = self.levels[0].iter().filter(move |table| table.covers(key));
        let below = self.levels[1..].iter().filter_map(move |tables| {
            let index = tables.partition_point(|table| table.meta.largest.user.as_slice() < key);
            tables.get(index).filter(|table| table.covers(key))
        });
        top.chain(below)
    }
}
