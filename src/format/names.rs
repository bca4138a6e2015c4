//! The names in a store's directory, and the content of `CURRENT`.
//!
//! Names are parsed strictly: what these functions would not write is [`FileName::Other`], and is
//! left alone.

use super::coding::crc32;
use crate::types::FileNumber;

/// Names the current manifest.
pub const CURRENT: &str = "CURRENT";

/// Bytes of `CURRENT` as long as manifests have numbers of six digits.
pub const CURRENT_SIZE: u64 = 31;

/// What `CURRENT` is written as before it is renamed.
pub const CURRENT_TEMP: &str = "CURRENT.tmp";

/// Says that a checkpoint is being made in this directory: without `CURRENT` beside it, it was not
/// finished.
pub const CHECKPOINT_TEMP: &str = "CHECKPOINT.tmp";

/// Locked by the writing process.
pub const LOCK: &str = "LOCK";

const MANIFEST_PREFIX: &str = "MANIFEST-";

/// What a name in a store's directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// A sorted table, `000007.sst`.
    Table(FileNumber),
    /// A write-ahead log, `000006.wal`.
    Log(FileNumber),
    /// A manifest, `MANIFEST-000005`.
    Manifest(FileNumber),
    /// [`CURRENT`].
    Current,
    /// [`CURRENT_TEMP`].
    CurrentTemp,
    /// [`CHECKPOINT_TEMP`].
    CheckpointTemp,
    /// [`LOCK`].
    Lock,
    /// Not a name of ours.
    Other,
}

/// The name of a table.
#[must_use]
pub fn table(number: FileNumber) -> String {
    format!("{number}.sst")
}

/// The name of a log.
#[must_use]
pub fn log(number: FileNumber) -> String {
    format!("{number}.wal")
}

/// The name of a manifest.
#[must_use]
pub fn manifest(number: FileNumber) -> String {
    format!("{MANIFEST_PREFIX}{number}")
}

/// What this name says.
#[must_use]
pub fn parse(name: &str) -> FileName {
    let numbered = |digits: &str, make: fn(FileNumber) -> FileName| {
        parse_number(digits).map_or(FileName::Other, make)
    };
    match name {
        CURRENT => FileName::Current,
        CURRENT_TEMP => FileName::CurrentTemp,
        CHECKPOINT_TEMP => FileName::CheckpointTemp,
        LOCK => FileName::Lock,
        _ => {
            if let Some(digits) = name.strip_prefix(MANIFEST_PREFIX) {
                numbered(digits, FileName::Manifest)
            } else if let Some(digits) = name.strip_suffix(".sst") {
                numbered(digits, FileName::Table)
            } else if let Some(digits) = name.strip_suffix(".wal") {
                numbered(digits, FileName::Log)
            } else {
                FileName::Other
            }
        }
    }
}

impl FileName {
    /// The number in the name.
    #[must_use]
    pub fn number(self) -> Option<FileNumber> {
        match self {
            FileName::Table(number) | FileName::Log(number) | FileName::Manifest(number) => {
                Some(number)
            }
            FileName::Current
            | FileName::CurrentTemp
            | FileName::CheckpointTemp
            | FileName::Lock
            | FileName::Other => None,
        }
    }
}

/// A number exactly as [`FileNumber`] displays it: six digits, or more without a leading zero.
fn parse_number(digits: &str) -> Option<FileNumber> {
    let plain = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (digits.len() > 6 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok().filter(|&number| number != 0).map(FileNumber)
}

/// The content of `CURRENT`: `MANIFEST-000005 crc32=<8 lower-case hex digits>` and a line feed.
#[must_use]
pub fn encode_current(number: FileNumber) -> String {
    let name = manifest(number);
    let crc = crc32(&[name.as_bytes()]);
    format!("{name} crc32={crc:08x}\n")
}

/// The manifest that `CURRENT` names; it must be byte for byte what [`encode_current`] writes.
///
/// # Errors
/// What was found and what was expected.
pub fn decode_current(bytes: &[u8]) -> Result<FileNumber, String> {
    let named = bytes
        .split(|&byte| byte == b' ')
        .next()
        .and_then(|name| std::str::from_utf8(name).ok())
        .map(parse);
    let Some(FileName::Manifest(number)) = named else {
        return Err(format!("found {}, expected a manifest's name", shown(bytes)));
    };
    let expected = encode_current(number);
    if bytes == expected.as_bytes() {
        return Ok(number);
    }
    Err(format!("found {}, expected {}", shown(bytes), shown(expected.as_bytes())))
}

/// The first bytes in quotes, as in Rust source.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(64)];
    let more = if cut.len() < bytes.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name that is made parses back, from the smallest number to the largest.
    #[test]
    fn names_round_trip() {
        for number in [1, 7, 999_999, 1_000_000, u64::MAX] {
            let number = FileNumber(number);
            assert_eq!(parse(&table(number)), FileName::Table(number));
            assert_eq!(parse(&log(number)), FileName::Log(number));
            assert_eq!(parse(&manifest(number)), FileName::Manifest(number));
            assert_eq!(parse(&log(number)).number(), Some(number));
            assert_eq!(decode_current(encode_current(number).as_bytes()), Ok(number));
        }
        assert_eq!(table(FileNumber(7)), "000007.sst");
        assert_eq!(log(FileNumber(6)), "000006.wal");
        assert_eq!(manifest(FileNumber(5)), "MANIFEST-000005");
        assert_eq!(parse("CURRENT"), FileName::Current);
        assert_eq!(parse("CURRENT.tmp"), FileName::CurrentTemp);
        assert_eq!(parse("CHECKPOINT.tmp"), FileName::CheckpointTemp);
        assert_eq!(parse("LOCK"), FileName::Lock);
    }

    /// Names that are nearly ours: taking one for ours could delete somebody's file.
    #[test]
    fn names_that_are_nearly_ours_are_not() {
        for name in [
            "",
            "7.sst",
            "00007.sst",
            "0000007.sst",
            "000000.sst",
            "+00007.sst",
            "000007.SST",
            "000007.sst ",
            "000007.sst.tmp",
            "000007",
            ".wal",
            "x000006.wal",
            "0000x6.wal",
            "99999999999999999999.wal",
            "MANIFEST-",
            "MANIFEST-5",
            "MANIFEST-000005.tmp",
            "MANIFEST-00000５",
            "manifest-000005",
            "current",
            "CURRENT.bak",
            "LOCKED",
        ] {
            assert_eq!(parse(name), FileName::Other, "{name:?}");
        }
    }

    /// The checksum is python3's `zlib.crc32(b"MANIFEST-000005")`.
    #[test]
    fn current_has_these_bytes() {
        assert_eq!(encode_current(FileNumber(5)), "MANIFEST-000005 crc32=5d689b3a\n");
    }

    /// Every flipped bit, every cut and every byte behind it make `CURRENT` invalid.
    #[test]
    fn current_is_exact_to_the_byte() {
        let content = encode_current(FileNumber(5)).into_bytes();
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_current(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..content.len() {
            assert!(decode_current(&content[..cut]).is_err(), "cut at {cut}");
        }
        assert!(decode_current(&[&content[..], b"\n"].concat()).is_err());
        assert!(decode_current(&[0; 4096]).unwrap_err().len() < 500);
    }
}
