//! Memory that is handed out piece by piece and given back all at once.
//!
//! Invariants:
//! - a piece never moves and is never handed out twice, so a pointer to it stays good until the
//!   [`Arena`] is dropped;
//! - the [`Arena`] owns the chunks and is shared; the [`Bump`] hands out pieces of the newest one
//!   and belongs to the writer alone. The two are made together and used together.
//!
//! Bytes grow upwards from a chunk's beginning, nodes downwards from its end: nodes stay aligned
//! to cache lines and neither kind costs the other any padding.

#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Size of the first chunk: a store with ten keys costs no more.
const CHUNK_SIZE_MIN: usize = 4 << 10;

/// Size that chunks grow to, doubling.
const CHUNK_SIZE_MAX: usize = 1 << 20;

/// Bytes that get a chunk of their own, rather than waste the rest of the current one.
const BIG_SIZE: usize = CHUNK_SIZE_MAX / 8;

/// A cache line; what chunks and nodes are aligned to.
pub(super) const LINE_SIZE: usize = 64;

/// What stands at the beginning of each chunk.
struct Chunk {
    /// The chunk allocated before this one, or null.
    older: *mut Chunk,
    layout: Layout,
}

/// The chunks of one memtable.
pub(super) struct Arena {
    newest: AtomicPtr<Chunk>,
    allocated: AtomicU64,
}

/// The unused middle of the newest chunk.
pub(super) struct Bump {
    low: *mut u8,
    high: *mut u8,
    chunk_size: usize,
    used: u64,
}

// SAFETY: the pointers lead into chunks that only this `Bump` hands out pieces of.
unsafe impl Send for Bump {}

impl Arena {
    /// An empty arena and the one allocator for it.
    pub(super) fn new() -> (Arena, Bump) {
        let arena = Arena { newest: AtomicPtr::default(), allocated: AtomicU64::new(0) };
        let (low, high) = (ptr::null_mut(), ptr::null_mut());
        let bump = Bump { low, high, chunk_size: CHUNK_SIZE_MIN, used: 0 };
        (arena, bump)
    }

    /// Bytes of all chunks, used or not.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Adds a chunk of at least `size` usable bytes; returns their beginning and end.
    fn add(&self, size: usize) -> (*mut u8, *mut u8) {
        let size = (size + size_of::<Chunk>()).next_multiple_of(LINE_SIZE);
        let layout = match Layout::from_size_align(size, LINE_SIZE) {
            Ok(layout) => layout,
            Err(_) => unreachable!("a key and a value together are far below isize::MAX"),
        };
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc::alloc(layout) };
        if base.is_null() {
            alloc::handle_alloc_error(layout);
        }
        let older = self.newest.load(Ordering::Relaxed);
        // SAFETY: `base` is the start of `size` fresh bytes, aligned for `Chunk` and more.
        let usable = unsafe {
            base.cast::<Chunk>().write(Chunk { older, layout });
            (base.add(size_of::<Chunk>()), base.add(size))
        };
        // Only the writer comes here, so load and store need not be one step. `drop` comes after
        // the last `Arc` was given up, which orders it behind all of this.
        self.newest.store(base.cast(), Ordering::Relaxed);
        self.allocated.store(self.allocated() + size as u64, Ordering::Relaxed);
        usable
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let mut chunk = *self.newest.get_mut();
        while !chunk.is_null() {
            // SAFETY: each chunk in the list was allocated with the layout it holds, and nobody
            // can reach into the arena any more.
            unsafe {
                let Chunk { older, layout } = chunk.read();
                alloc::dealloc(chunk.cast(), layout);
                chunk = older;
            }
        }
    }
}

impl Bump {
    /// Bytes of all pieces handed out.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Fresh bytes, not initialised and not aligned.
    pub(super) fn bytes(&mut self, arena: &Arena, size: usize) -> NonNull<u8> {
        self.used += size as u64;
        if size > self.room() {
            if size > BIG_SIZE {
                return non_null(arena.add(size).0);
            }
            self.renew(arena, size);
        }
        let start = self.low;
        // SAFETY: `size` bytes are left between `low` and `high`.
        self.low = unsafe { start.add(size) };
        non_null(start)
    }

    /// Moves `node` into the arena. Its size is a multiple of its alignment, one cache line.
    pub(super) fn node<T>(&mut self, arena: &Arena, node: T) -> NonNull<T> {
        const { assert!(align_of::<T>() == LINE_SIZE && !std::mem::needs_drop::<T>()) };
        self.used += size_of::<T>() as u64;
        if size_of::<T>() > self.room() {
            self.renew(arena, size_of::<T>());
        }
        // SAFETY: that many bytes are left between `low` and `high`, and `high` is aligned: it
        // begins at a chunk's end and moves by multiples of the line size.
        unsafe {
            self.high = self.high.sub(size_of::<T>());
            let place = self.high.cast::<T>();
            place.write(node);
            NonNull::new_unchecked(place)
        }
    }

    fn room(&self) -> usize {
        self.high.addr() - self.low.addr()
    }

    /// Begins a new chunk with room for at least `size` bytes, which must not be big.
    fn renew(&mut self, arena: &Arena, size: usize) {
        while self.chunk_size < 2 * size {
            self.chunk_size *= 2;
        }
        (self.low, self.high) = arena.add(self.chunk_size - size_of::<Chunk>());
        self.chunk_size = CHUNK_SIZE_MAX.min(self.chunk_size * 2);
    }
}

fn non_null(start: *mut u8) -> NonNull<u8> {
    // SAFETY: it points into a chunk, and `Arena::add` never returns null.
    unsafe { NonNull::new_unchecked(start) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Line([u8; 64]);

    /// Takes bytes and nodes of many sizes, fills each with a pattern of its own, and looks at all
    /// of them again at the end: any overlap or move would have changed one.
    #[test]
    fn pieces_never_overlap_and_never_move() {
        let (arena, mut bump) = Arena::new();
        let mut pieces = Vec::new();
        let mut lines = Vec::new();
        for round in 0..3000usize {
            let size = if round % 500 == 0 { 300_000 } else { round * 7 % 400 };
            let start = bump.bytes(&arena, size);
            // SAFETY: the bump gave us these bytes.
            unsafe { start.write_bytes(round as u8, size) };
            pieces.push((start, size, round as u8));
            let line = bump.node(&arena, Line([!round as u8; 64]));
            assert_eq!(line.addr().get() % 64, 0);
            lines.push((line, !round as u8));
        }
        let used: usize = pieces.iter().map(|(_, size, _)| size + 64).sum();
        assert_eq!(bump.used(), used as u64);
        assert!(arena.allocated() >= bump.used());
        for (start, size, byte) in pieces {
            // SAFETY: written above, and the arena is still here.
            let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), size) };
            assert!(bytes.iter().all(|b| *b == byte));
        }
        for (line, byte) in lines {
            // SAFETY: as above.
            assert_eq!(unsafe { line.as_ref() }.0, [byte; 64]);
        }
    }

    /// Nothing is allocated before the first piece, one small chunk with it; an entry too big for
    /// a chunk gets one of its own and leaves the current one in use.
    #[test]
    fn chunks_start_small_and_big_pieces_stand_alone() {
        let (arena, mut bump) = Arena::new();
        assert_eq!(arena.allocated(), 0);
        let first = bump.bytes(&arena, 10);
        assert_eq!(arena.allocated(), CHUNK_SIZE_MIN as u64);
        bump.bytes(&arena, 1 << 20);
        assert_eq!(arena.allocated(), (CHUNK_SIZE_MIN + (1 << 20) + 64) as u64);
        assert_eq!(bump.bytes(&arena, 1).addr().get(), first.addr().get() + 10);
        while arena.allocated() < 20 << 20 {
            bump.bytes(&arena, 1000);
        }
        assert_eq!(bump.chunk_size, CHUNK_SIZE_MAX);
    }
}
