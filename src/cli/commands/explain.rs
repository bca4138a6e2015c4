//! `explain`: a get as it runs, and the pages about findings.

mod get;

use crate::cli::args::{Args, ExplainArgs, ExplainVerb};
use crate::cli::output::{Object, Table};
use crate::cli::{Failure, Out, Outcome, Status};
use crate::inspect::Code;

pub(super) fn explain(args: &Args, wanted: &ExplainArgs, out: &mut Out) -> Outcome {
    match (&wanted.verb, &wanted.code) {
        (Some(ExplainVerb::Get(wanted)), _) => get::get(args, wanted, out),
        (None, Some(code)) => page(code.parse().map_err(unknown)?, out),
        (None, None) => codes(out),
    }
}

fn unknown(why: String) -> Failure {
    Failure::Usage(format!("{why}; run: beach explain, which lists them"))
}

fn page(code: Code, out: &mut Out) -> Outcome {
    if !out.is_json() {
        out.line(format_args!("{code} · {} ({})\n", code.title(), code.severity()))?;
        out.line(code.page())?;
        return Ok(Status::Done);
    }
    out.object(&object(code).text("page", code.page()))?;
    out.summary(Object::summary().number("codes", 1))?;
    Ok(Status::Done)
}

fn codes(out: &mut Out) -> Outcome {
    let mut table = Table::new(&["code", "severity", "title"]);
    for code in Code::ALL {
        if out.is_json() {
            out.object(&object(*code))?;
        }
        table.row([code.to_string(), code.severity().to_string(), code.title().to_owned()]);
    }
    if !out.is_json() {
        out.table(&table)?;
    }
    out.summary(Object::summary().number("codes", Code::ALL.len() as u64))?;
    Ok(Status::Done)
}

fn object(code: Code) -> Object {
    Object::new("code")
        .text("code", code.id())
        .text("severity", &code.severity().to_string())
        .text("title", code.title())
}
