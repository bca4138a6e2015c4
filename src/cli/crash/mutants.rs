//! `beach-crash mutants`: this program against itself, with one deliberate bug after the other.
#![allow(clippy::disallowed_methods, reason = "scratch files and the clock of a person's campaign")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::run::Profile;
use crate::cli::dump::plural;
use crate::cli::output::{Object, Table};
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::crash::mutants::{CAMPAIGNS, Campaign, MUTANTS, Mutant};
use crate::probe;

/// How long the campaigns may take to notice a mutant.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a running campaign is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// `mutants`.
#[derive(Clone, Debug, clap::Args)]
pub struct MutantsArgs {
    /// The few that are quickly noticed, or all
    #[arg(long, default_value = "full")]
    pub profile: Profile,
    /// These only
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub only: Vec<String>,
    /// Ask every short campaign about each mutant, not only until one notices it
    #[arg(long)]
    pub all: bool,
    /// Print the table of docs/testing.md
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Say which mutants there are, and run nothing
    #[arg(long)]
    pub list: bool,
}

/// What became of a mutant.
struct Fate {
    mutant: &'static Mutant,
    /// The campaigns that noticed it, and what they said.
    caught: Vec<(&'static Campaign, Notice)>,
    /// How long it took until the first did.
    took: Duration,
}

impl Fate {
    /// The names of the campaigns that noticed it, or nobody.
    fn by(&self) -> String {
        let names: Vec<_> = self.caught.iter().map(|(campaign, _)| campaign.name).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }
}

/// How a campaign ended that did not end well.
struct Notice {
    status: u64,
    said: String,
}

impl Notice {
    /// `a violation`, or what else.
    fn kind(&self) -> &'static str {
        match self.status {
            _ if self.said.contains("expected no panic") => "panic",
            7 => "violation",
            101 => "panic",
            _ => "failure",
        }
    }
}

/// Runs the campaigns without a mutant, then with each.
pub(super) fn mutants(wanted: &MutantsArgs, out: &mut Out) -> Outcome {
    let chosen = chosen(wanted)?;
    if wanted.list {
        return list(&chosen, out);
    }
    if !(probe::HAS_MUTANTS && probe::HAS_FAILPOINTS) {
        return Err(Failure::Usage(
            "this build has no mutants; build one that has: \
             cargo build --release --features mutants,failpoints"
                .to_owned(),
        ));
    }
    let lab = Lab::new()?;
    let mut progress =
        Progress::begin("mutants", Unit::Things, Some(chosen.len() as u64), out.is_quiet());
    let is_quick = wanted.profile == Profile::Ci;
    for campaign in CAMPAIGNS.iter().filter(|campaign| !(is_quick && campaign.is_long)) {
        // No limit: what is sound must come to its end.
        if let Some(notice) = lab.run(campaign, "", None)? {
            return uncontrolled(campaign, &notice, out);
        }
    }
    let mut fates = Vec::new();
    for mutant in chosen {
        let fate = lab.fate(mutant, wanted.all)?;
        if out.is_json() {
            out.object(&object(&fate))?;
            out.finish()?;
        }
        fates.push(fate);
        progress.set(fates.len() as u64);
    }
    drop(progress);
    report(&fates, wanted.markdown, out)
}

fn chosen(wanted: &MutantsArgs) -> Outcome<Vec<&'static Mutant>> {
    if wanted.only.is_empty() {
        let all = MUTANTS.iter();
        return Ok(all.filter(|one| one.quick || wanted.profile == Profile::Full).collect());
    }
    let named = |name: &String| {
        Mutant::named(name).ok_or_else(|| Failure::Usage(format!("there is no mutant \"{name}\"")))
    };
    wanted.only.iter().map(named).collect()
}

fn list(chosen: &[&Mutant], out: &mut Out) -> Outcome {
    let mut table = Table::new(&["mutant", "rule", "what"]);
    for Mutant { name, rule, what, source, .. } in chosen {
        if out.is_json() {
            let object = Object::new("mutant").text("name", name).number("rule", (*rule).into());
            out.object(&object.text("what", what).text("source", source))?;
        }
        table.row([(*name).to_owned(), rule.to_string(), (*what).to_owned()]);
    }
    if !out.is_json() {
        out.table(&table)?;
    }
    out.summary(Object::summary().number("mutants", chosen.len() as u64))?;
    Ok(Status::Done)
}

fn uncontrolled(campaign: &Campaign, notice: &Notice, out: &mut Out) -> Outcome {
    out.error(format_args!(
        "without any mutant {} ends with {}, so nothing can be learnt: {}",
        campaign.name, notice.status, notice.said
    ));
    Ok(Status::Violated)
}

fn object(fate: &Fate) -> Object {
    let Mutant { name, rule, what, source, .. } = fate.mutant;
    let object = Object::new("mutant")
        .text("name", name)
        .number("rule", (*rule).into())
        .text("what", what)
        .text("source", source)
        .number("ms", fate.took.as_millis() as u64);
    match fate.caught.first() {
        None => object,
        Some((_, notice)) => object
            .text("caught_by", &fate.by())
            .text("how", notice.kind())
            .number("status", notice.status)
            .text("said", &notice.said),
    }
}

fn report(fates: &[Fate], markdown: bool, out: &mut Out) -> Outcome {
    let survivors: Vec<&str> =
        fates.iter().filter(|fate| fate.caught.is_empty()).map(|fate| fate.mutant.name).collect();
    if markdown {
        out.line("| rule | mutant | what it does | caught by |")?;
        out.line("|---|---|---|---|")?;
        for fate in fates {
            let Mutant { name, rule, what, source, .. } = fate.mutant;
            let source = if source.is_empty() { String::new() } else { format!(" ({source})") };
            let by = fate.by();
            out.line(format_args!("| {rule} | `{name}` | {what}{source} | {by} |"))?;
        }
    } else if !out.is_json() {
        let mut table = Table::new(&["mutant", "rule", "caught by", "how", "seconds"]);
        for fate in fates {
            let how = fate.caught.first().map_or("-", |(_, notice)| notice.kind());
            let seconds = format!("{:.1}", fate.took.as_secs_f64());
            let (name, rule) = (fate.mutant.name.to_owned(), fate.mutant.rule.to_string());
            table.row([name, rule, fate.by(), how.to_owned(), seconds]);
        }
        out.table(&table)?;
        out.line(format_args!(
            "{}, {} caught",
            plural(fates.len() as u64, "mutant"),
            fates.len() - survivors.len()
        ))?;
    }
    let slowest = fates.iter().map(|fate| fate.took.as_millis() as u64).max();
    out.summary(
        Object::summary()
            .number("mutants", fates.len() as u64)
            .number("caught", (fates.len() - survivors.len()) as u64)
            .number("survivors", survivors.len() as u64)
            .number("slowest_ms", slowest.unwrap_or(0)),
    )?;
    if survivors.is_empty() {
        return Ok(Status::Done);
    }
    out.finish()?;
    out.error(format_args!("nobody notices {}", survivors.join(", ")));
    Ok(Status::Violated)
}

/// A directory for what the campaigns write, gone at the end, and this program.
struct Lab {
    program: PathBuf,
    dir: PathBuf,
    orderly: Orderly,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Lab {
    fn new() -> Outcome<Lab> {
        let program =
            std::env::current_exe().map_err(|error| trouble("find this program", error))?;
        let dir = std::env::temp_dir().join(format!("beach-crash-mutants-{}", std::process::id()));
        Ok(Lab { program, dir, orderly: Orderly::begin() })
    }

    /// Runs the campaigns one after the other until one notices the mutant, or `all` but the long
    /// ones; none begins when the time is up.
    fn fate(&self, mutant: &'static Mutant, all: bool) -> Outcome<Fate> {
        let began = Instant::now();
        let (mut caught, mut took) = (Vec::new(), None);
        for campaign in CAMPAIGNS {
            if !caught.is_empty() && (!all || campaign.is_long) {
                break;
            }
            let left = LIMIT.saturating_sub(if caught.is_empty() {
                began.elapsed()
            } else {
                Duration::ZERO
            });
            if let Some(notice) = self.run(campaign, mutant.name, Some(left))? {
                caught.push((campaign, notice));
                took.get_or_insert(began.elapsed());
            }
        }
        Ok(Fate { mutant, caught, took: took.unwrap_or_else(|| began.elapsed()) })
    }

    /// Runs one campaign; none if it ended well, or did not end in time.
    fn run(
        &self,
        campaign: &Campaign,
        mutant: &str,
        limit: Option<Duration>,
    ) -> Outcome<Option<Notice>> {
        let prepared = self.prepared(campaign);
        let (mut command, said) = prepared.map_err(|error| trouble("make a directory", error))?;
        command.env("BEACH_MUTANT", mutant).env_remove("BEACH_FAILPOINT");
        let began = Instant::now();
        let mut child = command.spawn().map_err(|error| trouble("run this program", error))?;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| trouble("wait", error))? {
                break status;
            }
            let is_late = limit.is_some_and(|limit| began.elapsed() >= limit);
            if is_late || self.orderly.check().is_err() {
                let _ = child.kill();
                let _ = child.wait();
                self.orderly.check()?;
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        };
        Ok((!status.success()).then(|| Notice { status: number(status), said: last_line(&said) }))
    }

    /// The command, in a fresh directory, and where it writes what it has to say.
    fn prepared(&self, campaign: &Campaign) -> io::Result<(Command, PathBuf)> {
        let _ = fs::remove_dir_all(&self.dir);
        fs::create_dir_all(&self.dir)?;
        let said = self.dir.join("said");
        let mut command = Command::new(&self.program);
        command.args(campaign.words).arg("-q").current_dir(&self.dir);
        if matches!(campaign.words.first(), Some(&("run" | "bank"))) {
            command.arg("--dir").arg(self.dir.join("store"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
        Ok((command, said))
    }
}

/// The exit status; 128 and the signal for one that was killed.
fn number(status: ExitStatus) -> u64 {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).map_or(1, |code| u64::from(code.unsigned_abs()))
}

/// The last thing that was said that is not about an artifact.
fn last_line(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rfind(|line| line.starts_with("error: "));
    let line = line.or_else(|| text.lines().rfind(|line| !line.is_empty())).unwrap_or_default();
    let line = line.trim_start_matches("error: ");
    line.split("; run: ").next().unwrap_or_default().to_owned()
}

fn trouble(what: &str, error: io::Error) -> Failure {
    Failure::Stream(format!("could not {what}"), error)
}
