//! `swaigate audit`: makes the chain's keys, tells its head, and verifies a log.

mod report;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;
use swaigate_core::{
    chain::{ChainKey, Head, Verifier, number_of},
    secret::Secret,
};

use self::report::Report;
use crate::{
    audit, reload,
    settings::{self, Settings},
};

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// The longest file of a key that is read, in bytes.
const MAX_KEY: u64 = 4096;

/// What the command line says.
#[derive(Debug, Subcommand)]
pub enum Auditor {
    /// Make the audit log's key before the first start, and print the verification key, which is kept nowhere else
    Init {
        /// Whose.
        #[command(flatten)]
        of: Gateway,
    },
    /// Print the head of the log that is known to be on the disk: kept elsewhere, it shows whether the log is cut later
    Head {
        /// Whose.
        #[command(flatten)]
        of: Gateway,
    },
    /// Find changed, removed, inserted and reordered records; exits with 1 if there are any, with 2 if it can't be told
    Verify(Verify),
}

/// Whose log it is.
#[derive(Debug, Args)]
pub struct Gateway {
    /// The file that `run` is given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
}

/// What is verified, and by what.
#[derive(Debug, Args)]
pub struct Verify {
    /// The log's files, in any order [default: all of the gateway's that --config names]
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The verification key, from `audit init` or of the first start; - for standard input. Again for a log of several chains
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// A head that is known from elsewhere (`audit head`, the gateway's log, a syslog server): the log must reach it
    #[arg(long, value_name = "HEAD")]
    expected_head: Option<Head>,
    /// The log must begin with this record or an earlier one; 1: no file may have been removed [default: any]
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
    /// The gateway's file, on its machine: without FILES for their names, and for the head that it knows to be on the disk
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

// === impl Auditor ===

impl Auditor {
    /// Does it.
    ///
    /// # Errors
    /// If a file can't be read, or a chain is there already.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Auditor::Init { of } => {
                let key = audit::make_chain(audit::chain_folder(&of.settings()?))?;
                println!("{}", key.to_text().expose_str().unwrap_or_default());
                eprintln!(
                    "Keep this key on another machine: it verifies the audit log, and whoever has it can forge it."
                );
            }
            Auditor::Head { of } => println!("{}", audit::kept_head(audit::chain_folder(&of.settings()?))?),
            Auditor::Verify(verify) => return Ok(verify.exit_code()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Gateway {
    fn settings(&self) -> anyhow::Result<Settings> {
        load(&self.config)
    }
}

fn load(config: &Path) -> anyhow::Result<Settings> {
    settings::load_without_secrets(config).map_err(|mistakes| reload::told(&mistakes))
}

// === impl Verify ===

impl Verify {
    fn exit_code(self) -> ExitCode {
        match self.report() {
            Ok(report) => {
                if self.json {
                    println!("{:#}", report.json());
                } else {
                    print!("{}", report.text());
                }
                if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                eprintln!("swaigate: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn report(&self) -> anyhow::Result<Report> {
        let keys = self.keys.iter().map(|path| key(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let settings = self.config.as_deref().map(load).transpose()?;
        // Read before the log, which goes on being written.
        let kept = settings.as_ref().map(|settings| audit::kept_head(audit::chain_folder(settings))).transpose()?;
        let expected = self.expected_head.or(kept);
        let files = match &settings {
            _ if !self.files.is_empty() => self.files.clone(),
            Some(settings) => audit::files(&settings.audit.path).context("the log's folder can't be read")?,
            None => bail!("name the log's files, or the gateway's with --config"),
        };
        let mut verifier = Verifier::new(&keys, expected);
        let mut report = Report::new(expected);
        let files = in_order(files)?;
        if let (Some(from), Some(first)) = (self.from, files.first()) {
            report.begins(from, first.number);
        }
        let last = files.len().saturating_sub(1);
        for (number, file) in files.iter().enumerate() {
            look_through(&file.path, number == last, &mut verifier, &mut report)?;
        }
        report.end(&verifier);
        Ok(report)
    }
}

fn key(path: &Path) -> anyhow::Result<ChainKey> {
    let mut bytes = Vec::new();
    let read = match path == Path::new("-") {
        true => io::stdin().lock().take(MAX_KEY).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(MAX_KEY).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("{}: the key can't be read", path.display()))?;
    ChainKey::from_text(&Secret::new(bytes)).with_context(|| path.display().to_string())
}

/// A file with the first of its lines.
struct Begun {
    path: PathBuf,
    chain: String,
    time: String,
    number: u64,
}

/// What says of a first line where it belongs. Nobody has looked at its MAC.
#[derive(Default, Deserialize)]
#[serde(default)]
struct First {
    chain: String,
    time: String,
}

/// One chain after the other, each by the numbers of its records, whatever the files' names are. Empty ones say nothing.
fn in_order(files: Vec<PathBuf>) -> anyhow::Result<Vec<Begun>> {
    let mut begun = Vec::new();
    for path in files {
        let mut line = Vec::new();
        open(&path)?.take(MAX_LINE).read_until(b'\n', &mut line).with_context(|| unreadable(&path))?;
        if !line.is_empty() {
            let First { chain, time } = serde_json::from_slice(&line).unwrap_or_default();
            begun.push(Begun { path, chain, time, number: number_of(&line).unwrap_or_default() });
        }
    }
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for Begun { chain, time, .. } in &begun {
        let first = first.entry(chain.clone()).or_insert_with(|| time.clone());
        *first = std::mem::take(first).min(time.clone());
    }
    begun.sort_by_cached_key(|file| (first.get(&file.chain).cloned(), file.chain.clone(), file.number));
    Ok(begun)
}

fn look_through(path: &Path, is_last: bool, verifier: &mut Verifier, report: &mut Report) -> anyhow::Result<()> {
    let mut reader = open(path)?;
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).with_context(|| unreadable(path))?;
        if length == 0 {
            return Ok(());
        }
        number += 1;
        if is_last && !line.ends_with(b"\n") {
            // A gateway is writing it just now, or a crash has cut it and no gateway has started since.
            report.unfinished(path, number, line.len());
            return Ok(());
        }
        let (mut faults, mut notes) = (Vec::new(), Vec::new());
        verifier.line(&line, &mut faults, &mut notes);
        report.line(path, number, faults, notes);
    }
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    File::open(path).map(BufReader::new).with_context(|| unreadable(path))
}

fn unreadable(path: &Path) -> String {
    format!("{}: it can't be read", path.display())
}
