//! `completions` and `man`: made from the same definition as the help.

use crate::cli::args::{self, CompletionsArgs, ManArgs};
use crate::cli::output::Object;
use crate::cli::{Failure, Out, Outcome, Status};

/// Prints a shell's completion script.
pub(super) fn completions(wanted: &CompletionsArgs, out: &mut Out) -> Outcome {
    // The generator panics when it cannot write; memory always takes it.
    let mut script = Vec::new();
    clap_complete::generate(wanted.shell, &mut args::command(), "beach", &mut script);
    print(&script, out)
}

/// Prints the manual page of the program or of one command.
pub(super) fn man(wanted: &ManArgs, out: &mut Out) -> Outcome {
    let mut all = args::command();
    all.build();
    let page = match &wanted.command {
        None => all,
        Some(name) => all.find_subcommand(name).cloned().ok_or_else(|| {
            Failure::Usage(format!("there is no command {name:?}; run: beach --help"))
        })?,
    };
    let mut text = Vec::new();
    // The page has its examples at the end, where manual pages have them.
    let examples = page.get_before_help().map(ToString::to_string).unwrap_or_default();
    let page = page.before_help(None).after_help(examples.leak() as &str);
    clap_mangen::Man::new(page).render(&mut text).map_err(Failure::output)?;
    print(&text, out)
}

/// The text as it is, or in one object.
fn print(text: &[u8], out: &mut Out) -> Outcome {
    if !out.is_json() {
        out.bytes(text)?;
        return Ok(Status::Done);
    }
    out.object(&Object::new("page").bytes("text", text))?;
    out.summary(Object::summary().number("bytes", text.len() as u64))?;
    Ok(Status::Done)
}
