//! Small writes through a shared mapping of the file, where that is safe and pays.
//!
//! A `pwrite` of a hundred bytes costs a microsecond and more, copying them into a mapped page a
//! tenth of it. Either way they are with the kernel when the call returns: the page belongs to the file's
//! page cache, and stays there when the process is killed.
//!
//! Invariants:
//! - Only what lies within the file's size is written through a mapping, and only where the blocks
//!   are allocated on a file system that overwrites them in place: a full disk is found out by
//!   `fallocate`, never by a signal in the middle of a copy.
//! - The file is not cut while a part behind the cut is mapped: the lock here is held for both.
//! - Whatever fails, the caller falls back to `pwrite`, which reports what is wrong.
//!
//! `fdatasync` covers mapped pages as it does written ones: since Linux 2.6.19 the first store to a
//! clean page of a shared mapping is a fault that marks the page dirty in the page cache (see
//! `page_mkwrite` in the kernel's `Documentation/filesystems/locking.rst`), writing it back
//! write-protects it again, and an error in that is kept with the file, whatever made the page dirty.
//!
//! A process outside the store's own that cuts the live log would kill this one with `SIGBUS`; the
//! store would then open as after any kill, and find its log damaged.

#![expect(unsafe_code, reason = "the system calls that map, and the copy into what they gave")]

use std::fs;
use std::io;
use std::ptr::{self, NonNull};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, fstatfs};
use rustix::io::retry_on_intr;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// So many writes without a sync between are a stream that is worth a mapping.
const STREAM_WRITES: u32 = 32;

/// Larger writes go through `pwrite`, which then costs little more than the copy.
pub(super) const SMALL_MAX: usize = 16 << 10;

/// Bytes that are mapped at once: moved along as the file fills, so that little of it counts as
/// memory of this process.
const WINDOW_SIZE: u64 = 1 << 20;

/// What a window's offset is aligned to: a multiple of every page size in use.
const WINDOW_ALIGN: u64 = 64 << 10;

/// Bytes whose pages are fetched with one call, before the copies into them.
const READY_SIZE: usize = 64 << 10;

/// The magic numbers of file systems that overwrite allocated blocks where they are: ext2 to ext4,
/// XFS, tmpfs.
const IN_PLACE: [u64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];

/// The mapped part of one file, if any.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    window: Option<Window>,
    /// Small writes since the last sync.
    writes: u32,
    /// Mapping failed or is not safe here; it is not tried again.
    refused: bool,
}

impl Mapped {
    /// Writes through the mapping, if that is the way for this write; the caller writes otherwise.
    pub(super) fn write(&self, file: &fs::File, bytes: &[u8], offset: u64) -> bool {
        if bytes.len() > SMALL_MAX {
            return false;
        }
        let mut state = self.state.lock();
        state.writes = state.writes.saturating_add(1);
        if state.writes <= STREAM_WRITES || state.refused {
            return false;
        }
        let written = state.window.as_mut().map(|window| window.write(bytes, offset));
        match written {
            Some(Ok(true)) => true,
            Some(Err(_)) => state.refuse(),
            Some(Ok(false)) | None => state.move_and_write(file, bytes, offset),
        }
    }

    /// The file is about to be synced. Where syncs are frequent nothing is mapped: each would
    /// write-protect the pages, and each write would have to fault them in again.
    pub(super) fn before_sync(&self) {
        let mut state = self.state.lock();
        if state.writes <= STREAM_WRITES {
            state.window = None;
        }
        state.writes = 0;
    }

    /// Keeps anything from being mapped while the file's size changes.
    pub(super) fn hold(&self) -> impl Drop + use<'_> {
        self.state.lock()
    }
}

impl State {
    /// Moves the window to where the write belongs, if the file has space there.
    fn move_and_write(&mut self, file: &fs::File, bytes: &[u8], offset: u64) -> bool {
        self.window = None;
        match Window::open(file, bytes.len(), offset) {
            Ok(Some(mut window)) => match window.write(bytes, offset) {
                Ok(written) => {
                    self.window = Some(window);
                    written
                }
                Err(_) => self.refuse(),
            },
            Ok(None) => false,
            Err(_) => self.refuse(),
        }
    }

    fn refuse(&mut self) -> bool {
        (self.window, self.refused) = (None, true);
        false
    }
}

/// A mapped range of a file.
#[derive(Debug)]
struct Window {
    base: NonNull<u8>,
    size: usize,
    /// Where it lies in the file.
    offset: u64,
    /// Bytes from its beginning whose pages were fetched.
    ready: usize,
}

// SAFETY: the mapping is the window's own, and may be used and removed from any thread.
unsafe impl Send for Window {}

impl Window {
    /// Maps the file around a write of `size` bytes at `offset`; none where the file is too small.
    fn open(file: &fs::File, size: usize, offset: u64) -> io::Result<Option<Window>> {
        let file_size = file.metadata()?.len() / WINDOW_ALIGN * WINDOW_ALIGN;
        let start = offset / WINDOW_ALIGN * WINDOW_ALIGN;
        let end = file_size.min(start.saturating_add(WINDOW_SIZE));
        if offset.checked_add(size as u64).is_none_or(|write_end| write_end > end) {
            return Ok(None);
        }
        if !IN_PLACE.contains(&(fstatfs(file)?.f_type as u64)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let size = end - start;
        // Free where the blocks are allocated, which they are unless the file is a sparse copy.
        retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, start, size))?;
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::Unsupported)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base =
            unsafe { mmap(ptr::null_mut(), size, protection, MapFlags::SHARED, file, start)? };
        let base: NonNull<u8> = NonNull::new(base.cast()).ok_or(io::ErrorKind::Unsupported)?;
        let ready = usize::try_from(offset - start).unwrap_or(0) / READY_SIZE * READY_SIZE;
        let window = Window { base, size, offset: start, ready };
        // Reading ahead would make large folios, and each page of one fetched for writing costs a
        // walk over all of it.
        // SAFETY: the advice is about the window's own mapping, and changes no byte.
        unsafe { madvise(window.base.as_ptr().cast(), size, Advice::Random)? };
        Ok(Some(window))
    }

    /// Copies the bytes to where they belong; `false` where that is not wholly in the window.
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        let place = offset.checked_sub(self.offset).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place else { return Ok(false) };
        let Some(end) = place.checked_add(bytes.len()).filter(|end| *end <= self.size) else {
            return Ok(false);
        };
        if end > self.ready {
            self.fetch(end)?;
        }
        // SAFETY: `place..end` is within the mapping, which nobody else in this process knows of,
        // and which has blocks and size to back it: see the top.
        unsafe {
            let target = self.base.add(place);
            target.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
        Ok(true)
    }

    /// Fetches pages up to `end` and some more: together they cost half of what each would by a
    /// fault of its own, and an error is an error here rather than a signal.
    fn fetch(&mut self, end: usize) -> io::Result<()> {
        let upto = end.next_multiple_of(READY_SIZE).min(self.size);
        // SAFETY: the range is within the mapping, and fetching its pages changes no byte.
        let fetched = unsafe {
            let start = self.base.add(self.ready).as_ptr().cast();
            madvise(start, upto - self.ready, Advice::LinuxPopulateWrite)
        };
        match fetched {
            // Linux before 5.14 does not know the call: then each page comes by a fault.
            Ok(()) | Err(rustix::io::Errno::INVAL) => self.ready = upto,
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is this window's own, and nothing points into it.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.size) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests;
