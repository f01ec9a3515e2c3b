use super::*;

fn key(text: &str) -> SigningKey {
    SigningKey(Secret::new(text))
}

fn message<'m>(authority: &'m Authority, target: &'m str, body: &'m [u8]) -> Message<'m> {
    Message { https: true, authority, target, userinfo: None, content_type: Some("application/json"), body }
}

fn authority(host: &str, port: Option<u16>) -> Authority {
    Authority { host: host.to_owned(), port }
}

fn sha1(value: &str) -> Carried<'_> {
    Carried { sha1: Some(value.as_bytes()), sha256: None }
}

fn sha256(value: &str) -> Carried<'_> {
    Carried { sha256: Some(value.as_bytes()), sha1: None }
}

/// The three that SignalWire publishes (PROTOCOL.md, 7).
#[test]
fn published_vectors_verify() {
    let host = authority("example.ngrok.io", None);
    let body = br#"{"event":"call.state","params":{"call_id":"abc-123","state":"answered"}}"#;
    let keys = [key("another-key-of-16-bytes"), key("PSKtest1234567890abcdef")];
    let json = message(&host, "/webhook", body);
    assert_eq!(verify(&keys, sha1("c3c08c1fefaf9ee198a100d5906765a6f394bf0f"), &json), Some(Scheme::Sha1));

    let host = authority("mycompany.com", None);
    let body = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
    let form = Message {
        content_type: Some("application/x-www-form-urlencoded; charset=utf-8"),
        ..message(&host, "/myapp.php?foo=1&bar=2", body)
    };
    assert_eq!(verify(&[key("12345")], sha1("RSOYDt4T1cUTdK1PDd93/VVr8B8="), &form), Some(Scheme::Form));

    let host = authority("example.ngrok.io", None);
    let target = "/webhook?bodySHA256=69f3cbfc18e386ef8236cb7008cd5a54b7fed637a8cb3373b5a1591d7f0fd5f4";
    let json = message(&host, target, br#"{"event":"call.state"}"#);
    assert_eq!(verify(&keys, sha1("dfO9ek8mxyFtn2nMz24plPmPfIY="), &json), Some(Scheme::BodySha256));
    let other = message(&host, target, br#"{"event":"call.stat3"}"#);
    assert_eq!(verify(&keys, sha1("dfO9ek8mxyFtn2nMz24plPmPfIY="), &other), None);
}

#[test]
fn any_other_key_url_body_or_spelling_fails() {
    let (host, key) = (authority("agents.example.com", None), key("a-key-of-16-bytes"));
    let signed = sign(&key, "https://agents.example.com/bank?a=1", b"{}");
    let keys = std::slice::from_ref(&key);
    let right = message(&host, "/bank?a=1", b"{}");
    assert_eq!(verify(keys, sha256(&signed.sha256), &right), Some(Scheme::Sha256));
    assert_eq!(verify(keys, sha1(&signed.sha1), &right), Some(Scheme::Sha1));
    assert_eq!(verify(&[], sha256(&signed.sha256), &right), None);
    assert_eq!(verify(&[SigningKey(Secret::new("b"))], sha256(&signed.sha256), &right), None);
    assert_eq!(verify(keys, sha256(&signed.sha256.to_uppercase()), &right), None);
    assert_eq!(verify(keys, sha256(&signed.sha1), &right), None);
    assert_eq!(verify(keys, sha1(&signed.sha256), &right), None);
    for wrong in [
        message(&host, "/bank?a=2", b"{}"),
        message(&host, "/bank", b"{}"),
        message(&host, "/bank?a=1", b"{} "),
        message(&host, "/bank?a=1", b""),
        Message { https: false, ..right },
        Message { authority: &authority("agents.example.com", Some(8443)), ..right },
        Message { authority: &authority("agents.example.org", None), ..right },
    ] {
        assert_eq!(verify(keys, sha256(&signed.sha256), &wrong), None, "{wrong:?}");
    }
}

#[test]
fn the_weaker_signature_does_not_make_up_for_the_stronger() {
    let (host, key) = (authority("a.example", None), key("a-key-of-16-bytes"));
    let signed = sign(&key, "https://a.example/", b"{}");
    let both = Carried { sha1: Some(signed.sha1.as_bytes()), sha256: Some(b"00") };
    assert_eq!(verify(std::slice::from_ref(&key), both, &message(&host, "/", b"{}")), None);
}

#[test]
fn the_platform_may_write_its_own_url_in_several_ways() {
    let key = key("a-key-of-16-bytes");
    let verifies = |url: &str, host: &Authority, target: &str| {
        let signed = sign(&key, url, b"{}");
        let message = Message { userinfo: Some(("user", b"p@ss/1")), ..message(host, target, b"{}") };
        verify(std::slice::from_ref(&key), sha1(&signed.sha1), &message).is_some()
    };
    let plain = authority("a.example", None);
    for url in [
        "https://a.example/bank",
        "https://a.example:443/bank",
        "https://user:p%40ss%2F1@a.example/bank",
        "https://user:p@ss/1@a.example/bank",
        "https://user:p@ss/1@a.example:443/bank",
    ] {
        assert!(verifies(url, &plain, "/bank"), "{url}");
    }
    assert!(verifies("https://a.example", &plain, "/"));
    assert!(verifies("https://a.example?x=1", &plain, "/?x=1"));
    assert!(verifies("https://a.example:8443/bank", &authority("a.example", Some(8443)), "/bank"));
    assert!(!verifies("https://a.example/bank", &authority("a.example", Some(8443)), "/bank"));
    assert!(!verifies("https://other:p%40ss%2F1@a.example/bank", &plain, "/bank"));
    assert!(!verifies("https://a.example/bank/", &plain, "/bank"));
}

#[test]
fn a_forms_repeated_keys_keep_their_order() {
    assert_eq!(sorted_form(b"b=2&a=1&b=1&c="), "a1b2b1c");
    assert_eq!(sorted_form(b""), "");
    let (host, key) = (authority("a.example", None), key("a-key-of-16-bytes"));
    let body = b"b=2&a=1";
    let claimed = signature(&key, Scheme::Form, "https://a.example/x", body);
    let keys = std::slice::from_ref(&key);
    let form = Message { content_type: Some("application/x-www-form-urlencoded"), ..message(&host, "/x", body) };
    assert_eq!(verify(keys, sha1(&claimed), &form), Some(Scheme::Form));
    // What isn't a form would be signed by its URL alone.
    assert_eq!(
        verify(keys, sha1(&signature(&key, Scheme::Form, "https://a.example/x", b"")), &message(&host, "/x", b"{}")),
        None
    );
}

#[test]
fn short_keys_are_none() {
    assert!(SigningKey::new(Secret::new("a".repeat(MIN_KEY - 1))).is_none());
    assert!(SigningKey::new(Secret::new("a".repeat(MIN_KEY))).is_some());
}
