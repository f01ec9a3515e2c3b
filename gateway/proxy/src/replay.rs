//! `swaigate replay`: what other policies would have decided of the requests in an audit log.
//!
//! The log is read from its front to its end, and each request is decided again, as it came and when it came, by the same
//! decision and over the same store as in a gateway. No agent is asked: what the log tells of its answer is what came.

mod again;
mod known;
mod order;
mod record;
mod report;
mod verdict;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use swaigate_core::time::Timestamp;

pub use self::report::Report;
use self::{
    again::{Again, Later},
    order::{Happened, Order},
    record::Record,
};
use crate::{
    rehearsal::{Cast, Rehearsal, StandIns},
    reload, run,
    settings::{self, Settings},
};

/// The longest line that is read, in bytes: a record names all that a document holds which isn't mediated.
const MAX_LINE: u64 = 16 << 20;

/// What the command line says.
#[derive(Debug, Args)]
pub struct Replay {
    /// The audit log; - for standard input
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// The file that `run` would be given; without it, the defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the policies that are tried [default: that of gateway.yaml]
    #[arg(long, value_name = "FOLDER")]
    policies: Option<PathBuf>,
    /// How many differences are shown with their requests
    #[arg(long, value_name = "N", default_value_t = 10)]
    examples: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

// === impl Replay ===

impl Replay {
    /// Prints what would have been decided differently.
    ///
    /// # Errors
    /// All mistakes in the files; that the log can't be read.
    pub fn run(&self) -> anyhow::Result<()> {
        let settings = self.settings()?;
        let report = if self.log == Path::new("-") {
            replay(std::io::stdin().lock(), settings, self.examples)?
        } else {
            let log = File::open(&self.log).with_context(|| format!("{} can't be read", self.log.display()))?;
            replay(BufReader::new(log), settings, self.examples)?
        };
        if self.json {
            println!("{:#}", report.json());
        } else {
            print!("{}", report.text());
        }
        Ok(())
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = match (&self.config, &self.policies) {
            (Some(path), _) => {
                let loaded = settings::load_with(path, &StandIns::default());
                loaded.map_err(|mistakes| reload::told(&mistakes))?
            }
            (None, Some(_)) => run::for_nobody(),
            (None, None) => bail!("name the policies that are tried with --policies or --config"),
        };
        if let Some(policies) = &self.policies {
            settings.policies.clone_from(policies);
        }
        Ok(settings)
    }
}

/// Decides all requests of a log again, under the policies of these settings.
///
/// # Errors
/// All mistakes in the policies; that the log can't be read.
pub fn replay(mut log: impl BufRead, settings: Settings, examples: usize) -> anyhow::Result<Report> {
    let mut report = Report::new(examples);
    let mut order = Order::new();
    let mut again = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).context("the log can't be read")?;
        match read(&line) {
            _ if length == 0 => break,
            Line::Request(at, record) => order.request(at, *record),
            Line::Other(event) => report.other(event),
            Line::Unreadable => report.unreadable(),
        }
        take(&mut order, &mut again, &settings, &mut report, false)?;
    }
    take(&mut order, &mut again, &settings, &mut report, true)?;
    if again.is_none() {
        // The policies may be wrong also where there is nothing to decide.
        Again::new(rehearsal(settings, Timestamp(0))?);
    }
    Ok(report)
}

/// A line of the log.
enum Line {
    Request(Timestamp, Box<Record>),
    /// Something else that is audited, by its name.
    Other(String),
    Unreadable,
}

#[derive(Deserialize)]
struct Other {
    event: String,
}

fn read(line: &[u8]) -> Line {
    let record: Option<Record> = serde_json::from_slice(line).ok();
    if let Some((at, record)) = record.and_then(|record| Some((record.at()?, record))) {
        return Line::Request(at, Box::new(record));
    }
    serde_json::from_slice(line).map_or(Line::Unreadable, |Other { event }| Line::Other(event))
}

/// Takes all that is due.
fn take(
    order: &mut Order<Later>,
    again: &mut Option<Again>,
    settings: &Settings,
    report: &mut Report,
    has_ended: bool,
) -> anyhow::Result<()> {
    while let Some((at, happened)) = order.next(has_ended) {
        let again = match again {
            Some(again) => again,
            None => again.insert(Again::new(rehearsal(settings.clone(), Timestamp(at / 1000))?)),
        };
        match happened {
            Happened::Later(later) => again.later(at, later),
            Happened::Request(came, record) => {
                let (verdict, later) = again.request(came, &record)?;
                report.count(&record, verdict);
                later.into_iter().for_each(|(at, later)| order.later(at, later));
            }
        }
    }
    Ok(())
}

fn rehearsal(settings: Settings, at: Timestamp) -> anyhow::Result<Rehearsal> {
    let (secrets, seed) = (StandIns::default(), run::seed()?);
    let (public, bounds) = (settings.public_url.clone(), run::bounds(&settings.state));
    let load = move || {
        let agents = settings::load_policies_with(&settings, &secrets, &seed);
        let agents = agents.map_err(|mistakes| reload::told(&mistakes))?;
        Ok(agents.into_iter().map(|(_, agent)| agent).collect())
    };
    Rehearsal::new(Cast { agents: Box::new(load), public, knows_codes: true }, bounds, at)
}
