//! `swaigate lockout`: locks somebody out of a running gateway, lets them in again, and tells who is out.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use swaigate_core::switches::Word;
use ureq::http::Method;

use crate::{
    operator::{Operator, Place, WordArguments},
    state::{WrittenLock, WrittenSubject},
};

/// What the command line says.
#[derive(Debug, Subcommand)]
pub enum Lockout {
    /// Lock an address, a caller or a user out
    On {
        /// Whom.
        #[command(flatten)]
        subject: SubjectArguments,
        /// Let them in by itself after this time, like 24h
        #[arg(long = "for", value_name = "TIME")]
        span: Option<String>,
        /// Who and why.
        #[command(flatten)]
        word: WordArguments,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Let them in again; name whom `on` named
    Off {
        /// Whom.
        #[command(flatten)]
        subject: SubjectArguments,
        /// Who and why.
        #[command(flatten)]
        word: WordArguments,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Tell who is locked out, by whom and why
    List {
        /// Where.
        #[command(flatten)]
        place: Place,
    },
}

/// Who is meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SubjectArguments {
    /// Whoever asks from this address or network, like 192.0.2.7 or 2001:db8::/64
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Whoever calls from this number
    #[arg(long, value_name = "NUMBER")]
    caller: Option<String>,
    /// Whoever sends this user's name, at all agents
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

// === impl Lockout ===

impl Lockout {
    /// Does it, and prints who is locked out then.
    ///
    /// # Errors
    /// If the gateway can't be asked, or doesn't do it.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Lockout::On { subject, span, word, place } => {
                lock_out(&place.operator()?, &subject.into(), span, &word.word()?)
            }
            Lockout::Off { subject, word, place } => let_in(&place.operator()?, &subject.into(), &word.word()?),
            Lockout::List { place } => tell(&place.operator()?),
        }
    }
}

impl From<SubjectArguments> for WrittenSubject {
    fn from(SubjectArguments { address, caller, user }: SubjectArguments) -> Self {
        Self { address, caller, user }
    }
}

fn lock_out(operator: &Operator, subject: &WrittenSubject, span: Option<String>, word: &Word) -> anyhow::Result<()> {
    let subject = WrittenSubject::of(&subject.subject()?);
    let lock: WrittenLock = operator.order("/v1/lockouts", json!({ "subject": subject }), span, word)?;
    println!("In force from the next request on: {}", lock.told());
    tell(operator)
}

fn let_in(operator: &Operator, subject: &WrittenSubject, word: &Word) -> anyhow::Result<()> {
    let subject = subject.subject()?;
    let locks: Vec<WrittenLock> = operator.get("/v1/lockouts")?;
    let of_subject = |lock: &&WrittenLock| lock.subject.subject().is_ok_and(|other| other == subject);
    let Some(lock) = locks.iter().find(of_subject) else {
        tell(operator)?;
        bail!("exactly this is not locked out: {subject}; nothing was changed");
    };
    let word = json!({ "who": word.who(), "why": word.why() });
    let lock: WrittenLock = operator.ask(Method::DELETE, &format!("/v1/lockouts/{}", lock.id), Some(&word))?;
    println!("Ended: {}", lock.told());
    tell(operator)
}

fn tell(operator: &Operator) -> anyhow::Result<()> {
    let (locks, door): (Vec<WrittenLock>, _) = (operator.get("/v1/lockouts")?, operator.door());
    match locks.len() {
        0 => println!("Nobody is locked out at {door}."),
        1 => println!("1 lockout is in force at {door}:"),
        count => println!("{count} lockouts are in force at {door}:"),
    }
    locks.iter().for_each(|lock| println!("  {}", lock.told()));
    Ok(())
}
