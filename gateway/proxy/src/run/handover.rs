//! How a running gateway is replaced by another program file without a lost request: it hands its listening sockets and
//! its files over to the new process, and goes on until what it has under way is answered.
//!
//! The two talk over a Unix socket in the folder of the state. The old one decides each step, and takes everything back
//! when the new one fails or falls silent:
//!
//! | new process | old process |
//! |---|---|
//! | has loaded its files, says `Hello` | `Hello`, with its listening sockets |
//! | is `Ready`: nothing more can be wrong with what it was given to read | stops accepting, closes the state and the audit log, says `Handed` |
//! | opens both, says `Opened` | says `Go`, and drains |
//! | accepts; writes what still comes | sends what it still records as `Late`, and `End` |
//!
//! Between `Ready` and `Go` nobody accepts: connections wait in the listening sockets' queues, for some milliseconds.

mod late;
mod link;
mod new;
mod old;
mod phases;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::{
    late::Late,
    new::{Claimed, Inheritance, Predecessor},
    old::{Estate, Testator},
    phases::{Phase, Phases},
};

/// The form of what the two say to each other. Another one is refused, and the old process goes on.
const FORM: u32 = 1;

/// What a new process says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum FromNew {
    /// It is there, has loaded its files, and understands this form.
    Hello { form: u32, version: String },
    /// It has what it needs to serve, but for the state and the audit log.
    Ready,
    /// It has opened both.
    Opened,
    /// It has taken one more of the lines that were [late](FromOld::Late).
    Taken,
    /// The emergency switches and lockouts that are in force from now on, as JSON.
    InForce(String),
    /// It has been told to stop: nobody is to go on in its place.
    Stopping,
}

/// What the old process says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum FromOld {
    /// What it is. The listening sockets come with it.
    Hello { form: u32, version: String },
    /// The state and the audit log are closed, and wait for whoever opens them.
    Handed,
    /// Accept, and answer for everything from now on.
    Go,
    /// Nothing was handed over, and why.
    Refused(String),
    /// A line for the audit log.
    Late(String),
    /// What was said to be in force is so here.
    Noted,
    /// Nothing comes after this.
    End,
}

/// Where the processes meet.
fn meeting_place(state: &Path) -> PathBuf {
    state.join("upgrade.sock")
}

#[cfg(test)]
mod tests;
