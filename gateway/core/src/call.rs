//! Which call a request belongs to, and who is on the other end.
//!
//! Every field name here is the platform's (PROTOCOL.md, sections 4 to 6 and 9).

use crate::{json::Node, pattern, record::Medium, token::Kind};

/// The remote party of a call, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A phone number, normalised: an optional `+` and digits.
    Number(String),
    /// Withheld, a SIP or a WebRTC address, or nothing: nobody can be told from somebody else by it.
    Unidentified,
}

/// What a SWML fetch says about its call.
#[derive(Debug, PartialEq, Eq)]
pub struct CallFacts<'b> {
    /// `call.call_id`, `message.message_id`, or the conversation's id in AI chat.
    pub call_id: Option<&'b str>,
    /// How the other end is talked to.
    pub medium: Medium,
    /// Who is on the other end: `from` of an inbound call, `to` of an outbound one.
    pub caller: Caller,
    /// The number on this side.
    pub called: Option<&'b str>,
}

/// Reads the call object of a SWML fetch (PROTOCOL.md, section 5).
pub fn facts_of_fetch<'b>(body: &'b Node<'_>) -> CallFacts<'b> {
    let medium = medium_of_fetch(body);
    let outer_id = body.str_at("call_id").or_else(|| body.str_at("conversation_id"));
    let Some(call) = body.get("call").or_else(|| body.get("message")).filter(|call| call.is_object()) else {
        return CallFacts { call_id: outer_id, medium, caller: Caller::Unidentified, called: None };
    };
    let outbound = call.str_at("direction").is_some_and(|direction| direction.starts_with("outbound"));
    let (remote, local) = if outbound { ("to", "from") } else { ("from", "to") };
    let number_key = if outbound { "to_number" } else { "from_number" };
    let remote = call.str_at(remote).or_else(|| call.str_at(number_key));
    let is_phone = call.str_at("type").is_none_or(|kind| kind == "phone" || kind == "sms" || kind == "mms");
    CallFacts {
        call_id: call.str_at("call_id").or_else(|| call.str_at("message_id")).or(outer_id),
        medium,
        caller: remote.filter(|_| is_phone).map_or(Caller::Unidentified, Caller::from_number),
        called: call.str_at(local),
    }
}

/// In AI chat a document is fetched for a conversation, with what the visitor's page says of itself.
fn medium_of_fetch(body: &Node<'_>) -> Medium {
    let call = body.get("call");
    let says_chat =
        [body.str_at("conversation_type"), call.and_then(|call| call.str_at("type"))].contains(&Some("chat"));
    let is_a_page = body.get("params").is_some_and(|params| params.get("user_meta_data").is_some());
    if body.get("message").is_some() && call.is_none() {
        Medium::Messaging
    } else if says_chat || is_a_page {
        Medium::Chat
    } else {
        Medium::Voice
    }
}

/// Whether a request is of AI chat, where a visitor may come back to a conversation that was summed up.
pub fn is_chat(body: &Node<'_>) -> bool {
    body.str_at("conversation_type") == Some("chat")
}

/// Whether a summary says that the AI's part in the call is over. The same endpoint is asked for an earlier
/// conversation when one begins (PROTOCOL.md, 6).
pub fn is_over(summary: &Node<'_>) -> bool {
    !is_chat(summary)
        && summary.str_at("action") != Some("fetch_conversation")
        && summary.str_at("content_disposition") != Some("agent.load_conversation")
}

/// The remote party that a SWAIG body names.
pub fn caller_of_function_call(body: &Node<'_>) -> Caller {
    let channel = body.get("channel_data");
    let number = body
        .str_at("caller_id_num")
        .or_else(|| body.str_at("caller_id_number"))
        .or_else(|| channel?.str_at("caller_id_number"));
    number.map_or(Caller::Unidentified, Caller::from_number)
}

/// The ids by which a request of this kind may name its call, best first (PROTOCOL.md, section 9).
///
/// In AI chat, SWML is fetched under the conversation's id, and later requests carry the chat service's own call id beside
/// it; a leg's `confirm` and the like name the call they belong to as parent or peer.
pub fn call_ids<'b>(body: &'b Node<'_>, kind: Kind) -> Vec<&'b str> {
    let within = |outer: &str, inner: &str| body.get(outer).and_then(|node| node.str_at(inner));
    // Where a body may name its call in several places, the first that is there counts: an agent reads that one too.
    let candidates: &[Option<&str>] = match kind {
        Kind::Tool | Kind::Hook => {
            &[body.str_at("call_id").or_else(|| within("channel_data", "call_id")), body.str_at("conversation_id")]
        }
        Kind::Summary => &[body.str_at("call_id"), body.str_at("conversation_id")],
        Kind::Debug => &[
            within("call_info", "call_id")
                .or_else(|| body.str_at("call_id"))
                .or_else(|| within("channel_data", "call_id")),
            within("call_info", "conversation_id"),
        ],
        Kind::Swml => {
            let call = body.get("call");
            let leg = |name: &str| call.and_then(|call| call.get(name)).and_then(|leg| leg.str_at("call_id"));
            let own = within("call", "call_id")
                .or_else(|| within("message", "message_id"))
                .or_else(|| body.str_at("call_id"))
                .or_else(|| body.str_at("conversation_id"));
            &[own, leg("parent"), leg("peer")]
        }
        Kind::Callback => &[within("params", "call_id").or_else(|| body.str_at("call_id"))],
        Kind::Includes | Kind::Asset => &[],
    };
    candidates.iter().copied().flatten().filter(|id| !id.is_empty()).collect()
}

// === impl Caller ===

impl Caller {
    /// Reads a phone number, with or without the usual separators: 3 to 15 digits (E.164), a `+` before them kept.
    pub fn from_number(text: &str) -> Caller {
        let number = pattern::normal_number(text);
        // `+266696687` spells ANONYMOUS on a keypad; carriers send it for withheld numbers.
        let identified = number.filter(|number| number.trim_start_matches('+') != "266696687");
        identified.map_or(Caller::Unidentified, Caller::Number)
    }

    /// The number, if there is one.
    pub fn number(&self) -> Option<&str> {
        match self {
            Caller::Number(number) => Some(number),
            Caller::Unidentified => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        for text in ["+15551234567", "+1 (555) 123-4567", "+1.555.123.4567"] {
            assert_eq!(Caller::from_number(text).number(), Some("+15551234567"), "{text}");
        }
        for text in
            ["", "anonymous", "Restricted", "+266696687", "sip:+15551234567@x", "12", "+1555123456789012", "١٢٣٤٥"]
        {
            assert_eq!(Caller::from_number(text), Caller::Unidentified, "{text}");
        }
    }

    #[test]
    fn the_caller_is_the_remote_party() {
        let cases = [
            (
                r#"{"call":{"call_id":"c","type":"phone","direction":"inbound","from":"+111111","to":"+222222"}}"#,
                Some("+111111"),
                Some("+222222"),
            ),
            (
                r#"{"call":{"call_id":"c","type":"phone","direction":"outbound","from":"+111111","to":"+222222"}}"#,
                Some("+222222"),
                Some("+111111"),
            ),
            (
                r#"{"call":{"call_id":"c","type":"sip","direction":"inbound","from":"sip:a@b","to":"+222222"}}"#,
                None,
                Some("+222222"),
            ),
            (
                r#"{"call":{"call_id":"c","type":"webrtc","direction":"inbound","from":"+111111","to":"x"}}"#,
                None,
                Some("x"),
            ),
            (r#"{"call_id":"c"}"#, None, None),
        ];
        for (body, caller, called) in cases {
            let parsed = json::parse(body.as_bytes()).unwrap();
            let facts = facts_of_fetch(&parsed);
            assert_eq!((facts.call_id, facts.caller.number(), facts.called), (Some("c"), caller, called), "{body}");
        }
    }

    #[test]
    fn a_message_is_a_call_too() {
        let body = json::parse(
            br#"{"message":{"message_id":"m","direction":"inbound","type":"sms","from":"+111111","to":"+2"}}"#,
        )
        .unwrap();
        let facts = facts_of_fetch(&body);
        assert_eq!((facts.call_id, facts.caller.number()), (Some("m"), Some("+111111")));
    }

    #[test]
    fn call_ids_are_where_the_protocol_says() {
        let cases = [
            (Kind::Tool, r#"{"call_id":"a","conversation_id":"b"}"#, vec!["a", "b"]),
            (Kind::Tool, r#"{"channel_data":{"call_id":"a"}}"#, vec!["a"]),
            (Kind::Tool, r#"{"call_id":"a","channel_data":{"call_id":"b"}}"#, vec!["a"]),
            (Kind::Debug, r#"{"call_id":"b","call_info":{"call_id":"a"}}"#, vec!["a"]),
            (Kind::Swml, r#"{"call_id":"b","call":{"call_id":"a"}}"#, vec!["a"]),
            (Kind::Debug, r#"{"call_info":{"call_id":"a"}}"#, vec!["a"]),
            (
                Kind::Swml,
                r#"{"call":{"call_id":"a","parent":{"call_id":"p"},"peer":{"call_id":"q"}}}"#,
                vec!["a", "p", "q"],
            ),
            (Kind::Callback, r#"{"params":{"call_id":"a"}}"#, vec!["a"]),
            (Kind::Tool, r#"{"call_id":"","call":{"call_id":"a"}}"#, vec![]),
            (Kind::Tool, r#"{"call_id":7}"#, vec![]),
        ];
        for (kind, body, expected) in cases {
            assert_eq!(call_ids(&json::parse(body.as_bytes()).unwrap(), kind), expected, "{body}");
        }
    }
}
