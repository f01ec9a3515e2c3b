//! `/v1/switches`: what is turned off, and by whom.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use swaigate_core::switches::{Origin, Scope, Switch};

use super::{Answer, Api, SWITCH_SPAN, Told, error, json, span, word};
use crate::{
    app::Wanted,
    clock,
    state::{Written, WrittenScope},
};

/// A switch to turn on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    scope: WrittenScope,
    who: String,
    why: String,
    #[serde(default, rename = "for")]
    span: Option<String>,
}

impl Api {
    pub(super) fn switches(&self) -> Answer {
        json(StatusCode::OK, &self.written_switches())
    }

    /// Those in force, the oldest first.
    pub(super) fn written_switches(&self) -> Vec<Written> {
        let now = clock::now();
        let orders = self.app.board.load();
        let mut switches: Vec<_> = orders.switches.iter().filter(|switch| switch.is_in_force(now)).collect();
        switches.sort_by_key(|switch| (switch.since, switch.id));
        switches.into_iter().map(|switch| Written::of(switch)).collect()
    }

    pub(super) async fn turn_on(&self, order: Order) -> Result<Answer, Answer> {
        let Order { scope, who, why, span: lasts } = order;
        let scope = scope.scope().map_err(|problem| error(StatusCode::BAD_REQUEST, problem))?;
        let word = word(&who, &why)?;
        let span = span(lasts.as_deref(), SWITCH_SPAN)?;
        // A switch for an agent that isn't there stops nothing, and looks as if it did. Functions are the agent's to name.
        if let Scope::Agent(agent) | Scope::Function(agent, _) | Scope::Caller(_, Some(agent)) = &scope {
            self.agent(agent)?;
        }
        let wanted = Wanted { scope, word, span, origin: Origin::Operator };
        let (switch, before) = self.change(move |app| app.board.turn_on(wanted, clock::now())).await?;
        let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        Ok(json(status, &Written::of(&switch)))
    }

    pub(super) async fn turn_off(&self, id: &str, told: Told) -> Result<Answer, Answer> {
        let id = id.parse().map_err(|problem| error(StatusCode::NOT_FOUND, problem))?;
        let word = told.word()?;
        let switch: Arc<Switch> = self.change(move |app| app.board.turn_off(id, word, clock::now())).await?;
        Ok(json(StatusCode::OK, &Written::of(&switch)))
    }
}
