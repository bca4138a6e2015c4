#![doc = include_str!("../../../docs/formats/sstable.md")]

mod fields;
mod footer;
mod meta;
mod properties;

pub use footer::{FOOTER_SIZE, Footer, Handle, MAGIC};
pub use meta::TableMeta;
pub use properties::{COMPARATOR, Origin, Properties};

#[cfg(test)]
mod tests;
