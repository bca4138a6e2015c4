//! Findings: the one type for every problem that is seen in a store's files.
//!
//! A finding says what was found and where, why that is a problem (or none), and what to run next.
//! Its code stands for the kind of problem; `docs/findings.md` has a page for each.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::types::Level;

/// Something seen in a file, or in how files fit together, that is not as a healthy store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of problem it is.
    pub code: Code,
    /// The file, or the directory where no single file is meant.
    pub path: PathBuf,
    /// Where the damaged frame, block or field begins; none if the file as a whole is meant.
    pub offset: Option<u64>,
    /// Its bytes.
    pub size: Option<u64>,
    /// The level of the table.
    pub level: Option<Level>,
    /// The smallest and the largest user key that are concerned, both inclusive.
    pub keys: Option<(Vec<u8>, Vec<u8>)>,
    /// What was found and what was expected.
    pub what: String,
    /// What makes it damage, or what explains it; empty where the code says all there is to say.
    pub why: String,
}

impl Finding {
    /// A finding about a file as a whole.
    #[must_use]
    pub fn new(code: Code, path: impl Into<PathBuf>, what: impl Into<String>) -> Finding {
        let (path, what) = (path.into(), what.into());
        let (offset, size, level, keys, why) = (None, None, None, None, String::new());
        Finding { code, path, offset, size, level, keys, what, why }
    }

    /// Says where in the file.
    #[must_use]
    pub fn at(mut self, offset: u64, size: u64) -> Finding {
        (self.offset, self.size) = (Some(offset), Some(size));
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Finding {
        self.why = why.into();
        self
    }

    /// Says which level.
    #[must_use]
    pub fn in_level(mut self, level: Option<Level>) -> Finding {
        self.level = level;
        self
    }

    /// Says which keys, first and last.
    #[must_use]
    pub fn of_keys(mut self, first: &[u8], last: &[u8]) -> Finding {
        self.keys = Some((first.to_vec(), last.to_vec()));
        self
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Whether data or invariants are broken.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.severity() == Severity::Damage
    }

    /// The command to run next; none where nothing need be done.
    #[must_use]
    pub fn next_step(&self) -> Option<String> {
        let path = self.path.display();
        Some(match self.code.next() {
            Next::Nothing => return None,
            Next::Salvage => format!("beach-walDump salvage {path} -o {path}.salvaged"),
            Next::Doctor => format!("beach-sstDump doctor {path}"),
            Next::Repair => format!("beach --db {} repair", self.store_dir().display()),
            Next::Check => format!("beach --db {} check", self.store_dir().display()),
        })
    }

    /// The directory of the store: the path itself where that has no file's name of ours.
    fn store_dir(&self) -> &Path {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match crate::format::names::parse(name) {
            crate::format::names::FileName::Other => &self.path,
            _ => match self.path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir,
                _ => Path::new("."),
            },
        }
    }
}

/// `db/000013.sst@0x1271: data block 7: checksum mismatch: one flipped bit explains it`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, "@{offset:#x}")?;
        }
        write!(f, ": {}", self.what)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, "; {}", self.why) }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Unusual, and explained: no data is lost, no invariant broken.
    Notice,
    /// Data or an invariant is broken.
    Damage,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Notice => "notice",
            Severity::Damage => "damage",
        })
    }
}

/// What helps next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Salvage,
    Doctor,
    Repair,
    Check,
}

/// Declares the codes: the name in Rust, the name on paper, severity, next step, title.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $severity:ident, $next:ident, $title:literal;)*) => {
        /// The kind of a finding. Codes are never reused for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// All there are, in the order of their names on paper.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The name on paper: `BW002`.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $id),* }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity),* }
            }

            /// A few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title),* }
            }

            fn next(self) -> Next {
                match self { $(Code::$name => Next::$next),* }
            }
        }
    };
}

codes! {
    CurrentMissing = "BC001", Damage, Repair, "CURRENT is missing";
    CurrentDamaged = "BC002", Damage, Repair, "CURRENT is damaged";

    ManifestHeader = "BM001", Damage, Repair, "a manifest's header is damaged";
    ManifestFlip = "BM002", Damage, Repair, "one flipped bit in a manifest";
    ManifestZeros = "BM003", Damage, Repair, "zeros in a manifest";
    ManifestHole = "BM004", Damage, Repair, "bytes in a manifest that are no edit";
    ManifestForeign = "BM005", Damage, Repair, "a manifest holds an edit of another file";
    ManifestMisplaced = "BM006", Damage, Repair, "a manifest holds an edit of another place";
    ManifestCut = "BM007", Damage, Repair, "a manifest lost its end";
    EditUnreadable = "BM008", Damage, Repair, "an edit cannot be read";
    EditContradicts = "BM009", Damage, Repair, "an edit contradicts those before it";
    ManifestStranger = "BM010", Damage, Repair, "a manifest of another store";
    ManifestTorn = "BM011", Notice, Nothing, "the torn tail of a manifest";
    ManifestMissing = "BM012", Damage, Repair, "the manifest is missing";
    ManifestEmpty = "BM013", Damage, Repair, "a manifest without an edit";
    ManifestOlder = "BM014", Damage, Repair, "an older manifest than the store had";

    FooterDamaged = "BT001", Damage, Doctor, "a table's footer is damaged";
    PropertiesDamaged = "BT002", Damage, Doctor, "a table's properties are damaged";
    FilterDamaged = "BT003", Damage, Doctor, "a table's filter is damaged";
    IndexDamaged = "BT004", Damage, Doctor, "a table's index is damaged";
    BlockDamaged = "BT005", Damage, Doctor, "a data block is damaged";
    BlockMalformed = "BT006", Damage, Repair, "an intact data block makes no sense";
    KeysDescend = "BT007", Damage, Repair, "keys do not ascend";
    IndexDisagrees = "BT008", Damage, Repair, "the index is not that of the data";
    FilterHides = "BT009", Damage, Repair, "a filter hides a key that is there";
    PropertiesDisagree = "BT010", Damage, Repair, "the properties are not those of the data";
    TableCut = "BT011", Damage, Repair, "a table has the wrong size";
    TableForeign = "BT012", Damage, Repair, "a table is not the one the manifest names";
    TableMissing = "BT013", Damage, Repair, "a table is missing";
    TableDisagrees = "BT014", Damage, Repair, "a table is not as the manifest describes it";

    LogHeader = "BW001", Damage, Salvage, "a log's header is damaged";
    LogFlip = "BW002", Damage, Salvage, "one flipped bit in a log";
    LogZeros = "BW003", Damage, Salvage, "zeros in a log where a frame was";
    LogHole = "BW004", Damage, Salvage, "bytes in a log that are no frame";
    LogForeign = "BW005", Damage, Salvage, "a log holds a frame of another file";
    LogMisplaced = "BW006", Damage, Salvage, "a log holds a frame of another place";
    LogCut = "BW007", Damage, Salvage, "a log lost its end";
    RecordUnreadable = "BW008", Damage, Salvage, "an intact frame's record makes no sense";
    RecordOutOfOrder = "BW009", Damage, Salvage, "sequence numbers do not follow each other";
    LogStranger = "BW010", Damage, Repair, "a log is not the one the manifest names";
    LogTorn = "BW011", Notice, Nothing, "the torn tail of a log";
    LogGap = "BW012", Notice, Nothing, "a salvage left something out here";
    LogMissing = "BW013", Damage, Repair, "a log is missing";
    LogsGap = "BW014", Damage, Repair, "operations are missing between two logs";

    TablesOverlap = "BS001", Damage, Repair, "two tables of a level overlap";
    SeqnoBeyond = "BS002", Damage, Repair, "sequence numbers beyond what the manifest says";
    LevelsInverted = "BS003", Damage, Repair, "an older version of a key hides a newer one";
    FileOfAnotherStore = "BS004", Damage, Repair, "a file of another store";
    FileNumberReused = "BS005", Damage, Repair, "a file has a number that is yet to be given out";
    Orphan = "BS006", Notice, Nothing, "a file that the manifest does not name";
    UnknownFile = "BS007", Notice, Nothing, "a file that is not of BeachDB's";
    Leftover = "BS008", Notice, Nothing, "a temporary file was left over";
    Unexplained = "BS009", Damage, Check, "bytes that nothing explains";
    Moved = "BS010", Notice, Check, "the store changed while it was read";
}

impl Code {
    /// The page about it, from `docs/findings.md`: Markdown without the heading.
    #[must_use]
    pub fn page(self) -> &'static str {
        const PAGES: &str = include_str!("../../docs/findings.md");
        let heading = format!("\n### {} ", self.id());
        let Some(start) = PAGES.find(&heading) else { return "" };
        let page = PAGES[start + heading.len()..].split_once('\n').map_or("", |(_, page)| page);
        let end = ["\n### ", "\n## "].iter().filter_map(|next| page.find(next)).min();
        page[..end.unwrap_or(page.len())].trim()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl std::str::FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Code, String> {
        let found = Code::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("there is no code \"{}\"", text.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code has a page with the three parts that a reader looks for, and none is left over.
    #[test]
    fn every_code_has_a_page() {
        let pages = include_str!("../../docs/findings.md");
        for code in Code::ALL {
            let page = code.page();
            for part in ["**Seen:**", "**Means:**", "**Do:**"] {
                assert!(page.contains(part), "{code} has no {part}");
            }
            assert!(pages.contains(&format!("### {code} · {}\n", code.title())), "{code}");
            assert_eq!(code.id().parse(), Ok(*code));
        }
        assert_eq!(pages.matches("\n### B").count(), Code::ALL.len());
    }

    /// One code of each kind of advice.
    #[test]
    fn the_next_step_names_the_file_or_its_store() {
        let step = |code, path: &str| Finding::new(code, path, "x").next_step();
        let is = |step: Option<String>, text: &str| assert_eq!(step.as_deref(), Some(text));
        is(step(Code::BlockDamaged, "db/000007.sst"), "beach-sstDump doctor db/000007.sst");
        is(step(Code::CurrentMissing, "db/CURRENT"), "beach --db db repair");
        is(step(Code::CurrentMissing, "CURRENT"), "beach --db . repair");
        is(step(Code::TablesOverlap, "some/db"), "beach --db some/db repair");
        assert_eq!(step(Code::LogTorn, "db/000002.wal"), None);
    }
}
