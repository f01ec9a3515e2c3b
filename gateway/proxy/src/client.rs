//! Asks an agent as anyone can who reaches it, for `init` and `doctor`: a few requests, each bounded in time and size.
//!
//! It is no way past the gateway: what passes through that goes by [`upstream`](crate::upstream), with a permit.

use std::{cell::Cell, io::Read, os::unix::ffi::OsStringExt, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::json;
use swaigate_core::{
    basic, json,
    policy::{Agent, Policies, Secrets, compile_for_upstream},
    secret::Secret,
    signature::{self, MIN_KEY, Made, SigningKey},
    swml,
};
use ureq::{
    http,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::{keys, random, reload, run, settings::FileSecrets};

/// How many requests one command makes at most.
const MAX_REQUESTS: u32 = 26;

/// For one whole exchange.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an answer is read, in bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// A public URL that is nobody's (RFC 6761, 6.4), so that no URL of a document is taken for the gateway's.
const NO_GATEWAY: &str = "http://gateway.invalid";

/// A way to one agent.
pub struct Client {
    http: ureq::Agent,
    signing_key: Option<SigningKey>,
    policies: Policies,
    left: Cell<u32>,
}

fn signing_key(variable: &str) -> anyhow::Result<SigningKey> {
    let value =
        std::env::var_os(variable).with_context(|| format!("the environment variable {variable} is not set"))?;
    let key = SigningKey::new(Secret::new(value.into_vec()));
    key.with_context(|| format!("{variable}: a signing key has at least {MIN_KEY} bytes"))
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'q> {
    /// The method.
    pub method: http::Method,
    /// Path and query, at the agent's origin.
    pub target: &'q str,
    /// Who asks.
    pub credentials: Credentials,
    /// More headers.
    pub headers: Vec<(&'static str, &'q str)>,
    /// JSON; nothing for a GET.
    pub body: Vec<u8>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// Whoever has the user and password in the URL, and the signing key if there is one.
    Own,
    /// The same without the signing key.
    Unsigned,
    /// A stranger.
    None,
    /// A stranger who guesses.
    Wrong,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, as far as it is read.
    pub body: Vec<u8>,
}

// === impl Client ===

impl Client {
    /// For the agent at this URL, whose user and password are the agent's own. `signing_key_env` names the variable with
    /// the key by which the agent knows the platform's requests. `ca` is a file of those who vouch for its certificate, in
    /// place of those whom the machine trusts.
    ///
    /// # Errors
    /// If it is no agent's URL, there is no key, or root certificates can't be read.
    pub fn new(url: &str, signing_key_env: Option<&str>, ca: Option<&str>) -> anyhow::Result<Self> {
        let signing_key = signing_key_env.map(signing_key).transpose()?;
        let agent = compile_for_upstream(url, &run::seed()?).map_err(|mistakes| reload::told(&mistakes))?;
        let tls = if agent.upstream.https { Some(tls(ca)?) } else { None };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("swaigate/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(TIMEOUT))
            .tls_config(tls.unwrap_or_default())
            .build();
        let public = NO_GATEWAY.parse()?;
        let policies = Policies::new(public, vec![agent], keys::ephemeral_ring()?);
        let policies = policies.map_err(|mistakes| anyhow::anyhow!(mistakes.join("\n")))?;
        Ok(Self { http: config.new_agent(), signing_key, policies, left: Cell::new(MAX_REQUESTS) })
    }

    /// The agent as a policy would have it, and alone.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The agent.
    pub fn agent(&self) -> &Arc<Agent> {
        &self.policies.agents()[0]
    }

    /// Whether requests are signed.
    pub fn has_signing_key(&self) -> bool {
        self.signing_key.is_some()
    }

    /// A path below the agent's own.
    pub fn path(&self, below: &str) -> String {
        let path = format!("{}{below}", self.agent().upstream.path);
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// The agent's origin, without its credentials.
    pub fn origin(&self) -> String {
        self.agent().upstream.origin()
    }

    /// How many requests were made.
    pub fn asked(&self) -> u32 {
        MAX_REQUESTS - self.left.get()
    }

    /// Asks.
    ///
    /// # Errors
    /// If there is no answer, or enough was asked already.
    pub fn ask(&self, question: &Question<'_>) -> anyhow::Result<Answer> {
        let left = self.left.get().checked_sub(1).context("enough was asked; this is a defect")?;
        self.left.set(left);
        let url = format!("{}{}", self.origin(), question.target);
        let mut request = http::Request::builder().method(&question.method).uri(&url);
        if let Some(header) = self.authorization(question.credentials) {
            request = request.header("Authorization", header.expose());
        }
        let signer = self.signing_key.as_ref().filter(|_| question.credentials == Credentials::Own);
        if let Some(key) = signer.filter(|_| question.method == http::Method::POST) {
            let Made { sha1, sha256 } = signature::sign(key, &url, &question.body);
            request = request.header("X-SignalWire-Signature", sha1).header("X-SignalWire-SHA256-Signature", sha256);
        }
        for (name, value) in &question.headers {
            request = request.header(*name, *value);
        }
        let answered = if question.method == http::Method::GET {
            self.http.run(request.body(())?)
        } else {
            self.http.run(request.header("Content-Type", "application/json").body(&question.body[..])?)
        };
        let mut answer = answered?;
        let mut body = Vec::new();
        answer.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut body).context("the answer breaks off")?;
        Ok(Answer { status: answer.status().as_u16(), body })
    }

    fn authorization(&self, credentials: Credentials) -> Option<Secret> {
        match credentials {
            Credentials::Own | Credentials::Unsigned => {
                self.agent().upstream.credentials.as_ref().map(|own| own.header.clone())
            }
            Credentials::None => None,
            Credentials::Wrong => Some(basic::header("swaigate", b"a password that nobody has")),
        }
    }

    /// The agent's document, as the platform gets it for a call.
    ///
    /// # Errors
    /// If there is none: what was answered instead, and what may be wrong.
    pub fn document(&self) -> anyhow::Result<String> {
        let target = self.path("");
        let answer = self.ask(&Question::fetch(&target, Credentials::Own)?);
        let answer = answer.with_context(|| format!("{} doesn't answer", self.origin()))?;
        let place = format!("{}{target}", self.origin());
        match answer.status {
            200 => {}
            401 if self.agent().upstream.credentials.is_none() => {
                bail!("{place} asks for a password; write `--upstream http://user:password@…`, with the agent's own")
            }
            401 => bail!("{place} refuses the user and password in the URL"),
            403 => bail!(
                "{place} answers 403: perhaps it asks for the platform's signature; name the variable that holds the key \
                 with `--signing-key-env`"
            ),
            status => bail!("{place} answers {status}, and no SWML"),
        }
        let text = String::from_utf8(answer.body)?;
        let text = swml::as_json(&text).with_context(|| format!("{place} answers what is no SWML"))?.into_owned();
        let root = json::parse(text.as_bytes()).with_context(|| format!("{place} answers what is no SWML"))?;
        ensure!(root.get("sections").is_some(), "{place} answers 200, but no SWML; is that the agent's path?");
        Ok(text)
    }

    /// Whether MCP is spoken at `/mcp`, which runs functions without their tokens (PROTOCOL.md, 1.1).
    ///
    /// # Errors
    /// If there is no answer.
    pub fn serves_mcp(&self, credentials: Credentials) -> anyhow::Result<bool> {
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "swaigate", "version": env!("CARGO_PKG_VERSION") } } });
        let answer = self.ask(&Question::post(&self.path("/mcp"), credentials, hello.to_string()))?;
        let is_rpc = |root: &json::Node<'_>| root.get("jsonrpc").is_some() && root.get("result").is_some();
        Ok(answer.status == 200 && json::parse(&answer.body).is_ok_and(|root| is_rpc(&root)))
    }
}

/// The certificates in this file, or else the machine's own, as for a gateway's upstream.
fn tls(ca: Option<&str>) -> anyhow::Result<TlsConfig> {
    let own = || rustls_native_certs::load_native_certs().context("the machine's root certificates can't be read");
    let roots: Vec<_> = match ca {
        None => own()?.iter().map(|root| Certificate::from_der(root).to_owned()).collect(),
        Some(path) => {
            let roots = FileSecrets::new(Path::new(".")).certificates(path);
            let roots = roots.map_err(|error| anyhow!("the file {path} can't be used: {error}"))?;
            roots.iter().map(|root| Certificate::from_der(&root.0).to_owned()).collect()
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCerts::Specific(Arc::new(roots));
    Ok(TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build())
}

// === impl Question ===

impl<'q> Question<'q> {
    /// A GET.
    pub fn get(target: &'q str, credentials: Credentials) -> Self {
        Self { method: http::Method::GET, target, credentials, headers: Vec::new(), body: Vec::new() }
    }

    /// A POST of JSON.
    pub fn post(target: &'q str, credentials: Credentials, body: impl Into<Vec<u8>>) -> Self {
        Self { method: http::Method::POST, body: body.into(), ..Self::get(target, credentials) }
    }

    /// What the platform sends when a call comes in (PROTOCOL.md, 5), for a call and a caller that there never were: each
    /// its own, so that no limit on real ones is touched.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn fetch(target: &'q str, credentials: Credentials) -> anyhow::Result<Self> {
        let number = u32::from_be_bytes(random::bytes()?);
        let id = format!("swaigate-{number:08x}");
        // Area code 555 is nobody's.
        let from = format!("+1555{:07}", number % 10_000_000);
        let call = json!({ "call": {
            "call_id": id, "node_id": "swaigate", "segment_id": id, "call_state": "created", "direction": "inbound",
            "type": "phone", "from": from, "to": "+15555550100", "from_number": from, "to_number": "+15555550100",
            "headers": [], "project_id": "swaigate", "space_id": "swaigate" }, "vars": {}, "envs": {}, "params": {} });
        Ok(Self::post(target, credentials, call.to_string()))
    }
}
