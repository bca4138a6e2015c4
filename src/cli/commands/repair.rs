//! `repair`.

use crate::cli::args::{Args, RepairArgs};
use crate::cli::finding;
use crate::cli::output::Object;
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Failure, Out, Outcome, Status};
use crate::inspect::repair::{self, Action, Loss, Plan, Repaired, Step};
use crate::runtime::threads::ThreadRuntime;
use crate::vfs::os::OsVfs;

pub(super) fn repair(args: &Args, wanted: &RepairArgs, out: &mut Out) -> Outcome {
    let dir = args.store.dir()?;
    let mut progress = Progress::begin("read", Unit::Things, None, out.is_quiet());
    let mut files = 0;
    let plan = repair::plan(&OsVfs, dir, &mut |_| {
        files += 1;
        progress.set(files);
    })?;
    drop(progress);
    print(args, &plan, out)?;
    let target = wanted.out.as_deref().filter(|_| !wanted.dry_run && plan.is_needed());
    let made = match target {
        Some(target) => {
            out.finish()?;
            Some(plan.apply(&OsVfs, target, &ThreadRuntime::default()).map_err(Failure::from)?)
        }
        None => None,
    };
    conclude(args, wanted, &plan, made.as_ref(), out)?;
    Ok(if plan.losses.is_empty() { Status::Done } else { Status::Losses })
}

fn print(args: &Args, plan: &Plan, out: &mut Out) -> Outcome<()> {
    for found in &plan.findings {
        finding::print(out, found, |bytes| args.common.encode(bytes))?;
    }
    if !plan.is_needed() {
        return Ok(());
    }
    for step in &plan.steps {
        if out.is_json() {
            out.object(&step_object(step))?;
        } else {
            out.line(step_line(step))?;
        }
    }
    for loss in &plan.losses {
        if out.is_json() {
            out.object(&loss_object(loss))?;
        } else {
            out.line(loss_line(loss, |bytes| args.common.encode(bytes)))?;
        }
    }
    Ok(())
}

fn conclude(
    args: &Args,
    wanted: &RepairArgs,
    plan: &Plan,
    made: Option<&Repaired>,
    out: &mut Out,
) -> Outcome<()> {
    if out.is_json() {
        return out.summary(summary(wanted, plan, made));
    }
    let dir = plan.dir.display();
    if !plan.is_needed() {
        return out.line(format_args!("{dir} is not damaged, there is nothing to do"));
    }
    let lost = match plan.losses.len() {
        0 => "nothing is lost".to_owned(),
        1 => "1 loss".to_owned(),
        count => format!("{count} losses"),
    };
    match (made, &wanted.out) {
        (Some(made), Some(target)) => {
            let Repaired { store, tables, entries, last_seqno, .. } = made;
            let target = target.display();
            out.line(format_args!(
                "made {target}, store {store}: {tables} tables, {entries} entries, last seqno {last_seqno}; {lost}"
            ))
        }
        _ => {
            out.line(format_args!("this is a plan, nothing was written; {lost}"))?;
            out.finish()?;
            let db = args.store.dir()?.display();
            out.hint(format_args!("run: beach --db {db} repair -o {db}-repaired"));
            Ok(())
        }
    }
}

fn step_line(step: &Step) -> String {
    let action = step.action.name().replace('_', " ");
    let level = step.level.map_or_else(|| "- ".to_owned(), |level| level.to_string());
    let why = if step.why.is_empty() { String::new() } else { format!(": {}", step.why) };
    format!("{action:<9} {level} {}{why}", step.path.display())
}

fn step_object(step: &Step) -> Object {
    let mut object = Object::new("step")
        .text("action", step.action.name())
        .bytes("path", step.path.as_os_str().as_encoded_bytes());
    if let Some(level) = step.level {
        object = object.number("level", u64::from(level.0));
    }
    if step.why.is_empty() { object } else { object.text("why", &step.why) }
}

/// `lost db/000007.sst@0x1271+4096: a data block …; keys behind "a" up to "b"`.
fn loss_line(loss: &Loss, encode: impl Fn(&[u8]) -> String) -> String {
    let mut line = format!("lost {}", loss.path.display());
    if let Some(offset) = loss.offset {
        line += &format!("@{offset:#x}");
    }
    if let Some(size) = loss.size.filter(|size| *size > 0) {
        line += &format!("+{size}");
    }
    line += &format!(": {}", loss.what);
    match &loss.keys {
        Some((Some(first), last)) if loss.offset.is_some() => {
            line += &format!("; keys behind \"{}\" up to \"{}\"", encode(first), encode(last));
        }
        Some((Some(first), last)) => {
            line += &format!("; keys \"{}\" .. \"{}\"", encode(first), encode(last));
        }
        Some((None, last)) => line += &format!("; keys up to \"{}\"", encode(last)),
        None => {}
    }
    match loss.seqnos {
        (Some(before), Some(after)) => line += &format!("; between seqno {before} and {after}"),
        (Some(before), None) => line += &format!("; behind seqno {before}"),
        (None, Some(after)) => line += &format!("; before seqno {after}"),
        (None, None) => {}
    }
    match loss.ops {
        Some(1) => line += ", 1 operation",
        Some(count) => line += &format!(", {count} operations"),
        None => {}
    }
    line
}

fn loss_object(loss: &Loss) -> Object {
    let mut object = Object::new("loss").bytes("path", loss.path.as_os_str().as_encoded_bytes());
    let numbers = [("offset", loss.offset), ("size", loss.size)];
    for (name, number) in numbers {
        object = number.into_iter().fold(object, |object, number| object.number(name, number));
    }
    object = object.text("what", &loss.what);
    if let Some((first, last)) = &loss.keys {
        object = first.iter().fold(object, |object, first| object.bytes("first", first));
        object = object.bytes("last", last);
    }
    let numbers = [
        ("seqno_before", loss.seqnos.0.map(|seqno| seqno.0)),
        ("seqno_after", loss.seqnos.1.map(|seqno| seqno.0)),
        ("ops", loss.ops),
    ];
    for (name, number) in numbers {
        object = number.into_iter().fold(object, |object, number| object.number(name, number));
    }
    object
}

fn summary(wanted: &RepairArgs, plan: &Plan, made: Option<&Repaired>) -> Object {
    let count = |action| plan.steps.iter().filter(|step| step.action == action).count() as u64;
    let damaged = plan.findings.iter().filter(|found| found.is_damage()).count() as u64;
    let needed = u64::from(plan.is_needed());
    let summary = Object::summary()
        .number("damaged", damaged)
        .number("copied", needed * count(Action::Copy))
        .number("rewritten", needed * count(Action::Rewrite))
        .number("merged", needed * count(Action::Merge))
        .number("replayed", needed * count(Action::Replay))
        .number("left_out", needed * count(Action::LeaveOut))
        .number("losses", plan.losses.len() as u64);
    match (made, &wanted.out) {
        (Some(made), Some(target)) => summary
            .bytes("out", target.as_os_str().as_encoded_bytes())
            .text("store", &made.store.to_string())
            .number("tables", made.tables)
            .number("table_bytes", made.table_bytes)
            .number("entries", made.entries)
            .number("last_seqno", made.last_seqno.0),
        _ => summary,
    }
}
