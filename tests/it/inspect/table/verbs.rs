//! The commands of `beach-sstDump`, as a person and a script meet them.
