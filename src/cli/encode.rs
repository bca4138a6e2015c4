//! Bytes as text, without loss, and back.
//!
//! Invariant: `decode(encode(bytes)) == bytes` for all bytes and encodings, and what `encode`
//! returns has no control character, no line end and no tab, so that it can stand in a line, a
//! column or a terminal.

use std::fmt::Write as _;
use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How byte strings are written on the command line and in text output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// Printable UTF-8 as it is; a tab `\t`, a line feed `\n`, a backslash `\\`, all else `\xNN`.
    #[default]
    Escape,
    /// Two hexadecimal digits a byte.
    Hex,
    /// RFC 4648 base64 with padding.
    Base64,
}

impl Encoding {
    /// The bytes as text.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Escape => escape(bytes),
            Encoding::Hex => hex::encode(bytes),
            Encoding::Base64 => STANDARD.encode(bytes),
        }
    }

    /// Appends the text that [`Encoding::encode`] returns: for long lists, without a string each.
    pub fn encode_into(self, out: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Encoding::Escape => escape_into(out, bytes),
            Encoding::Hex => {
                let digits = b"0123456789abcdef";
                for byte in bytes {
                    let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                    out.extend_from_slice(&[digits[high], digits[low]]);
                }
            }
            Encoding::Base64 => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
        }
    }

    /// The bytes that the text stands for.
    ///
    /// # Errors
    /// What is wrong and at which byte of the text (counted from 0).
    pub fn decode(self, text: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Encoding::Escape => unescape(text),
            Encoding::Hex => decode_hex(text),
            Encoding::Base64 => decode_base64(text),
        }
    }
}

/// Whether the bytes are UTF-8 that a terminal shows as it is, line ends and tabs included.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    let shown = |c| matches!(c, '\n' | '\t') || is_printable(c);
    str::from_utf8(bytes).is_ok_and(|text| text.chars().all(shown))
}

/// Decodes standard base64.
///
/// # Errors
/// What is wrong and where.
pub fn decode_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, byte) => {
            format!("bad base64: byte {} at {at} is not a base64 digit", escape(&[byte]))
        }
        other => format!("bad base64: {}", other.to_string().to_lowercase()),
    })
}

fn decode_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    hex::decode(text).map_err(|error| match error {
        hex::FromHexError::InvalidHexCharacter { index, .. } => {
            let shown = escape(&text[index..=index]);
            format!("bad hex: byte {shown} at {index} is not a hexadecimal digit")
        }
        _ => format!("bad hex: {} digits, an even number is needed", text.len()),
    })
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                c if is_printable(c) => out.push(c),
                c => push_hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_hex(&mut out, chunk.invalid());
    }
    out
}

/// Runs of plain ASCII, nearly all there is, are copied; the rest goes the long way.
fn escape_into(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'[' | b']'..=b'~');
        let plain = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        let (copied, behind) = rest.split_at(plain);
        out.extend_from_slice(copied);
        // No character has plain bytes within it, so none is cut here.
        let odd = behind.iter().position(is_plain).unwrap_or(behind.len());
        let (odd, behind) = behind.split_at(odd);
        if !odd.is_empty() {
            out.extend_from_slice(escape(odd).as_bytes());
        }
        rest = behind;
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Not a control character, nor one that is invisible and changes how a line reads: separators of
/// lines and paragraphs, marks of direction, zero-width space, byte order mark. Joiners stay, for
/// scripts and emoji need them.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte != b'\\' {
            out.push(byte);
            at += 1;
            continue;
        }
        let (meant, size) = match text.get(at + 1) {
            Some(b'\\') => (b'\\', 2),
            Some(b't') => (b'\t', 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b'0') => (0, 2),
            Some(b'x') => (two_digits(text, at)?, 4),
            Some(other) => {
                let shown = escape(&[*other]);
                return Err(format!(
                    "bad escape at {at}: \\{shown} is none of \\\\ \\t \\n \\r \\0 \\xNN"
                ));
            }
            None => return Err(format!("bad escape at {at}: nothing follows the backslash")),
        };
        out.push(meant);
        at += size;
    }
    Ok(out)
}

/// The byte that the `\xNN` at `at` means.
fn two_digits(text: &[u8], at: usize) -> Result<u8, String> {
    let digits =
        text.get(at + 2..at + 4).ok_or_else(|| format!("bad escape at {at}: \\x is cut"))?;
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte)
        .map_err(|_| format!("bad escape at {at}: \\x needs two hexadecimal digits"))?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Encoding; 3] = [Encoding::Escape, Encoding::Hex, Encoding::Base64];

    /// Known pairs, among them each special case of the contract.
    #[test]
    fn printable_text_is_kept_and_the_rest_is_escaped() {
        for (bytes, text) in [
            (&b"plain text"[..], "plain text"),
            ("Grüße 🏖️ 👨‍👩‍👧".as_bytes(), "Grüße 🏖️ 👨‍👩‍👧"),
            (b"a\tb\nc\\d", r"a\tb\nc\\d"),
            (b"\x00\x1b[31m\x7f\r", r"\x00\x1b[31m\x7f\x0d"),
            (b"\xff\xfe ok", r"\xff\xfe ok"),
            (b"cut \xe2\x82", r"cut \xe2\x82"),
            ("\u{85}\u{202e}\u{feff}".as_bytes(), r"\xc2\x85\xe2\x80\xae\xef\xbb\xbf"),
        ] {
            assert_eq!(Encoding::Escape.encode(bytes), text);
            assert_eq!(Encoding::Escape.decode(text.as_bytes()).unwrap(), bytes);
        }
    }

    proptest! {
        /// Any bytes, and any text (where the escapes and the invisible characters are).
        #[test]
        fn every_encoding_gives_back_what_it_was_given(
            bytes: Vec<u8>, text in any::<String>(),
        ) {
            for given in [&bytes[..], text.as_bytes()] {
                for encoding in ALL {
                    let shown = encoding.encode(given);
                    prop_assert_eq!(encoding.decode(shown.as_bytes()).unwrap(), given);
                    let mut appended = b"x".to_vec();
                    encoding.encode_into(&mut appended, given);
                    prop_assert_eq!(&appended[1..], shown.as_bytes());
                    prop_assert!(is_text(shown.as_bytes()) && !shown.contains(['\n', '\t']));
                }
            }
        }
    }

    /// Each error names the byte at which a person must look.
    #[test]
    fn a_bad_text_is_refused_with_its_position() {
        let refused = |encoding: Encoding, text: &[u8]| encoding.decode(text).unwrap_err();
        assert!(refused(Encoding::Escape, br"ab\q").starts_with("bad escape at 2: \\q"));
        assert!(refused(Encoding::Escape, br"ab\xg0").starts_with("bad escape at 2"));
        assert!(refused(Encoding::Escape, br"ab\x+f").starts_with("bad escape at 2"));
        assert!(refused(Encoding::Escape, br"\x0").starts_with("bad escape at 0"));
        assert!(refused(Encoding::Escape, br"ab\").starts_with("bad escape at 2: nothing"));
        assert_eq!(
            refused(Encoding::Hex, b"00zz"),
            "bad hex: byte z at 2 is not a hexadecimal digit"
        );
        assert_eq!(refused(Encoding::Hex, b"000"), "bad hex: 3 digits, an even number is needed");
        assert!(refused(Encoding::Base64, b"AA*A").contains("byte * at 2"));
        assert!(refused(Encoding::Base64, b"AAA").starts_with("bad base64"));
    }

    /// Text may hold line ends; an escape sequence or a broken character makes it binary.
    #[test]
    fn text_is_told_from_binary() {
        assert!(is_text("zwei\n\tZeilen ü".as_bytes()));
        assert!(!is_text(b"\x1b[2J"));
        assert!(!is_text(b"\xff"));
    }
}
