//! The verbs of SWML, by name.

/// The verbs that are known: those of the SDKs' schema, of messaging, and those that the platform takes besides.
pub const KNOWN: [&str; 47] = [
    "ai",
    "ai_sidecar",
    "amazon_bedrock",
    "answer",
    "cond",
    "connect",
    "denoise",
    "detect_machine",
    "enter_queue",
    "eval",
    "execute",
    "execute_rpc",
    "goto",
    "hangup",
    "if",
    "join_conference",
    "join_room",
    "label",
    "live_transcribe",
    "live_translate",
    "pay",
    "play",
    "prompt",
    "receive_fax",
    "record",
    "record_call",
    "reply",
    "request",
    "return",
    "send_digits",
    "send_fax",
    "send_sms",
    "set",
    "sip_refer",
    "sleep",
    "stop_denoise",
    "stop_record_call",
    "stop_stream",
    "stop_tap",
    "stop_transcribe",
    "stream",
    "switch",
    "tap",
    "transcribe",
    "transfer",
    "unset",
    "user_event",
];

/// The verb of this name, if there is one.
pub fn known(name: &str) -> Option<&'static str> {
    let place = KNOWN.binary_search(&name).ok()?;
    KNOWN.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_found_by_their_names() {
        assert!(KNOWN.is_sorted());
        assert_eq!((known("tap"), known("Tap"), known("taps")), (Some("tap"), None, None));
    }
}
