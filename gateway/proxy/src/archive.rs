//! `swaigate state`: writes down what people have ordered, and brings it back; at a running gateway, or in the file of one that
//! is stopped.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::Subcommand;
use serde_json::{Value, json};
use swaigate_core::switches::Word;
use ureq::http::Method;

use crate::{
    clock,
    operator::{Place, WordArguments},
    state::{Archive, Import, Kept, Ordered},
};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// What the command line says.
#[derive(Debug, Subcommand)]
pub enum State {
    /// Print the switches and lockouts that are in force, as JSON
    Export {
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Put exported switches and lockouts in force, beside those that are
    Import {
        /// What `export` has printed
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Who and why.
        #[command(flatten)]
        word: WordArguments,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
}

// === impl State ===

impl State {
    /// Does it.
    ///
    /// # Errors
    /// If neither the gateway nor its file can be asked, or one doesn't take it; then nothing has changed.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            State::Export { place } => {
                let archive = match place.stopped()? {
                    Some(folder) => Archive::of(&kept(&folder)?.ordered()?, clock::now()),
                    None => place.operator()?.get("/v1/state")?,
                };
                println!("{}", serde_json::to_string_pretty(&archive)?);
                Ok(())
            }
            State::Import { file, word, place } => import(&read(&file)?, &word.word()?, place),
        }
    }
}

fn import(archive: &Archive, word: &Word, place: Place) -> anyhow::Result<()> {
    let ordered = archive.ordered()?;
    let (switches, lockouts) = (ordered.switches.len(), ordered.locks.len());
    let when = match place.stopped()? {
        Some(folder) => {
            bring_back(&kept(&folder)?, ordered, word)?;
            "the gateway is stopped; in force from its start on, and in the audit log then"
        }
        None => {
            let order = json!({ "state": archive, "who": word.who(), "why": word.why() });
            place.operator()?.ask::<Value>(Method::POST, "/v1/state", Some(&order))?;
            "in force from the next request on"
        }
    };
    println!("{switches} switches and {lockouts} lockouts were brought back: {when}");
    Ok(())
}

/// The file of a gateway that is stopped. One that isn't there isn't made: a mistyped folder has no switches.
fn kept(folder: &Path) -> anyhow::Result<Kept> {
    ensure!(
        folder.is_dir(),
        "no gateway runs, and {} is no folder: has one ever been started with it?",
        folder.display()
    );
    Kept::open(folder, clock::now())
}

fn bring_back(kept: &Kept, ordered: Ordered, word: &Word) -> anyhow::Result<()> {
    let there = kept.ordered()?;
    let ordered = ordered.beside(&there)?;
    let note = Import {
        at: clock::now().0,
        who: word.who().to_owned(),
        why: word.why().to_owned(),
        switches: ordered.switches.iter().map(|switch| switch.id.to_string()).collect(),
        lockouts: ordered.locks.iter().map(|lock| lock.id.to_string()).collect(),
    };
    ensure!(
        !ordered.is_too_much_for(&there),
        "that would be more switches or lockouts than there may be; nothing was changed"
    );
    kept.put_all(&ordered, Some(&note))
}

fn read(path: &Path) -> anyhow::Result<Archive> {
    let at = || path.display().to_string();
    let mut text = String::new();
    fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)).with_context(at)?;
    serde_json::from_str(&text).with_context(at)
}
