//! A switch as JSON: in the state's file, in the admin API and on the command line.

mod lock;

pub use lock::{NoLock, WrittenLock, WrittenSubject};
use serde::{Deserialize, Serialize};
use swaigate_core::switches::{BadWord, NoNumber, NoSwitchId, Origin, Scope, Switch, Word};

use crate::clock;

/// A switch as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Its id.
    pub id: String,
    /// What it stops.
    pub scope: WrittenScope,
    /// Who turned it on.
    pub who: String,
    /// Why.
    pub why: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, if it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `operator`, `environment`, `detection` or `recovery`.
    pub origin: String,
}

/// What a switch stops, as JSON has it: `{"all":true}`, `{"agent":"bank"}`, `{"agent":"bank","function":"f"}`,
/// `{"caller":"+15551230001"}`, the last perhaps with an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenScope {
    /// Everything; never `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// An agent, or the one that the rest is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// A function of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// A number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// Why JSON is no switch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSwitch {
    /// It names no scope, or one and a half.
    #[error(
        "`scope` must be {{\"all\":true}}, {{\"agent\":…}}, {{\"agent\":…,\"function\":…}}, {{\"caller\":…}} or \
         {{\"caller\":…,\"agent\":…}}"
    )]
    Scope,
    /// A name in it breaks the rule of its kind.
    #[error("`scope`: {0}")]
    Name(#[from] swaigate_core::id::InvalidName),
    /// Its caller is no number.
    #[error(transparent)]
    Number(#[from] NoNumber),
    /// Who or why can't be written down.
    #[error(transparent)]
    Word(#[from] BadWord),
    /// Its id is none.
    #[error(transparent)]
    Id(#[from] NoSwitchId),
    /// A time or an origin that nobody wrote.
    #[error("`{0}` can't be read")]
    Field(&'static str),
}

// === impl Written ===

impl Written {
    /// This switch.
    pub fn of(switch: &Switch) -> Self {
        Self {
            id: switch.id.to_string(),
            scope: WrittenScope::of(&switch.scope),
            who: switch.word.who().to_owned(),
            why: switch.word.why().to_owned(),
            since: clock::rfc3339(switch.since),
            until: switch.until.map(clock::rfc3339),
            origin: switch.origin.as_str().to_owned(),
        }
    }

    /// The switch that is written here.
    ///
    /// # Errors
    /// [`NoSwitch`].
    pub fn switch(&self) -> Result<Switch, NoSwitch> {
        let time = |name, text: &str| clock::parse_rfc3339(text).ok_or(NoSwitch::Field(name));
        let origin = Origin::ALL.into_iter().find(|origin| origin.as_str() == self.origin);
        Ok(Switch {
            id: self.id.parse()?,
            scope: self.scope.scope()?,
            word: Word::new(&self.who, &self.why)?,
            since: time("since", &self.since)?,
            until: self.until.as_deref().map(|until| time("until", until)).transpose()?,
            origin: origin.ok_or(NoSwitch::Field("origin"))?,
        })
    }
}

impl Written {
    /// In a line, for people.
    pub fn told(&self) -> String {
        let Self { scope, who, why, since, until, .. } = self;
        let what = match scope.scope() {
            Ok(Scope::All) => "everything".to_owned(),
            Ok(other) => other.to_string(),
            Err(error) => error.to_string(),
        };
        line(&what, since, until.as_deref(), (who, why))
    }
}

/// What is so, since when and until when, by whom and why.
fn line(what: &str, since: &str, until: Option<&str>, (who, why): (&str, &str)) -> String {
    let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
    format!("{what}, since {since}{until}, by {who}: {why}")
}

// === impl WrittenScope ===

impl WrittenScope {
    /// This scope.
    pub fn of(scope: &Scope) -> Self {
        let none = Self::default();
        match scope {
            Scope::All => Self { all: Some(true), ..none },
            Scope::Agent(agent) => Self { agent: Some(agent.to_string()), ..none },
            Scope::Function(agent, function) => {
                Self { agent: Some(agent.to_string()), function: Some(function.to_string()), ..none }
            }
            Scope::Caller(number, agent) => {
                Self { caller: Some(number.clone()), agent: agent.as_ref().map(ToString::to_string), ..none }
            }
        }
    }

    /// The scope that is written here.
    ///
    /// # Errors
    /// [`NoSwitch`].
    pub fn scope(&self) -> Result<Scope, NoSwitch> {
        let agent = self.agent.as_deref().map(str::parse).transpose()?;
        match (self.all, agent, &self.function, &self.caller) {
            (Some(true), None, None, None) => Ok(Scope::All),
            (None, Some(agent), None, None) => Ok(Scope::Agent(agent)),
            (None, Some(agent), Some(function), None) => Ok(Scope::Function(agent, function.parse()?)),
            (None, agent, None, Some(number)) => Ok(Scope::caller(number, agent)?),
            _ => Err(NoSwitch::Scope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(json: &str) -> Result<String, String> {
        let written: WrittenScope = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let scope = written.scope().map_err(|error| error.to_string())?;
        let again = WrittenScope::of(&scope).scope().map_err(|error| error.to_string())?;
        assert_eq!(again, scope);
        Ok(scope.to_string())
    }

    #[test]
    fn scopes_are_one_thing_each() {
        for (json, told) in [
            (r#"{"all":true}"#, "all"),
            (r#"{"agent":"bank"}"#, "agent bank"),
            (r#"{"agent":"bank","function":"pay"}"#, "function bank/pay"),
            (r#"{"caller":"+1 555 123 0001"}"#, "caller +15551230001"),
            (r#"{"agent":"bank","caller":"+15551230001"}"#, "caller +15551230001 at bank"),
        ] {
            assert_eq!(scope(json).as_deref(), Ok(told));
        }
        for (json, wrong) in [
            ("{}", "`scope` must be"),
            (r#"{"all":false}"#, "`scope` must be"),
            (r#"{"all":true,"agent":"bank"}"#, "`scope` must be"),
            (r#"{"function":"pay"}"#, "`scope` must be"),
            (r#"{"agent":"bank","function":"pay","caller":"+15551230001"}"#, "`scope` must be"),
            (r#"{"agent":"a b"}"#, "`scope`: an agent's name"),
            (r#"{"agent":"a","function":""}"#, "`scope`: a function's name"),
            (r#"{"caller":"anonymous"}"#, "`caller` must be a phone number"),
            (r#"{"agents":"bank"}"#, "unknown field"),
            (r#"{"agent":"a","agent":"b"}"#, "duplicate field"),
        ] {
            let error = scope(json).unwrap_err();
            assert!(error.starts_with(wrong), "{json}: {error}");
        }
    }
}
