//! Appending frames.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::frame::{self, Kind};
use crate::probe::mutant;
use crate::types::FileId;
use crate::vfs::File;

/// What the buffer keeps of its memory after a large write.
const BUFFER_KEPT_MAX: usize = 1 << 20;

/// Appends frames to a file that nobody else writes.
///
/// [`Writer::push`] puts frames into a buffer and [`Writer::write`] writes the buffer with one
/// call. Syncing is the caller's.
#[derive(Debug)]
pub struct Writer {
    file: Arc<dyn File>,
    id: FileId,
    /// Where the buffer belongs.
    written: u64,
    buffer: Vec<u8>,
    /// The write that failed, in words.
    failed: Option<String>,
}

impl Writer {
    /// A writer whose next frame goes to `offset` of the file with this id.
    #[must_use]
    pub fn new(file: Arc<dyn File>, id: FileId, offset: u64) -> Writer {
        Writer { file, id, written: offset, buffer: Vec::new(), failed: None }
    }

    /// Adds a frame to those that the next [`Writer::write`] writes and returns its offset. The
    /// payload is the concatenation of the parts.
    ///
    /// `synced_upto` is the promise that all bytes of the file before it are on stable storage now;
    /// 0 promises nothing.
    pub fn push(&mut self, kind: Kind, synced_upto: u64, payload: &[&[u8]]) -> u64 {
        let offset = self.end();
        debug_assert!(synced_upto <= self.written, "nothing is synced before it is written");
        frame::encode(&mut self.buffer, self.id, offset, kind, synced_upto, payload);
        offset
    }

    /// Bytes pushed and not yet written.
    #[must_use]
    pub fn pending_size(&self) -> usize {
        self.buffer.len()
    }

    /// The offset behind all frames, those not yet written included.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The offset behind the frames that are written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The id mixed into the frames.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Writes all pushed frames with one call; with none, does nothing.
    ///
    /// # Errors
    /// The file's own; any part of the frames may then be in the file. From then on always
    /// [`Error::Poisoned`].
    pub fn write(&mut self) -> Result<()> {
        if let Some(failed) = &self.failed {
            return Err(Error::Poisoned(failed.clone()));
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_at(&self.buffer, self.written) {
            // Rule 6: nothing is appended behind a failed append.
            if mutant("append_behind_failed_append") {
                self.written = self.end();
                self.discard_pending();
                return Err(error);
            }
            self.failed = Some(error.to_string());
            return Err(error);
        }
        self.written = self.end();
        self.discard_pending();
        Ok(())
    }

    /// Drops the frames that are not yet written; nothing of them is in the file, unless a write of
    /// them failed.
    pub fn discard_pending(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::MemoryFile;

    const ID: FileId = FileId(7);

    /// Frames get the offsets they are then found at, and reach the file in one call.
    #[test]
    fn frames_are_written_with_one_call() -> Result<()> {
        let file = Arc::new(MemoryFile::new(Vec::new()));
        let mut writer = Writer::new(file.clone(), ID, 64);
        assert_eq!(writer.push(Kind::Batch, 0, &[b"ab", b"c"]), 64);
        assert_eq!(writer.push(Kind::Mark, 64, &[]), 64 + 32);
        assert_eq!((writer.pending_size(), writer.written()), (32 + 32, 64));
        assert!(file.bytes().is_empty());
        writer.write()?;
        assert_eq!((writer.pending_size(), writer.written(), writer.end()), (0, 128, 128));
        writer.write()?;
        assert_eq!(file.writes(), 1);

        let mut expected = vec![0; 64];
        frame::encode(&mut expected, ID, 64, Kind::Batch, 0, &[b"abc"]);
        frame::encode(&mut expected, ID, 96, Kind::Mark, 64, &[]);
        assert_eq!(file.bytes(), expected);
        Ok(())
    }

    /// Dropped frames leave no trace: the next one gets their offset.
    #[test]
    fn discarded_frames_are_never_written() -> Result<()> {
        let file = Arc::new(MemoryFile::new(Vec::new()));
        let mut writer = Writer::new(file.clone(), ID, 0);
        writer.push(Kind::Batch, 0, &[b"dropped"]);
        writer.discard_pending();
        assert_eq!(writer.push(Kind::Batch, 0, &[b"kept"]), 0);
        writer.write()?;
        assert_eq!(file.bytes().len(), 32);
        Ok(())
    }

    /// After one failed write the file works again; the writer must not.
    #[test]
    fn a_failed_write_kills_the_writer() {
        let file = Arc::new(MemoryFile::new(Vec::new()));
        let mut writer = Writer::new(file.clone(), ID, 0);
        writer.push(Kind::Batch, 0, &[b"lost"]);
        file.fail(true);
        assert!(matches!(writer.write(), Err(Error::Io { .. })));
        file.fail(false);
        for _ in 0..2 {
            assert!(matches!(writer.write(), Err(Error::Poisoned(_))));
            writer.discard_pending();
            writer.push(Kind::Batch, 0, &[b"more"]);
        }
        assert!(file.bytes().is_empty());
    }
}
