//! The one vocabulary: why a request ended as it did, and the one table of what is answered then.
//!
//! A refusal is heard by a person: on a phone call a 4xx is a stutter and a 5xx is asked again up to three times
//! (PROTOCOL.md, 4.5). So strangers get a status, and whoever has proved to be the platform gets a sentence.

pub use crate::reason::Reason;
use crate::{
    json::quote,
    policy::{Limit, Sentences},
    record::Medium,
    token::Kind,
};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// A document: the agent's own path, or a URL of one more document.
    Swml,
    /// A function call.
    Swaig,
    /// Function definitions for `SWAIG.includes`.
    Includes,
    /// A call's summary.
    Summary,
    /// A debug event.
    Debug,
    /// A status callback, a `request`, a data map webhook on the agent.
    Callback,
    /// A file of the agent.
    Asset,
    /// The agent's health.
    Health,
    /// A path that the policy exposes.
    Exposed,
    /// A path that the policy exposes, whose clients the agent itself authenticates.
    Open,
    /// Nothing that is known.
    Unknown,
}

/// Whether the agent was asked and its answer passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It was.
    Allow,
    /// Something else was answered, or nothing.
    Refuse,
}

/// An answer of the gateway's own, or the agent's made fit to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// Whether Basic credentials are asked for (401).
    pub challenge: bool,
    /// The methods that are allowed (405).
    pub allow: Option<&'static str>,
    /// In how many seconds to ask again.
    pub retry_after: Option<u64>,
    /// The limit that is reached (429).
    pub rate_limit: Option<Box<RateLimit>>,
    /// Where to ask instead (3xx).
    pub location: Option<String>,
    /// Whether a page of any origin may read it. It holds nothing that a stranger doesn't get.
    pub is_for_pages: bool,
}

/// What a client is told of a limit that it has reached: the fields `RateLimit-Policy` and `RateLimit` of
/// draft-ietf-httpapi-ratelimit-headers-10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// The quota and its window: `"caller";q=10;w=60`.
    pub policy: String,
    /// What is left of it, and in how many seconds there is more: `"caller";r=0;t=6`.
    pub state: String,
}

/// What a reason is to whom it is told.
enum Telling<'s> {
    /// A status and a word, for whoever asked.
    Client(u16, &'static str),
    /// A sentence for the person on the call; the status is for routes on which nobody listens.
    Caller(&'s str, u16),
}

/// The table: what is answered on a route for a reason. `say` has the agent's sentences, and perhaps one that is said in
/// place of the reason's own; `medium` is how a document talks to its caller.
pub fn reply(route: Route, reason: Reason, say: (&Sentences, Option<&str>), medium: Medium) -> Reply {
    let telling = match (telling(reason, say.0), say.1) {
        (Telling::Caller(_, status), Some(sentence)) => Telling::Caller(sentence, status),
        // Behind a document's last words nobody holds the line.
        (Telling::Caller(_, status), None) if (reason, route) == (Reason::AgentBusy, Route::Swml) => {
            Telling::Caller(&say.0.busy, status)
        }
        (telling, _) => telling,
    };
    match (telling, route) {
        (Telling::Caller(sentence, _), Route::Swml) => Reply::json(200, last_document(sentence, medium)),
        (Telling::Caller(sentence, _), Route::Swaig) => Reply::json(200, spoken_response(sentence)),
        (
            Telling::Caller(_, status),
            Route::Includes
            | Route::Summary
            | Route::Debug
            | Route::Callback
            | Route::Asset
            | Route::Health
            | Route::Exposed
            | Route::Open
            | Route::Unknown,
        ) => Reply::error(status, reason.as_str()),
        (Telling::Client(status, word), _) => Reply::error(status, word),
    }
}

fn telling(reason: Reason, say: &Sentences) -> Telling<'_> {
    use Telling::{Caller, Client};
    match reason {
        Reason::Ok => Client(200, "ok"),
        Reason::NotFound => Client(404, "not found"),
        Reason::MethodNotAllowed => Client(405, "method not allowed"),
        Reason::HeaderTooLarge => Client(431, "request header too large"),
        Reason::BadRequest => Client(400, "bad request"),
        Reason::BodyTooLarge => Client(413, "request body too large"),
        Reason::BodyTimeout => Client(408, "request body took too long"),
        Reason::ClientGone => Client(400, "request body incomplete"),
        // Whoever guesses learns no more of a user that is locked out than of one that isn't there.
        Reason::CredentialsMissing | Reason::CredentialsWrong | Reason::UserLocked => Client(401, "unauthorized"),
        Reason::CredentialsUnchecked => Client(503, "busy; try again"),
        Reason::CredentialsLocked => Client(429, "too many attempts; try again later"),
        Reason::BodyNotJson | Reason::BodyDuplicateKey | Reason::BodyTooDeep => {
            Client(400, "request body is not a JSON object that can be read one way only")
        }
        Reason::FunctionMissing => Client(400, "no function is named"),
        Reason::ArgumentsDisagree => Client(400, "the arguments can be read in more than one way"),
        Reason::AddressLocked
        | Reason::CredentialsForeign
        | Reason::SignatureMissing
        | Reason::SignatureWrong
        | Reason::UnsignedGet
        | Reason::TokenMissing
        | Reason::TokenMalformed
        | Reason::TokenKeyUnknown
        | Reason::TokenMismatch
        | Reason::TokenForeignCall
        | Reason::TokenUnbound => Client(403, "forbidden"),
        Reason::TokenExpired => Caller(&say.expired, 403),
        Reason::CallEnded => Caller(&say.ended, 403),
        Reason::Emergency => Caller(&say.disabled, 503),
        Reason::CallerLocked => Caller(&say.caller, 403),
        Reason::Limited => Caller(&say.limited, 429),
        Reason::TooManyCalls => Caller(&say.busy, 429),
        Reason::FunctionDenied => Caller(&say.disabled, 403),
        Reason::CallerDenied => Caller(&say.caller, 403),
        Reason::Closed => Caller(&say.closed, 403),
        Reason::InputForbidden => Caller(&say.argument, 400),
        Reason::ArgumentsInvalid => Caller(&say.argument, 400),
        Reason::SchemaUnknown => Caller(&say.unavailable, 403),
        Reason::ArgumentPinned => Caller(&say.argument, 400),
        Reason::Precondition => Caller(&say.precondition, 403),
        Reason::ConfirmationAsked => Caller(&say.precondition, 403),
        Reason::Repeated => Caller(&say.repeated, 409),
        Reason::CodeMissing => Caller(&say.code, 403),
        Reason::CodeWrong => Caller(&say.code, 403),
        Reason::CodeLocked => Caller(&say.locked, 429),
        Reason::VerbDenied | Reason::DestinationDenied | Reason::EgressDenied => Caller(&say.denied, 502),
        Reason::AnswerSlow => Caller(&say.slow, 504),
        Reason::AgentBusy => Caller(&say.hold, 503),
        Reason::AgentUnavailable => Caller(&say.unavailable, 503),
        Reason::AgentTimeout => Caller(&say.unavailable, 504),
        Reason::Overloaded | Reason::AuditFull => Caller(&say.unavailable, 503),
        Reason::Internal => Caller(&say.unavailable, 500),
        Reason::AgentUnreachable
        | Reason::AgentBroken
        | Reason::AgentUnauthorized
        | Reason::AgentStatus
        | Reason::AgentTooLarge
        | Reason::AgentEncoded
        | Reason::AgentNotJson
        | Reason::UrlAmbiguous
        | Reason::UrlForbidden
        | Reason::CredentialInDocument => Caller(&say.unavailable, 502),
    }
}

/// A document that says a sentence and ends: in AI chat, an AI with no functions that knows nothing else to say.
fn last_document(sentence: &str, medium: Medium) -> String {
    let main = match medium {
        Medium::Voice => {
            let say = quote(&format!("say:{sentence}"));
            format!(r#"{{"answer":{{}}}},{{"play":{{"url":{say}}}}},{{"hangup":{{}}}}"#)
        }
        Medium::Messaging => format!(r#"{{"reply":{{"body":{}}}}}"#, quote(sentence)),
        Medium::Chat => {
            let prompt =
                quote(&format!("Whatever you are asked, answer with this sentence and nothing else: {sentence}"));
            format!(r#"{{"ai":{{"prompt":{{"text":{prompt}}}}}}}"#)
        }
    };
    format!(r#"{{"version":"1.0.0","sections":{{"main":[{main}]}}}}"#)
}

/// A SWAIG answer that the model speaks.
fn spoken_response(sentence: &str) -> String {
    format!(r#"{{"response":{}}}"#, quote(sentence))
}

// === impl Reply ===

impl Reply {
    /// A JSON answer.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type: "application/json".to_owned(),
            body: body.into(),
            challenge: status == 401,
            allow: None,
            retry_after: matches!(status, 429 | 503).then_some(1),
            rate_limit: None,
            location: None,
            is_for_pages: false,
        }
    }

    fn error(status: u16, word: &str) -> Self {
        Self::json(status, format!(r#"{{"error":{}}}"#, quote(word)))
    }
}

// === impl RateLimit ===

impl RateLimit {
    /// Of this limit, which has room again in so many seconds.
    pub fn of(limit: &Limit, wait: u64) -> Self {
        let name = limit.per.names().join("-");
        // A window in whole seconds, as the draft has it.
        let window = limit.every.as_secs().max(1);
        Self { policy: format!("\"{name}\";q={};w={window}", limit.allow), state: format!("\"{name}\";r=0;t={wait}") }
    }
}

// === impl Route ===

impl Route {
    /// Every route.
    pub const ALL: [Route; 11] = [
        Route::Swml,
        Route::Swaig,
        Route::Includes,
        Route::Summary,
        Route::Debug,
        Route::Callback,
        Route::Asset,
        Route::Health,
        Route::Exposed,
        Route::Open,
        Route::Unknown,
    ];

    /// The route of a URL that was minted for this kind.
    pub fn of(kind: Kind) -> Route {
        match kind {
            Kind::Tool | Kind::Hook => Route::Swaig,
            Kind::Summary => Route::Summary,
            Kind::Debug => Route::Debug,
            Kind::Includes => Route::Includes,
            Kind::Swml => Route::Swml,
            Kind::Callback => Route::Callback,
            Kind::Asset => Route::Asset,
        }
    }

    /// Its name in audit records, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Route::Swml => "swml",
            Route::Swaig => "swaig",
            Route::Includes => "includes",
            Route::Summary => "post_prompt",
            Route::Debug => "debug",
            Route::Callback => "callback",
            Route::Asset => "asset",
            Route::Health => "health",
            Route::Exposed => "exposed",
            Route::Open => "open",
            Route::Unknown => "unknown",
        }
    }
}

impl Decision {
    /// Its name in audit records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Refuse => "refuse",
        }
    }
}

impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        if reason == Reason::Ok { Decision::Allow } else { Decision::Refuse }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::json;

    #[test]
    fn reasons_have_a_name_each_and_a_meaning() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.meaning().ends_with('.'), "{reason:?}");
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{reason:?}");
        }
    }

    #[test]
    fn the_operators_page_explains_every_reason() {
        let page = include_str!("../../../policies/README.md");
        for reason in Reason::ALL {
            let row = format!("| `{}` | {} |", reason.as_str(), reason.meaning());
            assert!(page.contains(&row), "policies/README.md lacks the row {row}");
        }
    }

    #[test]
    fn every_answer_is_json() {
        for route in Route::ALL {
            for reason in Reason::ALL {
                let reply = reply(route, *reason, (&Sentences::default(), None), Medium::Voice);
                assert!(json::parse(&reply.body).is_ok(), "{route:?} {reason:?}");
            }
        }
    }

    /// The platform repeats a function call that ends in a 5xx (PROTOCOL.md, 4.5).
    #[test]
    fn function_calls_and_documents_never_end_in_a_5xx() {
        for route in [Route::Swaig, Route::Swml] {
            for reason in Reason::ALL {
                // Whoever has proved nothing yet is not the platform, as far as anyone knows.
                let is_strangers = *reason == Reason::CredentialsUnchecked;
                let status = reply(route, *reason, (&Sentences::default(), None), Medium::Voice).status;
                assert!(status < 500 || is_strangers, "{route:?} {reason:?}");
            }
        }
    }

    #[test]
    fn what_a_caller_hears_is_the_policys_sentence() {
        let say = Sentences { limited: "Slow \"down\".".into(), ..Sentences::default() };
        let spoken = reply(Route::Swaig, Reason::Limited, (&say, None), Medium::Voice);
        assert_eq!((spoken.status, spoken.body), (200, br#"{"response":"Slow \"down\"."}"#.to_vec()));

        let document = reply(Route::Swml, Reason::Limited, (&say, None), Medium::Voice);
        let parsed = json::parse(&document.body).unwrap();
        let steps = parsed.get("sections").unwrap().get("main").unwrap().items();
        assert_eq!(steps[1].get("play").unwrap().str_at("url"), Some("say:Slow \"down\"."));
        assert!(steps[2].get("hangup").is_some());
    }

    #[test]
    fn a_document_speaks_as_its_reader_hears() {
        let main = |medium| {
            let document = reply(Route::Swml, Reason::Limited, (&Sentences::default(), None), medium).body;
            String::from_utf8(document).unwrap()
        };
        assert!(main(Medium::Messaging).contains(r#"[{"reply":{"body":"You've made too many"#));
        assert!(main(Medium::Chat).contains(r#"[{"ai":{"prompt":{"text":"Whatever"#));
    }

    #[test]
    fn strangers_get_a_status_whatever_the_route() {
        for route in Route::ALL {
            for (reason, status) in [
                (Reason::CredentialsMissing, 401),
                (Reason::CredentialsWrong, 401),
                (Reason::CredentialsLocked, 429),
                (Reason::UserLocked, 401),
                (Reason::AddressLocked, 403),
                (Reason::TokenMissing, 403),
                (Reason::TokenMismatch, 403),
                (Reason::NotFound, 404),
            ] {
                let reply = reply(route, reason, (&Sentences::default(), None), Medium::Voice);
                assert_eq!((reply.status, reply.challenge), (status, status == 401), "{route:?} {reason:?}");
            }
        }
    }
}
