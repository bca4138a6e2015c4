//! Every version of a key that is still there: where it lies, who wrote it, and what becomes of it.
//!
//! A read takes the first version it finds: in the logs, then in L0 from the newest table on, then
//! level by level. In a sound store that is the newest; where it is not, or where a filter hides
//! it, that is a [`Finding`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::finding::{Code, Finding};
use super::versions::{Dead, Place, Progress, Range, TableSource, Version, Versions, Wanted};
use super::view::View;
use crate::error::{Error, Result};
use crate::format::filter;
use crate::format::table::{Origin, Properties};
use crate::types::{FileNumber, Level, ValueKind};
use crate::vfs::Vfs;

/// Which keys are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought<'a> {
    /// One key.
    Key(&'a [u8]),
    /// Every key that begins so.
    Prefix(&'a [u8]),
}

/// Something that was met.
#[derive(Debug)]
pub enum FindItem<'a> {
    /// A version.
    Version(&'a Version<'a>, Fate, Option<&'a Maker>),
    /// A place that may hold more, or something else that is wrong.
    Finding(&'a Finding),
    /// A part of the tables has been read.
    Progress(Progress),
}

/// What becomes of a version when its key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A read returns it.
    Returned,
    /// A read finds this tombstone, and so returns nothing.
    Deletes,
    /// Another one hides it.
    Shadowed,
    /// A filter hides it: no read sees it.
    Hidden,
    /// Nobody looks where it is.
    Dead(Dead),
}

impl Fate {
    /// The word for it in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fate::Returned => "returned",
            Fate::Deletes => "deletes",
            Fate::Shadowed => "shadowed",
            Fate::Hidden => "hidden",
            Fate::Dead(_) => "dead",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Dead(why) => write!(f, "dead: {why}"),
            Fate::Hidden => f.write_str("hidden by the table's filter"),
            other => f.write_str(other.name()),
        }
    }
}

/// What wrote a table, as its properties say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Why.
    pub origin: Origin,
    /// The job; 0 is none.
    pub job: u64,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Maker {
    fn of(properties: &Properties) -> Maker {
        let Properties { origin, job, created_ms, .. } = *properties;
        Maker { origin, job, created_ms }
    }
}

/// What a search adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindTotals {
    /// Different keys.
    pub keys: u64,
    /// Versions of them.
    pub versions: u64,
    /// Keys that a read returns a value for.
    pub returned: u64,
    /// Findings that are damage.
    pub damaged: u64,
}

/// What [`find`] calls with each thing it meets.
pub type Visit<'v, E> = dyn FnMut(FindItem<'_>) -> Result<(), E> + 'v;

/// Finds every version of the keys that are sought, by key and then from the newest on.
///
/// No filter is believed: each table whose keys reach that far is looked into. For a single key its
/// filter is asked as well, since a read does believe it.
///
/// # Errors
/// Those of `visit`; [`Error::Io`], and [`Error::Unsupported`] for a later format version.
pub fn find<E: From<Error>>(
    vfs: &dyn Vfs,
    view: &View,
    sought: Sought<'_>,
    visit: &mut Visit<'_, E>,
) -> Result<FindTotals, E> {
    let range = match sought {
        Sought::Key(key) => Range::key(key),
        Sought::Prefix(prefix) => Range::prefix(prefix),
    };
    let wanted = Wanted { range, values: false, dead_files: true };
    let mut versions = Versions::of_store(vfs, view, wanted)?;
    let mut search = Search {
        order: view.tables.iter().map(|table| table.opened.number).zip(0..).collect(),
        tables: BTreeMap::new(),
        totals: FindTotals::default(),
        key: None,
        decider: None,
        early: Vec::new(),
    };
    if let Sought::Key(key) = sought {
        search.ask_filters(&versions, key)?;
    }
    loop {
        let mut found = std::mem::take(&mut search.early);
        let more = match versions.next()? {
            Some(version) => {
                let (fate, maker) = search.judge(&version, &mut found)?;
                visit(FindItem::Version(&version, fate, maker.as_ref()))?;
                true
            }
            None => false,
        };
        found.extend(versions.take_findings());
        for finding in &found {
            search.totals.damaged += u64::from(finding.is_damage());
            visit(FindItem::Finding(finding))?;
        }
        if let Some(progress) = versions.progress() {
            visit(FindItem::Progress(progress))?;
        }
        if !more {
            return Ok(search.totals);
        }
    }
}

/// What is known of a table whose versions are met.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    hides: bool,
    is_told: bool,
    /// Read when its first version is met.
    maker: Option<Option<Maker>>,
}

/// Where a search stands.
struct Search {
    /// The tables as a read meets them.
    order: BTreeMap<FileNumber, usize>,
    tables: BTreeMap<PathBuf, Known>,
    totals: FindTotals,
    /// The key of the last version.
    key: Option<Vec<u8>>,
    /// The version of it that a read would take, by the newest first, and its rank.
    decider: Option<Rank>,
    /// What was found before the first version.
    early: Vec<Finding>,
}

/// How soon a read meets a version: logs, L0 in its order, the levels below.
type Rank = (u8, usize);

impl Search {
    /// What the filters of the tables that a read would look into say about a key.
    fn ask_filters(&mut self, versions: &Versions, key: &[u8]) -> Result<()> {
        let hash = filter::hash(key);
        for table in versions.tables().filter(|table| table.is_live) {
            let filter = table.filter(&mut self.early)?;
            let hides = filter.is_some_and(|filter| !filter.may_contain(hash));
            self.tables.insert(table.path().to_owned(), Known { hides, ..Known::default() });
        }
        Ok(())
    }

    fn judge(
        &mut self,
        version: &Version<'_>,
        found: &mut Vec<Finding>,
    ) -> Result<(Fate, Option<Maker>)> {
        self.totals.versions += 1;
        if self.key.as_deref() != Some(version.key) {
            self.totals.keys += 1;
            self.key = Some(version.key.to_vec());
            self.decider = None;
        }
        let maker = match &version.place {
            Place::Log { .. } => None,
            Place::Table { source, .. } => self.maker(source, found)?,
        };
        let fate = match version.dead {
            Some(dead) => Fate::Dead(dead),
            None if self.is_hidden(version, found) => Fate::Hidden,
            None => self.among_live(version, found),
        };
        self.totals.returned += u64::from(fate == Fate::Returned);
        Ok((fate, maker))
    }

    fn among_live(&mut self, version: &Version<'_>, found: &mut Vec<Finding>) -> Fate {
        let rank = self.rank(&version.place);
        match self.decider {
            None => {
                self.decider = Some(rank);
                match version.kind {
                    ValueKind::Put => Fate::Returned,
                    ValueKind::Delete => Fate::Deletes,
                }
            }
            Some(decider) => {
                if rank < decider {
                    found.push(inverted(version));
                }
                Fate::Shadowed
            }
        }
    }

    fn is_hidden(&mut self, version: &Version<'_>, found: &mut Vec<Finding>) -> bool {
        let path = version.place.path();
        let Some(known) = self.tables.get_mut(path).filter(|known| known.hides) else {
            return false;
        };
        if !std::mem::replace(&mut known.is_told, true) {
            found.push(hidden(path, version));
        }
        true
    }

    fn maker(&mut self, source: &TableSource, found: &mut Vec<Finding>) -> Result<Option<Maker>> {
        let known = match self.tables.get_mut(source.path()) {
            Some(known) => known,
            None => self.tables.entry(source.path().to_owned()).or_default(),
        };
        if let Some(maker) = known.maker {
            return Ok(maker);
        }
        let mut own = Vec::new();
        let maker = source.properties(&mut own)?.map(|properties| Maker::of(&properties));
        found.extend(own.into_iter().filter(|_| source.is_live));
        known.maker = Some(maker);
        Ok(maker)
    }

    fn rank(&self, place: &Place<'_>) -> Rank {
        let Place::Table { source, .. } = place else { return (0, 0) };
        match source.level {
            Some(Level(0)) => {
                let order = source.number.and_then(|number| self.order.get(&number));
                (1, order.copied().unwrap_or(usize::MAX))
            }
            Some(Level(level)) => (1 + level, 0),
            None => (u8::MAX, 0),
        }
    }
}

fn inverted(version: &Version<'_>) -> Finding {
    let what = format!(
        "version {} of \"{}\" lies above a newer one, and a read finds it first",
        version.seqno,
        version.key.escape_ascii()
    );
    place_of(Finding::new(Code::LevelsInverted, version.place.path(), what), version)
}

fn hidden(path: &Path, version: &Version<'_>) -> Finding {
    let what = format!("the filter hides \"{}\"", version.key.escape_ascii());
    place_of(Finding::new(Code::FilterHides, path, what), version)
}

fn place_of(finding: Finding, version: &Version<'_>) -> Finding {
    let (Place::Log { offset, size, .. } | Place::Table { offset, size, .. }) = version.place;
    let finding = finding.at(offset, size).in_level(version.place.level());
    finding.of_keys(version.key, version.key)
}
