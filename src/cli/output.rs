//! What goes to standard output and standard error.
//!
//! Invariants: standard output carries data and nothing else, the same bytes for the same input;
//! hints, warnings and errors go to standard error. JSON output is one object a line, each with its
//! kind in `"t"`; the last is a summary with `"complete":true`, and output without one was cut.
//! Standard output is buffered, so `finish` must be called: a full disk shows there.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, presets};
use serde_json::{Map, Value};

use crate::cli::encode::Encoding;
use crate::cli::exit::{Failure, Outcome};

/// When to color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always, even into a pipe.
    Always,
    /// Never.
    Never,
}

impl Color {
    fn resolve(self, is_terminal: bool, no_color: bool) -> bool {
        match self {
            Color::Auto => is_terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        }
    }
}

/// The standard streams, and how this run wants them used.
pub struct Out {
    data: Box<dyn Write>,
    notes: Box<dyn Write>,
    json: bool,
    quiet: bool,
    data_color: bool,
    notes_color: bool,
    is_terminal: bool,
}

impl Out {
    /// The process's own streams.
    #[must_use]
    pub fn standard(json: bool, quiet: bool, color: Color) -> Out {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_terminal = stdout.is_terminal();
        Out {
            json,
            quiet,
            data_color: color.resolve(is_terminal, no_color),
            notes_color: color.resolve(stderr.is_terminal(), no_color),
            is_terminal,
            data: Box::new(BufWriter::with_capacity(64 << 10, stdout)),
            notes: Box::new(stderr),
        }
    }

    /// Streams of the caller's choice that are no terminals.
    #[must_use]
    pub fn into(data: Box<dyn Write>, notes: Box<dyn Write>, json: bool, quiet: bool) -> Out {
        let [data_color, notes_color, is_terminal] = [false; 3];
        Out { data, notes, json, quiet, data_color, notes_color, is_terminal }
    }

    /// Whether NDJSON was asked for.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether hints and progress are silenced.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a person looks at standard output.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Columns of the terminal, if standard output is one.
    #[must_use]
    pub fn width(&self) -> Option<usize> {
        let width = comfy_table::Table::new().width();
        width.filter(|_| self.is_terminal).map(usize::from)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// [`Failure::ClosedPipe`] or that the output could not be written.
    pub fn bytes(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.data.write_all(bytes).map_err(Failure::output)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// As [`Out::bytes`].
    pub fn line(&mut self, line: impl fmt::Display) -> Outcome<()> {
        writeln!(self.data, "{line}").map_err(Failure::output)
    }

    /// Writes an object as a line of NDJSON.
    ///
    /// # Errors
    /// As [`Out::bytes`].
    pub fn object(&mut self, object: &Object) -> Outcome<()> {
        self.line(object)
    }

    /// Writes the last line of NDJSON, if NDJSON was asked for.
    ///
    /// # Errors
    /// As [`Out::bytes`].
    pub fn summary(&mut self, summary: Object) -> Outcome<()> {
        if self.json { self.line(summary.complete()) } else { Ok(()) }
    }

    /// Writes a table.
    ///
    /// # Errors
    /// As [`Out::bytes`].
    pub fn table(&mut self, table: &Table) -> Outcome<()> {
        let text = table.render(self.data_color, self.is_terminal);
        self.line(text)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// As [`Out::bytes`].
    pub fn finish(&mut self) -> Outcome<()> {
        self.data.flush().map_err(Failure::output)
    }

    /// Says something useful, unless `-q`.
    pub fn hint(&mut self, text: impl fmt::Display) {
        if !self.quiet {
            self.note("2", "", text);
        }
    }

    /// Says something that must not be missed.
    pub fn warn(&mut self, text: impl fmt::Display) {
        self.note("33", "warning: ", text);
    }

    /// Says why the command failed.
    pub fn error(&mut self, text: impl fmt::Display) {
        self.note("31", "error: ", text);
    }

    /// With standard error gone there is nobody left to tell, so its failures are ignored.
    fn note(&mut self, style: &str, label: &str, text: impl fmt::Display) {
        let _ = match (self.notes_color, label) {
            (false, _) => writeln!(self.notes, "{label}{text}"),
            (true, "") => writeln!(self.notes, "\x1b[{style}m{text}\x1b[0m"),
            (true, _) => writeln!(self.notes, "\x1b[1;{style}m{label}\x1b[0m{text}"),
        };
    }
}

/// Standard output for code that only knows writers; map its errors with [`Failure::output`].
impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.data.flush()
    }
}

/// One line of NDJSON; fields stay in the order they were added.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(Map<String, Value>);

impl Object {
    /// An object of this kind.
    #[must_use]
    pub fn new(kind: &str) -> Object {
        Object(Map::from_iter([("t".to_owned(), kind.into())]))
    }

    /// An object inside another: it has no kind of its own.
    #[must_use]
    pub fn bare() -> Object {
        Object(Map::new())
    }

    /// The object as a value, to be a field of another.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The object that ends the output.
    #[must_use]
    pub fn summary() -> Object {
        Object::new("summary")
    }

    /// Adds any value.
    #[must_use]
    pub fn value(mut self, name: &str, value: impl Into<Value>) -> Object {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, name: &str, number: u64) -> Object {
        self.value(name, number)
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &str, text: &str) -> Object {
        self.value(name, text)
    }

    /// Adds a byte string: `name` when it is UTF-8, else `name_b64`.
    #[must_use]
    pub fn bytes(self, name: &str, bytes: &[u8]) -> Object {
        match str::from_utf8(bytes) {
            Ok(text) => self.value(name, text),
            Err(_) => self.value(&format!("{name}_b64"), Encoding::Base64.encode(bytes)),
        }
    }

    /// Says that nothing is missing; the last field of a summary.
    #[must_use]
    pub fn complete(self) -> Object {
        self.value("complete", true)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

/// A table for people. A column whose every cell is a number stands to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(header: &[&str]) -> Table {
        Table { header: header.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text: as wide as the terminal at most, as wide as needed elsewhere.
    fn render(&self, color: bool, is_terminal: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        let header = |name: &String| match color {
            true => Cell::new(name).add_attribute(Attribute::Bold),
            false => Cell::new(name),
        };
        table.set_header(self.header.iter().map(header).collect::<Vec<_>>());
        for row in &self.rows {
            table.add_row(row.clone());
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding(if index == 0 { (0, 1) } else { (1, 1) });
            if self.is_numeric(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if is_terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        }
        if color {
            table.enforce_styling();
        }
        table.trim_fmt()
    }

    fn is_numeric(&self, index: usize) -> bool {
        let fits = |row: &Vec<String>| row.get(index).is_some_and(|cell| is_number(cell));
        !self.rows.is_empty() && self.rows.iter().all(fits)
    }
}

/// A number, one with a unit, or the dash that stands for none.
fn is_number(cell: &str) -> bool {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    cell == "-"
        || (!number.is_empty() && digits(number) && matches!(unit, "" | "B"))
        || (digits(number) && unit.len() == 3 && unit.ends_with("iB"))
}

/// A number of bytes as people read it: `512 B`, `3.9 KiB`, `64.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer with nobody behind it, and one on a full disk.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The same write fails twice over: once quietly with 0, once as trouble with 5.
    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        let fail = |kind| {
            let mut out = Out::into(Box::new(Broken(kind)), Box::new(io::sink()), false, false);
            out.line("x").unwrap_err()
        };
        let closed = fail(io::ErrorKind::BrokenPipe);
        assert!(closed.is_quiet() && closed.code() == 0);
        let full = fail(io::ErrorKind::StorageFull);
        assert!(!full.is_quiet() && full.code() == 5);
        assert!(full.to_string().starts_with("could not write to standard output: "));
    }

    /// Order and spelling of the fields, in both kinds of byte string.
    #[test]
    fn objects_keep_their_order_and_their_bytes() {
        let object = Object::new("entry").bytes("key", b"a\0\n").bytes("value", b"\xff");
        let text = object.number("seq", 1 << 60).to_string();
        assert_eq!(
            text,
            r#"{"t":"entry","key":"a\u0000\n","value_b64":"/w==","seq":1152921504606846976}"#
        );
        assert_eq!(
            Object::summary().number("n", 0).complete().to_string(),
            r#"{"t":"summary","n":0,"complete":true}"#
        );
    }

    /// The whole table, to see the alignment; nothing wraps where no terminal is.
    #[test]
    fn tables_line_up() {
        let mut table = Table::new(&["level", "files", "range"]);
        table.row(["L0".into(), "2".into(), "1".repeat(200)]);
        table.row(["L1".into(), "12.5 KiB".into(), "2 .. 3".into()]);
        let text = table.render(false, false);
        assert_eq!(
            text,
            format!(
                "level     files  range\nL0            2  {}\nL1     12.5 KiB  2 .. 3",
                "1".repeat(200)
            )
        );
        assert!(table.render(true, false).contains("\x1b["));
    }

    /// Every combination of option, terminal and variable.
    #[test]
    fn color_goes_by_option_then_variable_then_terminal() {
        for terminal in [false, true] {
            for no_color in [false, true] {
                assert!(Color::Always.resolve(terminal, no_color));
                assert!(!Color::Never.resolve(terminal, no_color));
                assert_eq!(Color::Auto.resolve(terminal, no_color), terminal && !no_color);
            }
        }
    }

    /// Around each change of unit, where rounding could show `1024.0 KiB`.
    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
