//! Policies, a clock that stands still, and the decision from end to end: what the tests of this crate share.

#![allow(dead_code, unreachable_pub)] // each of the test crates uses its part
use std::{collections::HashMap, time::Duration};

use serde::Deserialize;
use swaigate_core::{
    basic,
    decide::{self, Admission, AgentAnswer, Answers, Check, Head, Moment, Permit, Plan},
    id::{AgentName, CallDigest, CallerDigest, DocumentId},
    keys::{Key, KeyRing, MacKey},
    orders::{Lock, LockId, Locks, Orders, Subject},
    policy::{self, Agent, Policies, Seed},
    record::Facts,
    route::Method,
    secret::Secret,
    signature::Carried,
    switches::{Origin, Scope, Switch, SwitchId, Switches, Word},
    time::Timestamp,
    token::{self, Binding, Claims, Kind},
    verdict::{Reason, Reply},
};

/// When everything happens.
pub const NOW: Timestamp = Timestamp(1_764_000_000_000);
/// The call that requests are of, unless they say otherwise.
pub const CALL: &str = "call-1";
/// Who is on the other end of it.
pub const CALLER: &str = "+15551230001";
/// The password of user `signalwire` at the gateway.
pub const PLATFORM_PASSWORD: &str = "of the platform, now";

/// A public URL and the agents behind it, as a file of `tests/golden/worlds` gives them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldFile {
    public_url: String,
    policies: Vec<String>,
    /// What the policies name with `…_env`.
    #[serde(default)]
    environment: HashMap<String, String>,
    /// What must never leave, in no document.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// The emergency switches that are on, each by its scope as audit records have it.
    #[serde(default)]
    switches: Vec<String>,
    /// Who is locked out, each as audit records have it.
    #[serde(default)]
    lockouts: Vec<String>,
}

/// A world, compiled.
pub struct World {
    pub policies: Policies,
    pub secrets: Vec<String>,
    pub orders: Orders,
}

/// A request as it comes in.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub target: String,
    pub host: String,
    pub authorization: Option<Secret>,
    pub content_length: Option<u64>,
    pub content_type: String,
    pub sha256_signature: Option<String>,
    pub signature: Option<String>,
    pub client: Option<std::net::IpAddr>,
    pub body: Vec<u8>,
    pub now: Timestamp,
}

/// A refusal: why, and what is answered.
#[derive(Debug)]
pub struct Refused {
    pub reason: Reason,
    pub reply: Box<Reply>,
    pub denial: Box<decide::Denial>,
    /// What detection asks then.
    pub watched: Vec<Check>,
}

/// A request that was let through: the permission, what it asked of the state store, and what was learned.
pub struct Passed {
    pub permit: Permit,
    pub checks: Vec<Check>,
    pub facts: Facts,
}

impl World {
    pub fn new(file: WorldFile) -> Result<Self, String> {
        let secret = |(name, value): (String, String)| (name, Secret::new(value));
        let environment: HashMap<String, Secret> = file.environment.into_iter().map(secret).collect();
        let compiled = |text: &String| {
            policy::compile("policy.yaml", text, &environment, &seed()).map_err(|mistakes| format!("{mistakes:#?}"))
        };
        let agents: Vec<Agent> = file.policies.iter().map(compiled).collect::<Result<_, _>>()?;
        let public = file.public_url.parse().map_err(|error| format!("public_url: {error}"))?;
        let policies = Policies::new(public, agents, ring()).map_err(|mistakes| mistakes.join("\n"))?;
        let switches = (0..).zip(&file.switches).map(|(id, scope)| switch(id, scope)).collect::<Result<Vec<_>, _>>()?;
        let switches = Switches::new(switches, policies.keys()).map_err(|error| error.to_string())?;
        let locks = (0..).zip(&file.lockouts).map(|(id, subject)| lock(id, subject)).collect::<Result<Vec<_>, _>>()?;
        let locks = Locks::new(locks, policies.keys()).map_err(|error| error.to_string())?;
        let orders = Orders { switches: switches.into(), locks: locks.into() };
        Ok(Self { policies, secrets: file.secrets, orders })
    }

    /// `tests/golden/worlds/bank.yaml`.
    pub fn bank() -> Self {
        Self::bank_with("")
    }

    /// The same with one more line of the bank's policy.
    pub fn bank_with(more: &str) -> Self {
        let file = include_str!("../../../../tests/golden/worlds/bank.yaml");
        let file = file.replace("    sensitive: [to_account]\n", &format!("    sensitive: [to_account]\n    {more}\n"));
        Self::new(serde_yaml::from_str(&file).expect("a world")).expect("policies")
    }

    pub fn agent(&self, name: &str) -> &Agent {
        let name: AgentName = name.parse().expect("an agent's name");
        self.policies.agent(&name).expect("an agent of this world")
    }

    /// Runs a request through all steps before the agent; the state store has nothing against it.
    pub fn ask(&self, request: &Request) -> Result<Passed, Refused> {
        let mut facts = Facts::default();
        let plan = self.plan(request, &mut facts).map_err(|refused| self.watched(refused, request, &facts))?;
        let checks = plan.questions().iter().map(|question| question.check.clone()).collect();
        let permit = decide::conclude(plan, Answers::default(), &mut facts).map_err(refused)?;
        Ok(Passed { permit, checks, facts })
    }

    fn watched(&self, refused: Refused, request: &Request, facts: &Facts) -> Refused {
        let asked = decide::of_refusal(&refused.denial, &self.policies, request.client, request.now, facts);
        Refused { watched: asked.into_iter().map(|question| question.check).collect(), ..refused }
    }

    /// The steps up to the state store.
    pub fn plan(&self, request: &Request, facts: &mut Facts) -> Result<Plan, Refused> {
        let head = Head {
            method: request.method,
            target: &request.target,
            host: &request.host,
            authorization: request.authorization.as_ref().map(Secret::expose),
            content_length: request.content_length,
            content_type: Some(&request.content_type),
            signatures: Carried {
                sha256: request.sha256_signature.as_deref().map(str::as_bytes),
                sha1: request.signature.as_deref().map(str::as_bytes),
            },
            client: request.client,
        };
        let admitted =
            match decide::admit(&self.policies, &self.orders, &head, request.now, |_| false, facts).map_err(refused)? {
                Admission::Admitted(admitted) => admitted,
                Admission::Pending(pending) => pending.verify(facts).0.map_err(refused)?,
            };
        let moment = Moment { now: request.now, document: Some(DOCUMENT) };
        decide::judge(admitted, &self.policies, &self.orders, &request.body, &moment, facts).map_err(refused)
    }

    /// What leaves of an agent's answer.
    pub fn release(&self, permit: &Permit, body: &[u8], facts: &mut Facts) -> Result<Reply, Refused> {
        self.release_answer(permit, &answer(200, body), facts)
    }

    /// The same for an answer that is more than a body.
    pub fn release_answer(
        &self,
        permit: &Permit,
        answer: &AgentAnswer<'_>,
        facts: &mut Facts,
    ) -> Result<Reply, Refused> {
        decide::release(permit, &self.policies, answer, facts).map(|released| released.reply).map_err(refused)
    }
}

/// A switch of this scope: `all`, `agent bank`, `function bank/transfer_funds`, `caller +15551230001`, the same `at bank`.
fn switch(id: u64, scope: &str) -> Result<Switch, String> {
    let wrong = || format!("no scope: {scope}");
    let agent = |name: &str| name.parse::<AgentName>().map_err(|_| wrong());
    let of = match scope.split(' ').collect::<Vec<_>>()[..] {
        ["all"] => Scope::All,
        ["agent", name] => Scope::Agent(agent(name)?),
        ["function", name] => {
            let (name, function) = name.split_once('/').ok_or_else(wrong)?;
            Scope::Function(agent(name)?, function.parse().map_err(|_| wrong())?)
        }
        ["caller", number] => Scope::caller(number, None).map_err(|_| wrong())?,
        ["caller", number, "at", name] => Scope::caller(number, Some(agent(name)?)).map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    assert_eq!(of.to_string(), scope);
    let word = Word::new("ann", "a test").expect("words");
    let id = SwitchId(id.to_be_bytes());
    Ok(Switch { id, scope: of, word, since: NOW, until: None, origin: Origin::Operator })
}

/// A lockout of `address 192.0.2.0/24`, `caller +15551230001` or `user signalwire`.
fn lock(id: u64, subject: &str) -> Result<Lock, String> {
    let (kind, name) = subject.split_once(' ').ok_or_else(|| format!("nobody: {subject}"))?;
    let of = match kind {
        "address" => Subject::address(name),
        "caller" => Subject::caller(name),
        _ => Subject::user(name),
    };
    let of = of.map_err(|error| error.to_string())?;
    assert_eq!(of.to_string(), subject);
    let word = Word::new("ann", "a test").expect("words");
    Ok(Lock { id: LockId(id.to_be_bytes()), subject: of, word, since: NOW, until: None })
}

/// What an agent says with this status and body.
pub fn answer(status: u16, body: &[u8]) -> AgentAnswer<'_> {
    AgentAnswer { status, content_type: Some("application/json"), content_encoding: None, location: None, body }
}

/// The document that is made now.
pub const DOCUMENT: DocumentId = DocumentId([0xd0; 16]);

fn refused(denial: decide::Denial) -> Refused {
    Refused { reason: denial.reason, reply: Box::new(denial.reply()), denial: Box::new(denial), watched: Vec::new() }
}

/// What policies are compiled with.
pub fn seed() -> Seed {
    Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new(PLATFORM_PASSWORD) }
}

/// The newest key, and one that is still listed.
pub fn ring() -> KeyRing {
    KeyRing::new(vec![key("new"), key("old")]).expect("keys that can be told apart")
}

/// The key of this id; only `new` and `old` are listed.
pub fn key(id: &str) -> Key {
    let byte = id.bytes().fold(0, u8::wrapping_add);
    Key::new(id, &Secret::new([byte; 32])).expect("a long key")
}

impl Request {
    /// What the platform asks, with the password that its operator configured.
    pub fn of_platform(method: Method, target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method,
            target: target.to_owned(),
            host: "agents.example.com".to_owned(),
            authorization: Some(basic::header("signalwire", PLATFORM_PASSWORD.as_bytes())),
            content_length: None,
            content_type: "application/json".to_owned(),
            sha256_signature: None,
            signature: None,
            client: None,
            body: body.into(),
            now: NOW,
        }
    }
}

// === tokens ===

/// What a token is minted for, in a test's own words.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub kind: Kind,
    pub function: String,
    pub agent: String,
    /// Path and query on the agent.
    pub target: String,
    pub key: String,
    pub claims: Claims,
}

impl Wanted {
    pub fn new(kind: Kind, function: &str, agent: &str, target: &str) -> Self {
        let issued = NOW.unix_seconds();
        let claims = Claims {
            kind,
            document: DOCUMENT,
            call: Some(key("new").call(CALL)),
            caller: Some(key("new").caller(CALLER)),
            issued,
            expiry: issued + 3600,
            schema: [0; 8],
            is_one_of_several: false,
        };
        Self {
            kind,
            function: function.to_owned(),
            agent: agent.to_owned(),
            target: target.to_owned(),
            key: "new".to_owned(),
            claims,
        }
    }

    pub fn token(&self) -> String {
        let name: AgentName = self.agent.parse().expect("an agent's name");
        let (path, query) = split(&self.target);
        let binding = Binding { agent: &name, function: &self.function, path, query };
        token::mint(&key(&self.key), &self.claims, &binding)
    }

    pub fn password(&self) -> String {
        let name: AgentName = self.agent.parse().expect("an agent's name");
        token::mint_password(&key(&self.key), &self.claims, &name)
    }
}

/// Path and query.
pub fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// The method and the body with which the platform uses a URL of this kind, within a call.
pub fn platform_use(kind: Kind, function: &str, call_id: &str) -> (Method, String) {
    let call_id = serde_json::to_string(call_id).expect("JSON");
    let body = match kind {
        Kind::Tool | Kind::Hook => {
            let function = serde_json::to_string(function).expect("JSON");
            format!(r#"{{"function":{function},"argument":{{"parsed":[{{}}],"raw":"{{}}"}},"call_id":{call_id}}}"#)
        }
        Kind::Summary => format!(r#"{{"action":"post_conversation","call_id":{call_id}}}"#),
        Kind::Debug => format!(r#"{{"call_info":{{"call_id":{call_id}}}}}"#),
        Kind::Includes => r#"{"action":"get_signature","functions":[]}"#.to_owned(),
        Kind::Swml => call_object(&call_id),
        Kind::Callback => format!(r#"{{"event_type":"calling.call.record","params":{{"call_id":{call_id}}}}}"#),
        Kind::Asset => return (Method::Get, String::new()),
    };
    (Method::Post, body)
}

/// The body of a SWML fetch; the call's id as JSON.
fn call_object(call_id: &str) -> String {
    format!(
        r#"{{"call":{{"call_id":{call_id},"direction":"inbound","type":"phone","from":"{CALLER}","to":"+15559990000"}}}}"#
    )
}

/// A call's digest under the newest key.
pub fn call_digest(call_id: &str) -> CallDigest {
    key("new").call(call_id)
}

/// A call's digest under each key.
pub fn call_digests(call_id: &str) -> [CallDigest; 2] {
    ["new", "old"].map(|id| key(id).call(call_id))
}

/// A caller's digest under the newest key.
pub fn caller_digest(number: &str) -> CallerDigest {
    key("new").caller(number)
}

/// The kind of this name, in lower case.
pub fn kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
}

/// A span of a test, in seconds.
pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
