//! This run against an earlier one: ratios, workload by workload.

use std::io::BufRead;
use std::path::Path;

use serde_json::Value;

use super::print::{cell, latencies, rate};
use super::{Row, measured};
use crate::cli::commands::session;
use crate::cli::output::{Object, Table};
use crate::cli::{Failure, Out, Outcome};

/// Fields of the setup that may differ without a word.
const FREE: [&str; 3] = ["t", "dir", "version"];

/// The output of an earlier run.
pub(super) struct Earlier {
    setup: Option<Value>,
    workloads: Vec<Value>,
}

impl Earlier {
    /// Reads the NDJSON that `--json` printed.
    pub(super) fn read(path: &Path) -> Outcome<Earlier> {
        let (input, _) = session::open_input(path)?;
        let failed = |error| Failure::Stream(format!("could not read {}", path.display()), error);
        let mut objects = Vec::new();
        for (index, line) in input.lines().enumerate() {
            let line = line.map_err(failed)?;
            let object: Value = serde_json::from_str(&line).map_err(|error| {
                let (path, line) = (path.display(), index + 1);
                Failure::Usage(format!("{path}, line {line}: not the output of a run: {error}"))
            })?;
            objects.push(object);
        }
        let mut earlier = Earlier { setup: None, workloads: Vec::new() };
        for object in objects {
            match object["t"].as_str() {
                Some("setup") => earlier.setup = Some(object),
                Some("workload") => earlier.workloads.push(object),
                _ => {}
            }
        }
        if earlier.workloads.is_empty() {
            let path = path.display();
            return Err(Failure::Usage(format!("{path}: no workload of an earlier run in it")));
        }
        Ok(earlier)
    }

    /// A ratio between two different things says nothing, so it is said what is different.
    pub(super) fn warn_of_other_setup(&self, setup: &Object, out: &mut Out) {
        let now = setup.clone().into_value();
        let (Some(then), Some(now)) =
            (self.setup.as_ref().and_then(Value::as_object), now.as_object())
        else {
            return;
        };
        for (name, value) in now {
            let before = then.get(name).unwrap_or(&Value::Null);
            if before != value && !FREE.contains(&name.as_str()) {
                out.warn(format_args!("the earlier run had {name} {before}, this one has {value}"));
            }
        }
    }

    /// Prints the ratio of each workload to the same one of the earlier run.
    pub(super) fn print(&self, rows: &[Row], out: &mut Out) -> Outcome<()> {
        let mut table =
            Table::new(&["workload", "ops/s then", "now", "ratio", "p99 us then", "now", "ratio"]);
        for (index, row) in rows.iter().enumerate() {
            let Some(then) = self.counterpart(rows, index) else { continue };
            let [rates, p99s] = pairs(then, row);
            if out.is_json() {
                let object = Object::new("ratio").text("workload", row.name);
                let object = measured(object, "ops_per_second_then", rates.then);
                let object = measured(object, "ops_per_second", rates.ratio());
                let object = measured(object, "p99_us_then", p99s.then);
                out.object(&measured(object, "p99_us", p99s.ratio()))?;
                continue;
            }
            table.row([
                row.name.to_owned(),
                cell(rates.then, 0),
                cell(rates.now, 0),
                cell(rates.ratio(), 2),
                cell(p99s.then, 2),
                cell(p99s.now, 2),
                cell(p99s.ratio(), 2),
            ]);
        }
        if out.is_json() {
            return Ok(());
        }
        out.line("")?;
        out.table(&table)
    }

    /// The same workload of the earlier run: the second to the second where there are several.
    fn counterpart(&self, rows: &[Row], index: usize) -> Option<&Value> {
        let name = rows[index].name;
        let earlier_ones = rows[..index].iter().filter(|one| one.name == name).count();
        self.workloads.iter().filter(|one| one["workload"] == name).nth(earlier_ones)
    }
}

/// A measurement of both runs.
struct Pair {
    then: Option<f64>,
    now: Option<f64>,
}

impl Pair {
    fn ratio(&self) -> Option<f64> {
        let then = self.then.filter(|then| *then > 0.0)?;
        Some(self.now? / then)
    }
}

/// Operations a second, and the 99th percentile.
fn pairs(then: &Value, row: &Row) -> [Pair; 2] {
    let [_, (p99_name, p99), ..] = latencies(&row.report);
    [
        Pair { then: then["ops_per_second"].as_f64(), now: rate(&row.report) },
        Pair { then: then[p99_name].as_f64(), now: p99 },
    ]
}
