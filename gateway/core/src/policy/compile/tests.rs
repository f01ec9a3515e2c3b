use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    basic::{Check, Credentials},
    keys::MacKey,
    policy::{
        Authentication, BodyLimits, Expose, Exposed, ExposedPath, Limit, LimitRule, Per, Required, Sentences, Timeouts,
        TokenRules, Unbound, UnidentifiedCallers, UrlCredentials,
    },
    sanitize::SensitiveNames,
};

mod functions;

const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$Jj3HHfVBGsHkrvzcgRvwqw";

fn secrets() -> HashMap<String, Secret> {
    let pairs = [
        ("AGENT_USER", "agent"),
        ("AGENT_PASSWORD", "sesame"),
        ("LONG", "a password of some length/@"),
        ("SHORT", "fifteen bytes.."),
        ("EMPTY", ""),
        ("SIGNING", "PSKtest1234567890abcdef"),
        ("SIGNING_BEFORE", "PSKtest0000000000abcdef"),
        ("SIGNALWIRE_SIGNING_KEY", "PSKtest1234567890abcdef"),
        ("signing.txt", "PSKtest2222222222abcdef"),
        ("NEWLINE", "a password of some length\n"),
        ("COLON", "a:b"),
        ("HASH", HASH),
        ("password.txt", "another password of some length"),
        ("empty.txt", ""),
        ("SWML_BASIC_AUTH_USER", "signalwire"),
        ("SWML_BASIC_AUTH_PASSWORD", "of the agent"),
        ("GATEWAY_PASSWORD", "of the platform, now"),
        ("GATEWAY_PASSWORD_BEFORE", "of the platform, before"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), Secret::new(value))).into()
}

fn seed() -> Seed {
    Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new("generated") }
}

fn compiled(text: &str) -> Result<Agent, Vec<String>> {
    compile("p.yaml", text, &secrets(), &seed())
        .map_err(|mistakes| mistakes.iter().map(|m| m.to_string().trim_start_matches("p.yaml:").to_owned()).collect())
}

/// A policy with the two keys that are required, and this behind them.
fn agent(more: &str) -> Agent {
    let text = format!("agent: bank\nupstream: {{ url: http://127.0.0.1:3000 }}\n{more}");
    compiled(&text).unwrap_or_else(|mistakes| panic!("{more}: {mistakes:?}"))
}

/// The same with this within `upstream`.
fn upstream(url: &str, more: &str) -> crate::policy::Upstream {
    let text = format!("agent: bank\nmatch: {{ path: /bank }}\nupstream:\n  url: {url}\n  {more}\n");
    compiled(&text).unwrap_or_else(|mistakes| panic!("{url} {more}: {mistakes:?}")).upstream
}

fn accepts(agent: &Agent, username: &str, password: &str) -> bool {
    let credentials = Credentials { username: username.into(), password: Secret::new(password) };
    match agent.platform.users.check(&credentials, |_| false) {
        Check::Accepted => true,
        Check::Refused => false,
        Check::Slow(slow) => slow.run().is_some(),
    }
}

// === what the keys do ===

#[test]
fn absent_keys_have_their_defaults() {
    let agent = agent("");
    assert_eq!((agent.name.as_str(), agent.path.as_str(), &agent.host), ("bank", "", &None));
    assert_eq!(agent.upstream.timeouts, Timeouts::default());
    assert!(agent.upstream.credentials.is_none() && agent.upstream.aliases.is_empty());
    assert_eq!(agent.tokens, TokenRules::default());
    assert_eq!(agent.unidentified_callers, UnidentifiedCallers::PerCall);
    assert_eq!(agent.limits, []);
    assert_eq!(agent.say, Sentences::default());
    assert_eq!(agent.sensitive, SensitiveNames::with([]));
    assert_eq!(agent.expose, Expose::default());
    assert_eq!(agent.bodies, BodyLimits::default());
    assert!(agent.platform.uses_generated_password && accepts(&agent, "signalwire", "generated"));
    assert!(matches!(agent.platform.url_credentials, UrlCredentials::PerCall));
}

#[test]
fn match_says_where_an_agent_is_published() {
    let published = |text: &str| {
        let agent = agent(&format!("match: {text}"));
        (agent.path, agent.host)
    };
    assert_eq!(published("{ path: / }"), (String::new(), None));
    assert_eq!(published("{ path: /a/b-c_d.e }"), ("/a/b-c_d.e".into(), None));
    assert_eq!(published("{ host: Agents.Example.COM. }"), (String::new(), Some("agents.example.com".into())));
    assert_eq!(published("{ host: '[::1]' }"), (String::new(), Some("[::1]".into())));
}

#[test]
fn the_upstream_url_says_where_an_agent_is() {
    for (url, https, host, port, path) in [
        ("http://127.0.0.1:3000", false, "127.0.0.1", 3000, "/bank"),
        ("http://127.0.0.1:3000/", false, "127.0.0.1", 3000, ""),
        ("http://127.0.0.1:3000/held", false, "127.0.0.1", 3000, "/held"),
        ("https://Agent.Internal", true, "agent.internal", 443, "/bank"),
        ("http://agent", false, "agent", 80, "/bank"),
        ("http://[2001:db8::1]:81/x", false, "2001:db8::1", 81, "/x"),
    ] {
        let upstream = upstream(url, "");
        let found = (upstream.https, upstream.host.as_str(), upstream.port, upstream.path.as_str());
        assert_eq!(found, (https, host, port, path), "{url}");
    }
}

#[test]
fn the_agents_own_credentials() {
    for more in ["username: agent", "username_env: AGENT_USER"] {
        let credentials = upstream("http://a", &format!("{more}\n  password_env: AGENT_PASSWORD")).credentials.unwrap();
        assert_eq!(credentials.username, "agent", "{more}");
        assert_eq!(credentials.password.expose_str(), Some("sesame"));
        assert_eq!(credentials.header.expose_str(), Some("Basic YWdlbnQ6c2VzYW1l"));
    }
    let credentials = upstream("http://a", "username: agent\n  password_file: password.txt").credentials.unwrap();
    assert_eq!(credentials.password.expose_str(), Some("another password of some length"));
}

#[test]
fn aliases_and_timeouts() {
    let upstream = upstream(
        "http://a",
        "aliases: [https://Old.example.com, http://b:8080/]\n  timeouts: { connect: 1s, answer: 2s, exchange: 3s }",
    );
    let alias = |host: &str, port| Authority { host: host.into(), port };
    assert_eq!(upstream.aliases, [alias("old.example.com", None), alias("b", Some(8080))]);
    let [connect, answer, exchange] = [1, 2, 3].map(Duration::from_secs);
    assert_eq!(upstream.timeouts, Timeouts { connect, answer, exchange });
}

#[test]
fn users_of_the_gateway() {
    let agent = agent(&format!(
        "platform:\n  users:\n    - {{ username: a, password_env: LONG }}\n    - {{ username: b, password_file: password.txt }}\n    \
         - {{ username: c, password_hash: {HASH:?} }}\n    - {{ username: d, password_hash_env: HASH }}\n"
    ));
    assert!(!agent.platform.uses_generated_password);
    assert!(accepts(&agent, "a", "a password of some length/@"));
    assert!(accepts(&agent, "b", "another password of some length"));
    assert!(!accepts(&agent, "signalwire", "generated") && !accepts(&agent, "a", "generated"));
    for hashed in ["c", "d"] {
        let credentials = Credentials { username: hashed.into(), password: Secret::new("x") };
        assert!(matches!(agent.platform.users.check(&credentials, |_| false), Check::Slow(_)));
    }
}

#[test]
fn static_credentials_in_urls_are_the_first_users() {
    for (users, expected) in [
        (
            "users: [{ username: 'a b', password_env: LONG }, { username: c, password_env: LONG }]",
            "a%20b:a%20password%20of%20some%20length%2F%40",
        ),
        ("", "signalwire:generated"),
    ] {
        let agent = agent(&format!("platform:\n  insecure_static_url_credentials: true\n  {users}\n"));
        let UrlCredentials::Static(pair) = agent.platform.url_credentials else { panic!("{users}") };
        assert_eq!(pair.expose_str(), Some(expected));
    }
}

#[test]
fn signatures_have_keys_and_say_where_they_are_asked_for() {
    let signing = |more: &str| agent(&format!("platform: {{ {more} }}")).platform.signing.unwrap();
    let both = signing("signing_keys_env: [SIGNING, SIGNING_BEFORE]");
    assert_eq!((both.keys.len(), both.required, both.allows_get), (2, Required::Swml, false));
    for (word, required) in [("swml", Required::Swml), ("all", Required::All), ("if_present", Required::Nothing)] {
        assert_eq!(signing(&format!("signing_keys_file: [signing.txt], signature: {word}")).required, required);
    }
    assert!(signing("signing_keys_env: [SIGNING], insecure_unsigned_get: true").allows_get);
    assert!(agent("").platform.signing.is_none());

    let of_upstream = upstream("http://a", "signing_key_env: SIGNING").signing.unwrap();
    assert_eq!(of_upstream.base, None);
    let of_upstream =
        upstream("http://a", "signing_key_file: signing.txt\n  signing_base: https://b/c/").signing.unwrap();
    assert_eq!(of_upstream.base.as_deref(), Some("https://b/c"));
}

#[test]
fn tokens_and_callers() {
    let [hour, second, minute] = [3600, 1, 60].map(Duration::from_secs);
    assert_eq!(
        agent("tokens: { lifetime: 1h, chat_lifetime: 168h, grace: 1s, ended_grace: 1m, bind_within: 1m }").tokens,
        TokenRules {
            lifetime: hour,
            chat_lifetime: 168 * hour,
            grace: second,
            ended_grace: minute,
            unbound: Unbound::Bind(minute)
        }
    );
    assert_eq!(agent("tokens: { unbound: deny }").tokens.unbound, Unbound::Deny);
    assert_eq!(agent("tokens: { grace: 0s }").tokens.grace, Duration::ZERO);
    for (word, rule) in [("per_call", UnidentifiedCallers::PerCall), ("shared", UnidentifiedCallers::Shared)] {
        assert_eq!(agent(&format!("callers: {{ unidentified: {word} }}")).unidentified_callers, rule);
    }
}

#[test]
fn limits_say_whose_how_many_and_how_fast() {
    let limits =
        agent("limits:\n- { per: caller, allow: 10, every: 1m }\n- { per: call, allow: 3, every: 500ms, burst: 1 }")
            .limits;
    let limit = |per, allow, every, burst| {
        let limit = Limit { per, allow, every: Duration::from_millis(every), burst };
        LimitRule { limit, is_shadow: false }
    };
    assert_eq!(limits, [limit(Per::CALLER, 10, 60_000, 10), limit(Per::CALL, 3, 500, 1)]);
    assert_eq!(agent("limits: []").limits, []);
    let per =
        |per: &str| agent(&format!("limits: [{{ per: {per}, allow: 1, every: 1s, mode: shadow }}]")).limits[0].clone();
    assert_eq!(per("agent").limit.per, Per::default());
    let both = Per { function: true, ..Per::CALLER };
    assert_eq!((per("[caller, function]").limit.per, per("agent").is_shadow), (both, true));
}

#[test]
fn sentences_names_paths_and_sizes() {
    let say = agent("say: { limited: a, expired: b, ended: c, disabled: f, slow: d, unavailable: \"e: é\" }").say;
    let [limited, expired, ended, disabled, slow, unavailable] = ["a", "b", "c", "f", "d", "e: é"].map(str::to_owned);
    assert_eq!(say, Sentences { limited, expired, ended, disabled, slow, unavailable, ..Sentences::default() });

    assert_eq!(agent("routing_callbacks: [/sip, /a/b]").routing_callbacks, ["/sip", "/a/b"]);

    let sensitive = agent("sensitive: [to_account]").sensitive;
    assert!(sensitive.contains("TO_ACCOUNT") && sensitive.contains("pin") && !sensitive.contains("amount"));

    let expose = agent("expose: [health, /mcp, '/files/*']\nhealth_path: /ready").expose;
    let paths = [ExposedPath::Exact("/mcp".into()), ExposedPath::Below("/files/".into())];
    let paths = paths.map(|path| Exposed::plain(path).into()).into();
    assert_eq!(expose, Expose { health: Some("/ready".into()), paths });
    assert_eq!(agent("expose: [health]").expose.health.as_deref(), Some("/health"));

    let bodies = agent("bodies: { request: 2KiB, callback: 3KiB, response: 4KiB }").bodies;
    assert_eq!(bodies, BodyLimits { request: 2048, callback: 3072, response: 4096 });
}

#[test]
fn an_exposed_path_may_be_streamed_and_left_to_the_agent() {
    let only = |text: &str| agent(&format!("expose: [{text}]")).expose.paths[0].as_ref().clone();
    let chat = || ExposedPath::Below("/chat/".into());
    assert_eq!(only("{ path: /chat/* }"), Exposed::plain(chat()));
    assert!(only("{ path: /chat/*, streaming: true }").streaming);
    assert_eq!(only("{ path: /chat/, body: 2KiB }").body, Some(2048));

    let minute = Duration::from_secs(60);
    let limit = Limit { per: Per::ADDRESS, allow: 30, every: minute, burst: 30 };
    let limit = LimitRule { limit, is_shadow: false };
    let limits = "limits: [{ per: address, allow: 30, every: 1m }]";
    assert_eq!(only(&format!("{{ path: /a, {limits} }}")).limits, std::slice::from_ref(&limit));
    let headers = "request_headers: [X-Chat-Handle], response_headers: [X-Chat-Handle, X-B]";
    let open = only(&format!("{{ path: /chat/*, authentication: agent, {headers}, {limits} }}"));
    let expected = Exposed {
        path: chat(),
        authentication: Authentication::Agent,
        streaming: true,
        request_headers: vec!["x-chat-handle".into()],
        response_headers: vec!["x-chat-handle".into(), "x-b".into()],
        limits: vec![limit],
        body: Some(64 << 10),
    };
    assert_eq!(open, expected);
}

#[test]
fn the_item_that_says_most_of_a_path_counts() {
    let expose = agent("expose: [/a/*, { path: /a/b/*, streaming: true }, /a/b/c]").expose;
    let found = |below: &str| expose.find(below).map(|item| item.path.as_str());
    assert_eq!(
        ["/a/x", "/a/b/x", "/a/b/c", "/a/b", "/a"].map(found),
        [Some("/a/"), Some("/a/b/"), Some("/a/b/c"), Some("/a/"), None]
    );
}

// === what is wrong, and where ===

#[test]
fn each_mistake_has_its_place_and_its_words() {
    let head = "agent: bank\nupstream: { url: http://a }\n";
    let cases = [
        ("match: { path: bank }", "3:16: `path`: the path `bank` must start with `/`"),
        ("match: { path: /bank/ }", "3:16: `path`: the path `/bank/` must not end in `/`"),
        ("match: { path: /a//b }", "3:16: `path`: the path `/a//b` must not hold `//`"),
        ("match: { path: /a/../b }", "3:16: `path`: the path `/a/../b` must not hold `.` or `..` as a segment"),
        ("match: { path: /a%62 }", "3:16: `path`: the path `/a%62` must not hold any of `?#%*\\`"),
        ("match: { path: '/a?b' }", "3:16: `path`: the path `/a?b` must not hold any of `?#%*\\`"),
        ("match: { path: /a b }", "3:16: `path`: the path `/a b` must hold visible ASCII characters only"),
        ("match: { path: /é }", "3:16: `path`: the path `/é` must hold visible ASCII characters only"),
        ("match: { path: /.root/x }", "3:16: `path`: `/.root` is the gateway's own; choose another path"),
        (
            "match: { host: 'a:80' }",
            "3:16: `host`: `a:80` is no host; write it like `agents.example.com`, without scheme and port",
        ),
        (
            "match: { host: https://a }",
            "3:16: `host`: `https://a` is no host; write it like `agents.example.com`, without scheme and port",
        ),
        (
            "match: { host: '' }",
            "3:16: `host`: `` is no host; write it like `agents.example.com`, without scheme and port",
        ),
        ("match: { pth: /a }", "3:10: unknown key `pth`; did you mean `path`?"),
        ("limit: []", "3:1: unknown key `limit`; did you mean `limits`?"),
        ("limits: [{ per: caller, allow: 10 }]", "3:10: `every` is missing"),
        (
            "limits: [{ per: callers, allow: 10, every: 1m }]",
            "3:17: `per`: must be `caller` or `call` or `function` or `address` or `agent`, not `callers`",
        ),
        (
            "limits: [{ per: [agent, call], allow: 10, every: 1m }]",
            "3:17: `per` names one of these or several, and `agent`, which is all of its requests, alone",
        ),
        ("limits: [{ per: call, allow: 0, every: 1m }]", "3:30: `allow` is 0; it must be from 1 to 1000000"),
        (
            "limits: [{ per: call, allow: 1, every: 60 }]",
            "3:40: `every` needs a unit: `60s` for seconds, `60m` for minutes",
        ),
        ("limits: [{ per: call, allow: 1, every: 25h }]", "3:40: `every` is `25h`; it must be from 1ms to 24h"),
        ("limits: [{ per: call, allow: 1, every: 1m, burst: 0 }]", "3:51: `burst` is 0; it must be from 1 to 1000000"),
        ("tokens: { unbound: allow }", "3:20: `unbound`: must be `bind` or `deny`, not `allow`"),
        (
            "tokens: { unbound: deny, bind_within: 1m }",
            "3:26: `bind_within` is read only with `unbound: bind`; remove one of them",
        ),
        ("tokens: { lifetime: 25h }", "3:21: `lifetime` is `25h`; it must be from 1s to 24h"),
        ("tokens: { bind_within: 2h }", "3:24: `bind_within` is `2h`; it must be from 1s to 1h"),
        ("callers: { unidentified: deny }", "3:26: `unidentified`: must be `per_call` or `shared`, not `deny`"),
        ("say: { limited: '' }", "3:17: `limited`: there is nothing to say; write a sentence or remove the key"),
        ("say: { slow: \"a\\nb\" }", "3:14: `slow`: a sentence must be on one line, without control characters"),
        (
            "sensitive: ['']",
            "3:13: an item of `sensitive`: the name of an argument has 1 to 128 bytes and no control characters",
        ),
        ("expose: [helth]", "3:10: an item of `expose`: the path `helth` must start with `/`"),
        (
            "expose: [/*]",
            "3:10: an item of `expose`: `/*` would expose the whole agent, or its SWML; name single paths",
        ),
        (
            "platform: { signing_keys_env: [] }",
            "3:31: `signing_keys_env` must list a key; without the key, no signature is checked",
        ),
        (
            "platform: { signing_keys_env: [SHORT] }",
            "3:32: `signing_keys_env`: the key has 15 bytes; at least 16 are needed",
        ),
        (
            "platform: { signing_keys_env: [NEWLINE] }",
            "3:32: `signing_keys_env`: the key holds a control character, perhaps a newline at its end",
        ),
        ("platform: { signing_keys_env: [LONG, LONG] }", "3:38: `signing_keys_env` lists one key twice; remove one"),
        (
            "platform: { signature: all }",
            "3:13: `signature` is read only beside `signing_keys_env` or `signing_keys_file`; add one or remove this",
        ),
        (
            "platform: { insecure_unsigned_get: true }",
            "3:13: `insecure_unsigned_get` is read only beside `signing_keys_env` or `signing_keys_file`; add one or remove this",
        ),
        (
            "platform: { signing_keys_env: [LONG], signature: if_present, insecure_unsigned_get: true }",
            "3:62: `insecure_unsigned_get` is read only where signatures are required; remove it",
        ),
        ("routing_callbacks: [/]", "3:21: an item of `routing_callbacks`: `/` is the agent's own document; remove it"),
        (
            "routing_callbacks: [/swaig]",
            "3:21: an item of `routing_callbacks`: `/swaig` is reachable with its token, and only so; remove it",
        ),
        ("expose: [/]", "3:10: an item of `expose`: `/` would expose the whole agent, or its SWML; name single paths"),
        ("expose: [/.root/*]", "3:10: an item of `expose`: `/.root/*` is the whole of the agent; name what is meant"),
        (
            "expose: [/swaig/*]",
            "3:10: an item of `expose`: `/swaig/*` is reachable with its token, and only so; remove it",
        ),
        (
            "expose: [health, /health]",
            "3:9: `health` answers at `/health`, which can't be passed on too; keep one of them",
        ),
        (
            "expose: [/debug_events]",
            "3:10: an item of `expose`: `/debug_events` is reachable with its token, and only so; remove it",
        ),
        (
            "expose: [{ path: /a, authentication: agent }]",
            "3:10: with `authentication: agent` anyone can ask; add `limits: [{ per: address, allow: 30, every: 1m }]`",
        ),
        (
            "expose: [{ path: /a, authentication: agent, streaming: false, limits: [{ per: address, allow: 1, every: 1s }] }]",
            "3:56: with `authentication: agent` answers always pass as they come; remove `streaming: false`",
        ),
        (
            "expose: [{ path: /MCP/*, authentication: agent, limits: [{ per: address, allow: 1, every: 1s }] }]",
            "3:18: `/MCP/` is answered without authentication by agents; it needs the gateway's",
        ),
        (
            "expose: [{ path: /check_for_input, authentication: agent, limits: [{ per: address, allow: 1, every: 1s }] }]",
            "3:18: `/check_for_input` is answered without authentication by agents; it needs the gateway's",
        ),
        (
            "expose: [{ path: /swaig, streaming: true }]",
            "3:18: `path`: `/swaig` is reachable with its token, and only so; remove it",
        ),
        (
            "expose: [{ path: /a, authentication: none }]",
            "3:38: `authentication`: must be `gateway` or `agent`, not `none`",
        ),
        ("expose: [{ streaming: true }]", "3:10: `path` is missing"),
        ("expose: [{ path: health }]", "3:18: `path`: the path `health` must start with `/`"),
        (
            "expose: [{ path: /a, limits: [{ per: caller, allow: 1, every: 1s }] }]",
            "3:38: `per`: must be `address`, not `caller`",
        ),
        (
            "expose: [{ path: /a, request_headers: [X-A] }]",
            "3:22: `request_headers` is read only with `streaming: true`; add that or remove this",
        ),
        (
            "expose: [{ path: /a, streaming: true, response_headers: [Set-Cookie] }]",
            "3:58: an item of `response_headers`: `Set-Cookie` never passes through the gateway; remove it",
        ),
        (
            "expose: [{ path: /a, streaming: true, request_headers: [X-Forwarded-For] }]",
            "3:57: an item of `request_headers`: `X-Forwarded-For` never passes through the gateway; remove it",
        ),
        (
            "expose: [{ path: /a, streaming: true, request_headers: ['a b'] }]",
            "3:57: an item of `request_headers`: `a b` is no name of a header",
        ),
        ("expose: [/a, { path: /a, streaming: true }]", "3:14: `/a` is exposed twice, and not in one way; keep one"),
        ("expose: [{ path: /a, body: 100MiB }]", "3:28: `body` is `100MiB`; it must be from 1KiB to 64MiB"),
        ("expose: [/a*]", "3:10: an item of `expose`: the path `/a*` must not hold any of `?#%*\\`"),
        (
            "health_path: /health",
            "3:1: `health_path` is read only where `expose` lists `health`; add that or remove this",
        ),
        ("bodies: { request: 1000 }", "3:20: `request` needs a unit: `1000KiB`, `1000MiB`, or `1000B` for bytes"),
        ("bodies: { request: 1GiB }", "3:20: `request` is `1GiB`; it must be from 1KiB to 64MiB"),
        ("platform: { users: [] }", "3:20: `users` must list a user; without the key, a password is made at start"),
        ("platform: { users: [{ password_env: LONG }] }", "3:21: `username` is missing"),
        (
            "platform: { users: [{ username: a }] }",
            "3:21: a user needs one of password_env, password_file, password_hash, password_hash_env",
        ),
        (
            "platform: { users: [{ username: call, password_env: LONG }] }",
            "3:33: `username`: `call` is the gateway's own user; choose another name",
        ),
        (
            "platform: { users: [{ username: 'a:b', password_env: LONG }] }",
            "3:33: `username`: a user name must not be empty nor hold a colon or a control character",
        ),
        (
            "platform: { users: [{ username: a, password_env: NOBODY }] }",
            "3:36: `password_env`: the environment variable `NOBODY` is not set",
        ),
        (
            "platform: { users: [{ username: a, password_env: EMPTY }] }",
            "3:36: `password_env`: the environment variable `EMPTY` is empty",
        ),
        (
            "platform: { users: [{ username: a, password_env: SHORT }] }",
            "3:36: `password_env`: the password has 15 bytes; at least 16 are needed",
        ),
        (
            "platform: { users: [{ username: a, password_env: NEWLINE }] }",
            "3:36: `password_env`: the password holds a control character, perhaps a newline at its end",
        ),
        (
            "platform: { users: [{ username: a, password_file: none.txt }] }",
            "3:36: `password_file`: the file `none.txt` can't be used: there is none",
        ),
        (
            "platform: { users: [{ username: a, password_file: empty.txt }] }",
            "3:36: `password_file`: the file `empty.txt` is empty",
        ),
        (
            "platform: { users: [{ username: a, password_hash: x }] }",
            "3:51: `password_hash`: not an argon2id hash in PHC form ($argon2id$v=19$…); `swaigate hash-password` makes one",
        ),
        (
            "platform: { users: [{ username: a, password_hash_env: LONG }] }",
            "3:36: `password_hash_env`: not an argon2id hash in PHC form ($argon2id$v=19$…); `swaigate hash-password` makes one",
        ),
        (
            "platform: { users: [{ username: a, password_env: LONG, password_hash_env: HASH }] }",
            "3:56: `password_hash_env` and `password_env` exclude each other; keep one",
        ),
        (
            "platform: { insecure_static_url_credentials: yes, users: [{ username: a, password_hash_env: HASH }] }",
            "3:46: static credentials in URLs need a first user whose password is known in plain, not as a hash",
        ),
        ("function: {}", "3:1: unknown key `function`; did you mean `functions`?"),
    ];
    let found = |more: &str| compiled(&format!("{head}{more}\n")).map(|_| ()).err().unwrap_or_default();
    let wrong: Vec<_> =
        cases.into_iter().map(|case| (case, found(case.0))).filter(|(case, found)| found != &[case.1]).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_agent_is_asked_by_tls_as_the_policy_says() {
    let plain = upstream("https://a", "").tls;
    assert!(plain.ca.is_empty() && plain.identity.is_none() && plain.server_name.is_none());
    assert!(!plain.insecure_skip_verify, "the machine's own authorities are believed, and no others");
    let more = "tls: { ca: password.txt, certificate: LONG, private_key: SHORT, server_name: agent.internal }";
    let tls = upstream("https://a", more).tls;
    let identity = tls.identity.as_ref().unwrap();
    assert_eq!(tls.ca[0].0, b"another password of some length");
    assert_eq!(identity.chain[0].0, b"a password of some length/@");
    assert_eq!(identity.private_key.expose(), b"fifteen bytes..");
    assert_eq!(tls.server_name.as_deref(), Some("agent.internal"));
    assert_ne!(tls.digest(), plain.digest());
    assert!(upstream("https://a", "tls: { insecure_skip_verify: true }").tls.insecure_skip_verify);
}

/// Secrets beside what the SDK's variables say.
struct Environment(&'static [(&'static str, &'static str)]);

impl Secrets for Environment {
    fn env(&self, name: &str) -> Option<Secret> {
        secrets().env(name)
    }

    fn file(&self, path: &str) -> Result<Secret, String> {
        secrets().file(path)
    }

    fn fallback(&self, name: &str, _: bool) -> Option<Secret> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| Secret::new(*value))
    }
}

#[test]
fn without_users_the_platform_is_who_the_sdks_variables_say() {
    const PASSWORD: (&str, &str) = ("SWML_BASIC_AUTH_PASSWORD", "a password of the environment");
    let with = |variables: &'static [(&'static str, &'static str)], more: &str| {
        let text = format!("agent: bank\nupstream: {{ url: http://a }}\n{more}");
        compile("p.yaml", &text, &Environment(variables), &seed())
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let both = with(&[PASSWORD, ("SWML_BASIC_AUTH_USER", "someone")], "").unwrap();
    assert!(accepts(&both, "someone", PASSWORD.1) && !accepts(&both, "signalwire", "generated"));
    assert!(!both.platform.uses_generated_password);
    assert!(accepts(&with(&[PASSWORD], "").unwrap(), "signalwire", PASSWORD.1), "the SDK's own default");
    let alone = with(&[("SWML_BASIC_AUTH_USER", "someone")], "").unwrap();
    assert!(alone.platform.uses_generated_password && accepts(&alone, "signalwire", "generated"));
    let listed = with(&[PASSWORD], "platform: { users: [{ username: signalwire, password_env: LONG }] }").unwrap();
    assert!(
        !accepts(&listed, "signalwire", PASSWORD.1) && accepts(&listed, "signalwire", "a password of some length/@")
    );

    let advice = "the SDK's variable is used where no `users` are listed; list them, or give it another value";
    let short = "`SWML_BASIC_AUTH_PASSWORD`: the password has 5 bytes; at least 16 are needed";
    let of = |variables, more| with(variables, more).map(drop).unwrap_err();
    assert_eq!(
        of(&[("SWML_BASIC_AUTH_PASSWORD", "short")], "platform: {}"),
        [format!("p.yaml:3:11: {short}; {advice}")]
    );
    let own = "`SWML_BASIC_AUTH_USER`: `call` is the gateway's own user; choose another name";
    assert_eq!(
        of(&[PASSWORD, ("SWML_BASIC_AUTH_USER", "call")], "platform: {}"),
        [format!("p.yaml:3:11: {own}; {advice}")]
    );
}

#[test]
fn each_mistake_about_the_upstream_has_its_place_and_its_words() {
    let cases = [
        (
            "url: http://a\n  signing_base: https://b",
            "4:3: `signing_base` is read only beside `signing_key_env` or `signing_key_file`; add one or remove this",
        ),
        (
            "url: http://a\n  signing_key_env: LONG\n  signing_base: https://u:p@b",
            "5:17: `signing_base`: the URL must not hold a user and password: what is signed never does",
        ),
        (
            "url: http://a\n  signing_key_env: SHORT",
            "4:3: `signing_key_env`: the key has 15 bytes; at least 16 are needed",
        ),
        ("url: ftp://a", "3:8: `url`: write the agent's URL, like `http://127.0.0.1:3000` or `https://agent.internal`"),
        (
            "url: http://${HOST}",
            "3:8: `url`: write the agent's URL, like `http://127.0.0.1:3000` or `https://agent.internal`",
        ),
        (
            "url: http://u:hunter2@a",
            "3:8: `url`: the URL must not hold a user and password; name them with `username` and `password_env`",
        ),
        ("url: http://a?b", "3:8: `url`: the URL must not hold a query or fragment"),
        ("url: 'http://a#b'", "3:8: `url`: the URL must not hold a query or fragment"),
        ("url: http://a:0", "3:8: `url`: nothing listens at port 0"),
        ("url: http://a/b/", "3:8: `url`: the path `/b/` must not end in `/`"),
        ("uri: http://a", "3:3: `url` is missing"),
        (
            "password: hunter2",
            "4:3: a password is never written in this file; name where it is with `password_env` or `password_file`",
        ),
        ("tls: { insecure_skip_verify: true }", "4:3: `tls` is read only where the `url` is an `https://` one"),
        ("url: https://a\n  tls: { certificate: LONG }", "4:10: `certificate` needs `private_key` beside it"),
        ("url: https://a\n  tls: { private_key: LONG }", "4:10: `private_key` needs `certificate` beside it"),
        ("url: https://a\n  tls: { ca: none.pem }", "4:10: `ca`: the file `none.pem` can't be used: there is none"),
        (
            "url: https://a\n  tls: { ca: LONG, insecure_skip_verify: true }",
            "4:10: `ca` is read only where certificates are verified; remove it, or `insecure_skip_verify`",
        ),
        (
            "url: https://a\n  tls: { server_name: 'agent.internal:3000' }",
            "4:23: `server_name`: write a host's name, like `agent.internal`, without a port",
        ),
        ("username: a", "4:3: `username` needs a password beside it: `password_env` or `password_file`"),
        ("password_env: LONG", "4:3: `password_env` needs a user beside it: `username` or `username_env`"),
        (
            "{username_env: COLON, password_env: LONG}",
            "4:3: `username_env`: a user name must not be empty nor hold a colon or a control character",
        ),
        (
            "{username: a, username_env: AGENT_USER, password_env: LONG}",
            "5:3: `username_env` and `username` exclude each other; keep one",
        ),
        (
            "aliases: [https://a/b]",
            "4:13: an item of `aliases`: an origin ends behind its host and port; remove the path, query or fragment",
        ),
        ("aliases: [a]", "4:13: an item of `aliases`: write an origin like `https://agents.example.com`"),
        ("aliases: ['https://{a}']", "4:13: an item of `aliases`: write an origin like `https://agents.example.com`"),
        ("aliases: [https://u@a]", "4:13: an item of `aliases`: an origin has no user and password"),
        ("timeouts: { answer: 120s }", "4:23: `answer` must be less than 120s, when the platform itself gives up"),
        ("timeouts: { answer: 20s, exchange: 19s }", "4:38: `exchange` must not be less than `answer`, which is 20s"),
        ("timeouts: { exchange: 1m }", "4:25: `exchange` must not be less than `answer`, which is 1m50s"),
        ("timeouts: { connect: 2m }", "4:24: `connect` is `2m`; it must be from 1ms to 1m"),
    ];
    let found = |more: &str| {
        let url = if more.starts_with("ur") { "" } else { "  url: http://a\n" };
        // A flow mapping stands for its keys, one a line.
        let lines = more.trim_matches(['{', '}']).split(", ").collect::<Vec<_>>().join("\n  ");
        let lines = if more.starts_with('{') { lines } else { more.to_owned() };
        compiled(&format!("agent: bank\nupstream:\n{url}  {lines}\n")).map(|_| ()).err().unwrap_or_default()
    };
    let wrong: Vec<_> = cases
        .into_iter()
        .map(|case| (case, found(case.0)))
        .filter(|(case, found)| found.first().map(String::as_str) != Some(case.1))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn all_mistakes_of_a_file_come_at_once() {
    let text = "\
agent: the bank
match: { path: bank }
upstream:
  url: http://u:hunter2@127.0.0.1:3000
  password: hunter2
  timeouts: { answer: 2m }
platform:
  users:
    - { username: call, password_env: NOBODY }
limits:
  - { per: caler, allow: ten, every: 60 }
say: { limitd: x }
bodies: { request: 5 }
mode: enforced
";
    let mistakes = compiled(text).unwrap_err();
    let places: Vec<String> = mistakes.iter().map(|m| m.splitn(3, ':').take(2).collect::<Vec<_>>().join(":")).collect();
    let expected =
        ["1:8", "2:16", "4:8", "5:3", "6:23", "9:19", "9:25", "11:12", "11:26", "11:38", "12:8", "13:20", "14:7"];
    assert_eq!(places, expected, "{mistakes:#?}");
    assert!(!mistakes.concat().contains("hunter2"), "{mistakes:#?}");
}

#[test]
fn what_is_required_is_missed() {
    assert_eq!(compiled("{}").unwrap_err(), ["1:1: `agent` is missing", "1:1: `upstream` is missing"]);
    assert_eq!(compiled("agent: a\nupstream: {}").unwrap_err(), ["2:11: `url` is missing"]);
}

#[test]
fn lists_are_bounded() {
    let limit = "{ per: call, allow: 1, every: 1m }";
    for (key, item, most) in [("limits", limit, 16), ("sensitive", "a", 256), ("expose", "/a", 100)] {
        let listed = |count: usize| format!("{key}: [{}]", vec![item; count].join(", "));
        let _ = agent(&listed(most));
        let mistakes = compiled(&format!("agent: a\nupstream: {{ url: http://a }}\n{}", listed(most + 1))).unwrap_err();
        assert!(mistakes[0].ends_with(&format!("has {} items; at most {most} are allowed", most + 1)), "{mistakes:?}");
    }
    let say = |length: usize| format!("say: {{ slow: {} }}", "é".repeat(length));
    let _ = agent(&say(500));
    let mistakes = compiled(&format!("agent: a\nupstream: {{ url: http://a }}\n{}", say(501))).unwrap_err();
    assert_eq!(mistakes, ["3:14: `slow`: the sentence has 501 characters; at most 500 are allowed"]);
}

// === without a file, and the shipped files ===

#[test]
fn one_url_is_enough_for_an_agent() {
    let agent = compile_for_upstream("http://us%2Fer:p%40ss:w@rd@127.0.0.1:3000/bank", &seed()).unwrap();
    assert_eq!((agent.name.as_str(), agent.path.as_str(), agent.upstream.path.as_str()), ("default", "/bank", "/bank"));
    assert_eq!((agent.upstream.host.as_str(), agent.upstream.port, agent.upstream.https), ("127.0.0.1", 3000, false));
    let credentials = agent.upstream.credentials.unwrap();
    assert_eq!((credentials.username.as_str(), credentials.password.expose_str()), ("us/er", Some("p@ss:w@rd")));
    assert_eq!(agent.limits.len(), 2);
    assert!(agent.platform.uses_generated_password);

    for url in ["https://agent", "https://agent/"] {
        let agent = compile_for_upstream(url, &seed()).unwrap();
        assert_eq!((agent.path.as_str(), agent.upstream.path.as_str(), agent.upstream.port), ("", "", 443), "{url}");
        assert!(agent.upstream.credentials.is_none());
    }
}

#[test]
fn a_wrong_url_is_refused_without_repeating_its_password() {
    for (url, expected) in [
        ("127.0.0.1:3000", "write the agent's URL, like `http://127.0.0.1:3000` or `https://agent.internal`"),
        ("http://hunter2@a", "the URL holds a user without a password"),
        ("http://u:@a", "the URL's password is empty or holds a control character"),
        ("http://u:hunter2%0a@a", "the URL's password is empty or holds a control character"),
        (
            "http://u:hunter2%zz@a",
            "the URL holds a `%` that is not followed by two hexadecimal digits; write `%25` for `%` itself",
        ),
        (
            "http://u:hunter2%é@a",
            "the URL holds a `%` that is not followed by two hexadecimal digits; write `%25` for `%` itself",
        ),
        (
            "http://u:hunter2%+1@a",
            "the URL holds a `%` that is not followed by two hexadecimal digits; write `%25` for `%` itself",
        ),
        ("http://u%3Ax:hunter2@a", "a user name must not be empty nor hold a colon or a control character"),
        ("http://u:80/hunter2@a", "the URL's path holds a `@`; in a password, write `%2F` for `/`"),
        ("http://u:hun/ter2@a", "write the agent's URL, like `http://127.0.0.1:3000` or `https://agent.internal`"),
        ("http://a/b?c", "the URL must not hold a query or fragment"),
        ("http://a/b/", "the path `/b/` must not end in `/`"),
    ] {
        let mistakes = compile_for_upstream(url, &seed()).unwrap_err();
        assert_eq!(mistakes, [Mistake::of_file("--upstream", expected)], "{url}");
    }
}

#[test]
fn public_urls_are_origins() {
    for (text, origin) in [
        ("https://Agents.example.com", "https://agents.example.com"),
        ("https://agents.example.com:443/", "https://agents.example.com"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://a:443", "http://a:443"),
    ] {
        assert_eq!(text.parse::<PublicUrl>().unwrap().origin(), origin);
    }
    for text in [
        "",
        "agents.example.com",
        "https://a/b",
        "https://a?",
        "https://a#",
        "https://u:p@a",
        "wss://a",
        "https://${A}",
    ] {
        assert!(text.parse::<PublicUrl>().is_err(), "{text}");
    }
}

#[test]
fn every_shipped_policy_compiles() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/examples");
    let folders = [examples.to_owned(), format!("{examples}/host")];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut texts: Vec<_> = files
        .filter(|path| path.file_name().unwrap() != "gateway.yaml")
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    texts.push(("default.yaml".to_owned(), default_policy().to_owned()));
    assert!(texts.len() >= 9);
    let mut secrets = secrets();
    secrets.insert("TRANSFER_CODE_KEY".to_owned(), Secret::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"));
    for name in ["RECEPTION", "SALES", "BILLING"].iter().flat_map(|it| [format!("{it}_USER"), format!("{it}_PASSWORD")])
    {
        secrets.insert(name, Secret::new("of one agent"));
    }
    for (file, text) in texts {
        if let Err(mistakes) = compile(&file, &text, &secrets, &seed()) {
            panic!("{mistakes:#?}");
        }
    }
}

#[test]
fn the_default_policy_limits_callers_as_the_guide_does() {
    let agent = compile("default.yaml", default_policy(), &secrets(), &seed()).unwrap();
    let minute = Duration::from_secs(60);
    let limit = |per, allow| LimitRule { limit: Limit { per, allow, every: minute, burst: allow }, is_shadow: false };
    assert_eq!(agent.limits, [limit(Per::CALLER, 10), limit(Per::CALL, 60)]);
}

proptest! {
    #[test]
    fn no_policy_makes_it_panic(keys in prop::collection::vec((
        prop::sample::select(vec![
            "agent", "match", "upstream", "platform", "tokens", "callers", "limits", "say", "sensitive", "expose",
            "health_path", "bodies", "- path", "  url", "  users", "  - per", "    every", "  timeouts", "  aliases",
        ]),
        "[ -~]{0,20}",
    ), 0..10)) {
        let text: String = keys.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        let _ = compiled(&text);
    }

    #[test]
    fn no_url_makes_it_panic(url in "(https?://)?[\\PC]{0,30}") {
        let _ = compile_for_upstream(&url, &seed());
    }
}
