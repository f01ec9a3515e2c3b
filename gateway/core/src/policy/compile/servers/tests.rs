use std::{collections::HashMap, time::Duration};

use super::super::compile;
use crate::{
    keys::MacKey,
    policy::{BreakerRules, Ejection, HealthCheck, Seed, Server, Upstream},
    secret::Secret,
};

/// A policy with this within `upstream`.
fn compiled(more: &str) -> Result<Upstream, Vec<String>> {
    let seed = Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new("generated") };
    let text = format!("agent: bank\nupstream:\n  url: http://agent.internal:3000\n  {more}\n");
    let agent = compile("p.yaml", &text, &HashMap::<String, Secret>::new(), &seed);
    agent
        .map(|agent| agent.upstream)
        .map_err(|mistakes| mistakes.iter().map(|m| m.to_string().trim_start_matches("p.yaml:").to_owned()).collect())
}

fn upstream(more: &str) -> Upstream {
    compiled(more).unwrap_or_else(|mistakes| panic!("{more}: {mistakes:?}"))
}

fn server(host: &str, port: u16, weight: u32) -> Server {
    Server { host: host.to_owned(), port, weight }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn without_a_list_the_url_is_the_only_server() {
    let it = upstream("");
    assert_eq!(it.servers, [server("agent.internal", 3000, 1)]);
    assert_eq!((it.health, it.breaker, it.max_in_flight), (None, None, 1024));
    assert_eq!(it.eject, Ejection { failures: 5, span: 30 * SECOND, max_percent: 50 });
}

#[test]
fn servers_are_hosts_and_ports_with_weights() {
    let it = upstream("servers: [10.0.0.1, '[2001:db8::1]:3001', { address: B.internal:3002, weight: 3 }]");
    let wanted = [server("10.0.0.1", 3000, 1), server("2001:db8::1", 3001, 1), server("b.internal", 3002, 3)];
    assert_eq!(it.servers, wanted);
    assert_eq!(it.servers[1].authority(), "[2001:db8::1]:3001");
    assert_eq!((it.host.as_str(), it.host_header().as_str()), ("agent.internal", "agent.internal:3000"));
}

#[test]
fn health_ejection_and_breaker_are_read() {
    let check = "health: { path: /health?deep=1, every: 5s, timeout: 1s, healthy: 1, unhealthy: 4, expect: 204 }";
    assert_eq!(
        upstream(check).health,
        Some(HealthCheck {
            path: "/health?deep=1".to_owned(),
            every: 5 * SECOND,
            timeout: SECOND,
            healthy: 1,
            unhealthy: 4,
            expect: Some(204),
        })
    );
    let default = upstream("health: { path: /health, every: 1s }").health.unwrap();
    assert_eq!((default.timeout, default.healthy, default.unhealthy, default.expect), (SECOND, 2, 3, None));
    let eject = upstream("servers: [a, b]\n  eject: { failures: 2, for: 10s, max_percent: 0 }").eject;
    assert_eq!(eject, Ejection { failures: 2, span: 10 * SECOND, max_percent: 0 });
    assert_eq!(upstream("breaker: {}").breaker, Some(BreakerRules { failures: 10, span: 10 * SECOND }));
    let breaker = upstream("breaker: { failures: 3, for: 1m }\n  max_in_flight: 7");
    assert_eq!(breaker.breaker, Some(BreakerRules { failures: 3, span: 60 * SECOND }));
    assert_eq!(breaker.max_in_flight, 7);
}

#[test]
fn mistakes_say_where_they_are_and_what_to_write() {
    let scheme = "write a host and a port, like `10.0.0.5:3000`; scheme and path are those of `url`";
    for (more, mistake) in [
        ("servers: []", "4:12: `servers` must list a server; without the key, `url` is the only one".to_owned()),
        ("servers: [http://a:1]", format!("4:13: an item of `servers`: {scheme}")),
        ("servers: [a:1/x]", format!("4:13: an item of `servers`: {scheme}")),
        ("servers: ['u:p@a:1']", format!("4:13: an item of `servers`: {scheme}")),
        ("servers: ['a:0']", "4:13: an item of `servers`: nothing listens at port 0".to_owned()),
        ("servers: [a, 'a:3000']", "4:16: the server a:3000 is listed twice; give it a `weight` instead".to_owned()),
        ("servers: [{ weight: 2 }]", "4:13: `address` is missing".to_owned()),
        ("servers: [{ address: a, weight: 0 }]", "4:35: `weight` is 0; it must be from 1 to 100".to_owned()),
        ("health: {}", "4:11: `path` is missing".to_owned()),
        ("health: { path: health }", "4:19: `path`: write the path at the server, like `/health`".to_owned()),
        (
            "health: { path: /a b }",
            "4:19: `path`: the path holds characters that no path has; percent-encode them".to_owned(),
        ),
        (
            "health: { path: /, every: 1s, timeout: 2s }",
            "4:42: `timeout` must not be more than `every`, which is 1s".to_owned(),
        ),
        ("health: { path: /, expect: 101 }", "4:30: `expect` is 101; it must be from 200 to 599".to_owned()),
        (
            "eject: { failures: 2 }",
            "4:3: `eject` takes one of several `servers` away; list them, or remove it".to_owned(),
        ),
        ("breaker: { for: 1ms }", "4:19: `for` is `1ms`; it must be from 100ms to 1h".to_owned()),
        ("max_in_flight: 0", "4:18: `max_in_flight` is 0; it must be from 1 to 100000".to_owned()),
    ] {
        assert_eq!(compiled(more).expect_err(more), [mistake], "{more}");
    }
}
