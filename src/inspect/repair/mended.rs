//! A damaged table, read with what its checksums prove put right.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::stock::StockTable;
use crate::error::{Error, Result};
use crate::inspect::table::doctor::{changes, doctor};
use crate::vfs::{File, Fill};

/// The table with every cure that the doctor knows, if there is one; the file stays as it is.
pub(super) fn mended(table: &StockTable) -> Result<Option<StockTable>> {
    let diagnoses = match doctor(&*table.file, &[]) {
        Ok(diagnoses) => diagnoses,
        Err(Error::NotOurs { .. } | Error::Corruption(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let cures = changes(&diagnoses);
    // A cure behind the end would make the file longer, or cut it: that is for the doctor's copy.
    let size = table.file.size()?;
    let fits = |(offset, bytes): (&u64, &Vec<u8>)| offset + bytes.len() as u64 <= size;
    if cures.is_empty() || !cures.iter().all(fits) {
        return Ok(None);
    }
    let file = Arc::new(Mended { file: Arc::clone(&table.file), cures });
    Ok(Some(StockTable {
        path: table.path.clone(),
        number: table.number,
        file,
        level: table.level,
        meta: table.meta.clone(),
    }))
}

/// A file over which other bytes are laid.
#[derive(Debug)]
struct Mended {
    file: Arc<dyn File>,
    cures: BTreeMap<u64, Vec<u8>>,
}

impl Mended {
    fn refused(&self) -> Error {
        Error::io("change", self.path(), std::io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl File for Mended {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        let end = offset + read as u64;
        for (&at, bytes) in &self.cures {
            let (from, to) = (at.max(offset), (at + bytes.len() as u64).min(end));
            if from < to {
                let cure = &bytes[(from - at) as usize..(to - at) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(cure);
            }
        }
        Ok(read)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> Result<()> {
        Err(self.refused())
    }

    fn allocate(&self, _size: u64, _fill: Fill) -> Result<()> {
        Err(self.refused())
    }

    fn sync(&self) -> Result<()> {
        Err(self.refused())
    }

    fn size(&self) -> Result<u64> {
        self.file.size()
    }
}
