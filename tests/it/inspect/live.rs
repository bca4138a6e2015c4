//! The tools beside a process that writes.
