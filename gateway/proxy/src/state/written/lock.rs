//! A lockout as JSON.

use serde::{Deserialize, Serialize};
use swaigate_core::{
    orders::{Lock, NoLockId, NoSubject, Subject},
    switches::{BadWord, Word},
};

use super::line;
use crate::clock;

/// A lockout as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenLock {
    /// Its id.
    pub id: String,
    /// Who is locked out.
    pub subject: WrittenSubject,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, if it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Who is locked out, as JSON has it: `{"address":"192.0.2.0/24"}`, `{"caller":"+15551230001"}` or `{"user":"name"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenSubject {
    /// An address, or a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// A user of the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Why JSON is no lockout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLock {
    /// It names nobody, or two at once.
    #[error("`subject` must be {{\"address\":…}}, {{\"caller\":…}} or {{\"user\":…}}")]
    Subject,
    /// Nobody can be locked out by that.
    #[error("`subject`: {0}")]
    Name(#[from] NoSubject),
    /// Who or why can't be written down.
    #[error(transparent)]
    Word(#[from] BadWord),
    /// Its id is none.
    #[error(transparent)]
    Id(#[from] NoLockId),
    /// A time that nobody wrote.
    #[error("`{0}` can't be read")]
    Field(&'static str),
}

// === impl WrittenLock ===

impl WrittenLock {
    /// This lockout.
    pub fn of(lock: &Lock) -> Self {
        Self {
            id: lock.id.to_string(),
            subject: WrittenSubject::of(&lock.subject),
            who: lock.word.who().to_owned(),
            why: lock.word.why().to_owned(),
            since: clock::rfc3339(lock.since),
            until: lock.until.map(clock::rfc3339),
        }
    }

    /// The lockout that is written here.
    ///
    /// # Errors
    /// [`NoLock`].
    pub fn lock(&self) -> Result<Lock, NoLock> {
        let time = |name, text: &str| clock::parse_rfc3339(text).ok_or(NoLock::Field(name));
        Ok(Lock {
            id: self.id.parse()?,
            subject: self.subject.subject()?,
            word: Word::new(&self.who, &self.why)?,
            since: time("since", &self.since)?,
            until: self.until.as_deref().map(|until| time("until", until)).transpose()?,
        })
    }
}

impl WrittenLock {
    /// In a line, for people.
    pub fn told(&self) -> String {
        let Self { subject, who, why, since, until, .. } = self;
        let whom = subject.subject().map_or_else(|error| error.to_string(), |subject| subject.to_string());
        line(&whom, since, until.as_deref(), (who, why))
    }
}

// === impl WrittenSubject ===

impl WrittenSubject {
    /// This subject.
    pub fn of(subject: &Subject) -> Self {
        let (none, name) = (Self::default(), Some(subject.name()));
        match subject {
            Subject::Address(_) => Self { address: name, ..none },
            Subject::Caller(_) => Self { caller: name, ..none },
            Subject::User(_) => Self { user: name, ..none },
        }
    }

    /// The subject that is written here.
    ///
    /// # Errors
    /// [`NoLock`].
    pub fn subject(&self) -> Result<Subject, NoLock> {
        match (&self.address, &self.caller, &self.user) {
            (Some(address), None, None) => Ok(Subject::address(address)?),
            (None, Some(number), None) => Ok(Subject::caller(number)?),
            (None, None, Some(name)) => Ok(Subject::user(name)?),
            _ => Err(NoLock::Subject),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(json: &str) -> Result<String, String> {
        let written: WrittenSubject = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let subject = written.subject().map_err(|error| error.to_string())?;
        assert_eq!(WrittenSubject::of(&subject).subject().as_ref(), Ok(&subject));
        Ok(subject.to_string())
    }

    #[test]
    fn subjects_are_one_thing_each() {
        for (json, told) in [
            (r#"{"address":"192.0.2.7"}"#, "address 192.0.2.7"),
            (r#"{"address":"2001:db8::/64"}"#, "address 2001:db8::/64"),
            (r#"{"caller":"+1 555 123 0001"}"#, "caller +15551230001"),
            (r#"{"user":"signalwire"}"#, "user signalwire"),
        ] {
            assert_eq!(subject(json).as_deref(), Ok(told));
        }
        for (json, wrong) in [
            ("{}", "`subject` must be"),
            (r#"{"user":"a","caller":"+15551230001"}"#, "`subject` must be"),
            (r#"{"address":"192.0.2.1/24"}"#, "`subject`: `address`: 192.0.2.1/24 has bits behind"),
            (r#"{"caller":"anonymous"}"#, "`subject`: `caller` must be a phone number"),
            (r#"{"user":"call"}"#, "`subject`: `call` is the user of all calls"),
            (r#"{"agent":"bank"}"#, "unknown field"),
        ] {
            let error = subject(json).unwrap_err();
            assert!(error.starts_with(wrong), "{json}: {error}");
        }
    }
}
