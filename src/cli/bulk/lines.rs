//! Lines of an input, numbered, with a look at the first one before it is read.

use std::io::{BufRead, Read};

use super::Problem;

/// Longest line, in bytes: the largest value in its longest spelling (`\u0000` for a byte) fits.
const LINE_SIZE_MAX: u64 = 2 << 30;

/// A numbered reader of lines; blank ones are stepped over, a byte order mark before the first
/// is dropped.
pub struct Lines {
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    ending: &'static [u8],
    peeked: bool,
    number: u64,
    position: u64,
}

impl Lines {
    /// Reads from the input's beginning.
    #[must_use]
    pub fn new(input: Box<dyn BufRead>) -> Lines {
        Lines { input, line: Vec::new(), ending: b"", peeked: false, number: 0, position: 0 }
    }

    /// The number of the line last read, counted from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// A problem with the line last read.
    pub fn problem(&self, why: impl Into<String>) -> Problem {
        Problem::Line { number: self.number, why: why.into() }
    }

    /// The first line that is not blank, which stays the next one.
    ///
    /// # Errors
    /// The input's.
    pub fn peek(&mut self) -> Result<Option<&[u8]>, Problem> {
        let found = self.next_line()?.is_some();
        self.peeked = found;
        Ok(found.then_some(&self.line[..]))
    }

    /// The next line that is not blank, without its end.
    ///
    /// # Errors
    /// The input's, or that the line is too long; reading then goes on within it.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, Problem> {
        if std::mem::take(&mut self.peeked) {
            return Ok(Some(&self.line));
        }
        loop {
            self.line.clear();
            if !self.append_line()? {
                return Ok(None);
            }
            self.ending = split_end(&mut self.line);
            if !self.line.is_empty() {
                return Ok(Some(&self.line));
            }
        }
    }

    /// What `parse` makes of the next line that is not blank; none at the end of the input.
    pub(super) fn next_parsed<T>(
        &mut self,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<Result<T, Problem>> {
        let parsed = match self.next_line() {
            Ok(Some(line)) => parse(line),
            Ok(None) => return None,
            Err(problem) => return Some(Err(problem)),
        };
        Some(parsed.map_err(|why| self.problem(why)))
    }

    /// Appends to `line`, which goes on (in a quoted CSV cell), the end it had and the next line;
    /// false at the end of the input.
    pub(super) fn continue_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Problem> {
        line.extend_from_slice(self.ending);
        self.line.clear();
        let found = self.append_line()?;
        self.ending = split_end(&mut self.line);
        line.extend_from_slice(&self.line);
        Ok(found)
    }

    fn append_line(&mut self) -> Result<bool, Problem> {
        let mut limited = Read::take(&mut self.input, LINE_SIZE_MAX);
        let size = limited.read_until(b'\n', &mut self.line).map_err(Problem::Io)? as u64;
        if size == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.position += size;
        if self.number == 1 && self.line.starts_with("\u{feff}".as_bytes()) {
            self.line.drain(..3);
        }
        if size == LINE_SIZE_MAX && !self.line.ends_with(b"\n") {
            return Err(self.problem("the line is longer than 2 GiB"));
        }
        Ok(true)
    }
}

/// Removes a line's end, and says which it was.
fn split_end(line: &mut Vec<u8>) -> &'static [u8] {
    let ending: &[u8] = match line.as_slice() {
        [.., b'\r', b'\n'] => b"\r\n",
        [.., b'\n'] => b"\n",
        [.., b'\r'] => b"\r",
        _ => b"",
    };
    line.truncate(line.len() - ending.len());
    ending
}
