//! Whether functions need a token of their own call.

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use swaigate_core::{
    id::FunctionName,
    inventory::{Function, Inventory, Way},
    json,
};

use super::{Examination, LONGEST_CALL, Weakness};
use crate::{
    client::{Answer, Credentials, Question},
    clock,
};

/// A function that no agent has.
const NOBODYS: &str = "swaigate_doctor_nothing";

/// How many names a line lists.
const MAX_NAMES: usize = 8;

impl Examination<'_> {
    pub(super) fn tokens(&mut self, inventory: &Inventory) {
        let without: Vec<&str> = inventory.without_token().collect();
        if !without.is_empty() {
            let shown = without.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
            let more = without.len().saturating_sub(MAX_NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            self.found(Weakness::FunctionsWithoutToken, format!("the document has no token for {shown}{more}"));
        }
        let now = clock::now().unix_seconds().into();
        let lives = tokens(inventory).filter_map(expiry).map(|expiry| expiry.saturating_sub(now)).min();
        if let Some(lives) = lives.filter(|lives| *lives < LONGEST_CALL - 60) {
            let seen = format!(
                "the agent's tokens last {} minutes, a call may last {}",
                lives.div_ceil(60),
                LONGEST_CALL / 60
            );
            self.found(Weakness::TokensExpireEarly, seen);
        }
    }

    /// Calls a function that there isn't, without a token: whoever asks for the token first doesn't say that.
    pub(super) fn unknown_function(&mut self, inventory: &Inventory) {
        let Some(target) = inventory.functions.iter().find_map(target) else { return };
        if tokens(inventory).next().is_none() {
            return;
        }
        let body = call("swaigate", NOBODYS);
        let question = Question::post(path(target), Credentials::Own, body);
        let Some(answer) = self.ask("a call of an unknown function", &question) else { return };
        if !matches!(answer.status, 401 | 403) {
            let seen = "a function that there isn't is looked for before a token is asked for; whether one that there is runs \
                        without, only a call can tell: name a harmless one with --call";
            self.found(Weakness::TokensUndecided, seen);
        }
    }

    /// Calls a function of the operator's choice, in ways that should not run it.
    ///
    /// # Errors
    /// If the document doesn't have it.
    pub(super) fn call(&mut self, name: &FunctionName, inventory: &Inventory) -> anyhow::Result<()> {
        let function = inventory.functions.iter().find(|function| function.name == name.as_str());
        let target = function.and_then(target);
        let target = target.with_context(|| format!("--call: the document has no `{name}` at a URL of the agent"))?;
        self.report.called = Some(name.to_string());
        let without = Question::post(path(target), Credentials::Own, call("swaigate", name.as_str()));
        if self.ask("a call without a token", &without).is_some_and(|answer| ran(&answer)) {
            self.found(Weakness::TokenNotRequired, format!("`{name}` ran without a token"));
        }
        let Some(Function { way: Way::Agent { token: Some(_), .. }, .. }) = function else { return Ok(()) };
        let foreign = Question::post(target, Credentials::Own, call("swaigate-another", name.as_str()));
        if self.ask("a call with another call's token", &foreign).is_some_and(|answer| ran(&answer)) {
            self.found(Weakness::ForeignToken, format!("`{name}` ran with the token of another call"));
        }
        Ok(())
    }
}

fn target(function: &Function) -> Option<&str> {
    match &function.way {
        Way::Agent { target, .. } => Some(target),
        Way::Around(_) | Way::Nowhere => None,
    }
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn tokens(inventory: &Inventory) -> impl Iterator<Item = &str> {
    inventory.functions.iter().filter_map(|function| match &function.way {
        Way::Agent { token, .. } => token.as_deref(),
        Way::Around(_) | Way::Nowhere => None,
    })
}

/// When a token of the SDKs' ends, in seconds since 1970: `call.function.expiry.nonce.signature` in base64url, and the call's
/// id may hold dots (PROTOCOL.md, 2.2).
fn expiry(token: &str) -> Option<u64> {
    let decoded = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
    std::str::from_utf8(&decoded).ok()?.rsplit('.').nth(2)?.parse().ok()
}

fn call(call_id: &str, function: &str) -> String {
    json!({ "function": function, "argument": { "parsed": [{}], "raw": "{}" }, "call_id": call_id, "version": "2.0",
        "content_type": "text/swaig", "content_disposition": "SWAIG Function", "conversation_type": "voice" })
    .to_string()
}

/// Whether a function ran, by the kind of the answer: the SDKs refuse with other statuses, or with 200 and a sentence about
/// the token; none runs that isn't found.
fn ran(answer: &Answer) -> bool {
    let Ok(root) = json::parse(&answer.body) else { return false };
    let said = root.str_at("response").unwrap_or_default().to_lowercase();
    let about_token = said.contains("token") && (said.contains("invalid") || said.contains("expired"));
    let not_found = said.starts_with("function '") && said.ends_with("not found");
    answer.status == 200 && root.get("error").is_none() && !about_token && !not_found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_sdks_token_is_read() {
        let token = URL_SAFE_NO_PAD.encode("call.with.dots.get_balance.1764003600.00ff.abcdef");
        assert_eq!(expiry(&token), Some(1_764_003_600));
        assert_eq!(expiry(&format!("{token}==")), Some(1_764_003_600));
        assert_eq!((expiry("AYNBQlw"), expiry("***"), expiry("")), (None, None, None));
    }

    #[test]
    fn refusals_of_the_sdks_are_no_runs() {
        let answer = |status, body: &str| Answer { status, body: body.as_bytes().to_vec() };
        let refused = [
            answer(
                200,
                r#"{"response":"I'm sorry, the security token for this function is invalid or expired. I cannot execute this action."}"#,
            ),
            answer(200, r#"{"response":"Function 'x' not found"}"#),
            answer(403, r#"{"error":"invalid or expired token"}"#),
            answer(404, r#"{"error":"Unknown function: x"}"#),
            answer(200, "not JSON"),
        ];
        assert!(!refused.iter().any(ran));
        assert!(ran(&answer(200, r#"{"response":"Transferred $5."}"#)) && ran(&answer(200, "{}")));
    }
}
