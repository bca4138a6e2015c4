//! One entry in the arena: trailer, sizes, user key and value, in one piece.
//!
//! ```text
//! u64 trailer │ u32 value size │ u16 key size │ user key │ value
//! ```
//!
//! An entry is written once, before anything points to it, and never changes.

#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::arena::{Arena, Bump};
use crate::format::key::{self, Trailer};

/// Bytes of an entry before its user key.
pub(super) const HEADER_SIZE: usize = 14;

/// What is searched for: an internal key, not necessarily one that is there.
#[derive(Clone, Copy)]
pub(super) struct Target<'k> {
    pub(super) user: &'k [u8],
    pub(super) trailer: Trailer,
}

/// A reference to an entry of an arena that lives at least for `'t`.
#[derive(Clone, Copy)]
pub(super) struct Entry<'t> {
    start: NonNull<u8>,
    arena: PhantomData<&'t Arena>,
}

impl<'t> Entry<'t> {
    /// Writes an entry into the arena.
    ///
    /// # Panics
    /// If the key has more than 65,535 bytes or the value 4 GiB: the engine checks before it
    /// writes anything.
    pub(super) fn write(arena: &'t Arena, bump: &mut Bump, key: Target<'_>, value: &[u8]) -> Self {
        let (Ok(key_size), Ok(value_size)) =
            (u16::try_from(key.user.len()), u32::try_from(value.len()))
        else {
            panic!("a key of {} or a value of {} bytes", key.user.len(), value.len());
        };
        let start = bump.bytes(arena, Entry::size(key.user.len(), value.len()));
        // SAFETY: the bump gave us exactly the bytes that these writes fill, one behind the other.
        unsafe {
            start.cast::<u64>().write_unaligned(key.trailer.0);
            start.add(8).cast::<u32>().write_unaligned(value_size);
            start.add(12).cast::<u16>().write_unaligned(key_size);
            let user = start.add(HEADER_SIZE);
            user.copy_from_nonoverlapping(NonNull::from(key.user).cast(), key.user.len());
            let behind = user.add(key.user.len());
            behind.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        Entry { start, arena: PhantomData }
    }

    /// Bytes that an entry takes in the arena.
    pub(super) fn size(key_size: usize, value_size: usize) -> usize {
        HEADER_SIZE + key_size + value_size
    }

    /// The entry at a pointer that [`Entry::as_ptr`] returned.
    ///
    /// # Safety
    /// The arena it was written into must live for `'t`, and whatever made the pointer known to
    /// this thread must have made the entry's bytes known too.
    pub(super) unsafe fn from_ptr(start: *mut u8) -> Entry<'t> {
        debug_assert!(!start.is_null(), "a slot that was never published");
        // SAFETY: pointers from `as_ptr` are not null.
        Entry { start: unsafe { NonNull::new_unchecked(start) }, arena: PhantomData }
    }

    /// For keeping in a node.
    pub(super) fn as_ptr(self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Sequence number and kind.
    pub(super) fn trailer(self) -> Trailer {
        // SAFETY: an entry begins with its trailer.
        Trailer(unsafe { self.start.cast::<u64>().read_unaligned() })
    }

    /// The user key.
    pub(super) fn user(self) -> &'t [u8] {
        // SAFETY: the key stands behind the header and has the size the header says; the arena
        // lives for `'t` and entries never change.
        unsafe {
            let size = self.start.add(12).cast::<u16>().read_unaligned();
            std::slice::from_raw_parts(self.start.add(HEADER_SIZE).as_ptr(), usize::from(size))
        }
    }

    /// The value.
    pub(super) fn value(self) -> &'t [u8] {
        let user = self.user();
        // SAFETY: as for the key, behind which the value stands.
        unsafe {
            let size = self.start.add(8).cast::<u32>().read_unaligned();
            let start = self.start.add(HEADER_SIZE + user.len());
            std::slice::from_raw_parts(start.as_ptr(), size as usize)
        }
    }

    /// The entry's internal key.
    pub(super) fn key(self) -> Target<'t> {
        Target { user: self.user(), trailer: self.trailer() }
    }

    /// Asks the processor for the entry's beginning, which will be needed soon.
    pub(super) fn prefetch(self) {
        prefetch(self.start.as_ptr());
    }
}

impl Target<'_> {
    /// Eight bytes of the user key from `skip` on, filled up with zeros, as a number.
    ///
    /// Of two keys that agree in their first `skip` bytes, the one with the smaller head is the
    /// smaller one; equal heads say nothing.
    pub(super) fn head(self, skip: usize) -> u64 {
        let Some(rest) = self.user.get(skip..) else { return 0 };
        if let Some(eight) = rest.first_chunk() {
            return u64::from_be_bytes(*eight);
        }
        // The usual short rest is the end of a longer key: shift what does not belong to it out.
        let unused = 8 * (8 - rest.len()) as u32;
        if let Some(eight) = self.user.last_chunk() {
            return u64::from_be_bytes(*eight).checked_shl(unused).unwrap_or(0);
        }
        rest.iter()
            .fold(0, |head, byte| head << 8 | u64::from(*byte))
            .checked_shl(unused)
            .unwrap_or(0)
    }

    /// Compares two internal keys.
    pub(super) fn compare(self, other: Target<'_>) -> Ordering {
        key::compare((self.user, self.trailer), (other.user, other.trailer))
    }

    /// Compares two internal keys whose user keys agree in their first `skip` bytes.
    pub(super) fn compare_from(self, skip: usize, other: Target<'_>) -> Ordering {
        key::compare((&self.user[skip..], self.trailer), (&other.user[skip..], other.trailer))
    }
}

/// How many first bytes the two have in common.
pub(super) fn common_size(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Asks the processor for a cache line that will be needed soon; only a hint.
pub(super) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on the cache, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
