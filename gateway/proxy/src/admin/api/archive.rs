//! `/v1/state`: what people have ordered, to be kept elsewhere and brought back.

use http::StatusCode;
use serde::Deserialize;

use super::{Answer, Api, error, json, word};
use crate::{clock, state::Archive};

/// What is to be brought back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    state: Archive,
    who: String,
    why: String,
}

impl Api {
    pub(super) fn export(&self) -> Answer {
        json(StatusCode::OK, &Archive::of(&self.app.board.ordered(), clock::now()))
    }

    pub(super) async fn import(&self, order: Order) -> Result<Answer, Answer> {
        let Order { state, who, why } = order;
        let word = word(&who, &why)?;
        let ordered = state.ordered().map_err(|problem| error(StatusCode::BAD_REQUEST, problem))?;
        let counts = serde_json::json!({ "switches": ordered.switches.len(), "lockouts": ordered.locks.len() });
        self.change(move |app| app.board.bring_back(ordered, &word, clock::now())).await?;
        Ok(json(StatusCode::OK, &counts))
    }
}
