//! The stand-in for the platform: it plays one call, tells what happens, and goes on to say how to try it by hand.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::{
    connectors::http::Connector, server::ShutdownWatch, services::background::BackgroundService,
    upstreams::peer::HttpPeer,
};
use pingora_http::RequestHeader;
use serde_json::{Value, json};
use swaigate_core::{basic, policy::DEFAULT_USER, secret::Secret};
use tokio::{net::TcpStream, time::sleep};
use url::Url;

const CALL_ID: &str = "demo-call-0001";
const ACCOUNT: u64 = 1_234_567_890;
const CALLER: &str = "+15551230001";

/// The platform, and what it has to know of the other two.
pub(super) struct Platform {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) agent: SocketAddr,
    pub(super) password: Secret,
    pub(super) audit: PathBuf,
}

struct Answer {
    status: u16,
    body: String,
}

#[async_trait]
impl BackgroundService for Platform {
    async fn start(&self, _shutdown: ShutdownWatch) {
        if let Err(error) = self.play().await {
            eprintln!("swaigate: the demo did not go as it should: {error:#}");
            std::process::exit(1);
        }
    }
}

impl Platform {
    async fn play(&self) -> anyhow::Result<()> {
        for address in [self.agent, self.gateway, self.admin] {
            wait_for(address).await?;
        }
        let connector = Connector::new(None);
        let web_hook = self.fetch_document(&connector).await?;
        self.call_function(&connector, &web_hook).await?;
        self.leave_out_the_token(&connector, &web_hook).await?;
        self.call_another_function(&connector, &web_hook).await?;
        self.call_until_refused(&connector, &web_hook).await?;
        self.say_how_to_try_it()
    }

    async fn fetch_document(&self, connector: &Connector) -> anyhow::Result<Url> {
        println!("\n1. A call from {CALLER} comes in. The platform fetches the agent's SWML:");
        let call = json!({ "call": { "call_id": CALL_ID, "type": "phone", "direction": "inbound", "from": CALLER,
            "to": "+15559870001" }, "vars": {}, "params": {} });
        let url = Url::parse(&format!("http://{}/bank", self.gateway))?;
        let answer = post(connector, &url, DEFAULT_USER, self.password.expose(), &call).await?;
        println!("   POST /bank → {}", answer.status);
        ensure!(answer.status == 200, "the document was refused: {}", answer.body);
        ensure!(!answer.body.contains(&self.agent.to_string()), "the agent's address left");
        let document: Value = serde_json::from_str(&answer.body)?;
        let function = &document["sections"]["main"][1]["ai"]["SWAIG"]["functions"][0];
        let web_hook = function["web_hook_url"].as_str().context("the function has no URL of its own")?;
        println!("   the agent wrote   http://agent:…@{}/bank/swaig/", self.agent);
        println!("   the platform sees {web_hook}");
        Ok(Url::parse(web_hook)?)
    }

    async fn call_function(&self, connector: &Connector, web_hook: &Url) -> anyhow::Result<()> {
        println!("\n2. The model calls get_balance, at the URL in the document and with the credentials in it:");
        let answer = swaig(connector, web_hook, "get_balance", ACCOUNT).await?;
        told(&answer, 200, "150.00")
    }

    async fn leave_out_the_token(&self, connector: &Connector, web_hook: &Url) -> anyhow::Result<()> {
        println!("\n3. Someone who has the gateway's own password calls it without the token:");
        let mut url = web_hook.clone();
        url.set_query(None);
        let call = function_call("get_balance", ACCOUNT);
        let answer = post(connector, &url, DEFAULT_USER, self.password.expose(), &call).await?;
        told(&answer, 403, "forbidden")
    }

    async fn call_another_function(&self, connector: &Connector, web_hook: &Url) -> anyhow::Result<()> {
        println!("\n4. Someone uses get_balance's token for transfer_funds:");
        told(&swaig(connector, web_hook, "transfer_funds", ACCOUNT).await?, 403, "forbidden")
    }

    async fn call_until_refused(&self, connector: &Connector, web_hook: &Url) -> anyhow::Result<()> {
        println!("\n5. The caller tries other accounts. The default policy lets ten calls a minute through:");
        for number in 2..=10 {
            let answer = swaig(connector, web_hook, "get_balance", ACCOUNT + number).await?;
            ensure!(answer.body.contains("150.00"), "call {number} was refused: {}", answer.body);
        }
        println!("   calls 2 to 10 → the balance");
        let answer = swaig(connector, web_hook, "get_balance", ACCOUNT + 11).await?;
        print!("   call 11: ");
        told(&answer, 200, "too many requests")
    }

    fn say_how_to_try_it(&self) -> anyhow::Result<()> {
        let password = self.password.expose_str().context("the password is text")?;
        let (gateway, admin) = (self.gateway, self.admin);
        println!("\nBoth keep running; stop them with Ctrl-C. Try it:\n");
        println!("  curl -u '{DEFAULT_USER}:{password}' http://{gateway}/bank");
        println!("  curl -i http://{gateway}/bank                                     # no credentials: 401");
        println!("  curl -i -u '{DEFAULT_USER}:{password}' -X POST http://{gateway}/bank/swaig/   # no token: 403");
        println!("  curl http://{admin}/metrics");
        println!("  tail -f {}\n", self.audit.display());
        Ok(())
    }
}

fn told(answer: &Answer, status: u16, expected: &str) -> anyhow::Result<()> {
    println!("   → {} {}", answer.status, answer.body);
    if answer.status != status || !answer.body.contains(expected) {
        bail!("expected {status} with `{expected}`");
    }
    Ok(())
}

fn function_call(function: &str, account: u64) -> Value {
    let arguments = json!({ "account": account.to_string() });
    json!({ "function": function, "call_id": CALL_ID, "caller_id_num": CALLER,
        "argument": { "parsed": [arguments], "raw": arguments.to_string() } })
}

async fn swaig(connector: &Connector, web_hook: &Url, function: &str, account: u64) -> anyhow::Result<Answer> {
    let password = web_hook.password().unwrap_or_default().to_owned();
    post(connector, web_hook, web_hook.username(), password.as_bytes(), &function_call(function, account)).await
}

async fn post(
    connector: &Connector,
    url: &Url,
    username: &str,
    password: &[u8],
    body: &Value,
) -> anyhow::Result<Answer> {
    let address = url.socket_addrs(|| None)?.first().copied().context("the URL has no address")?;
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let body = Bytes::from(body.to_string());
    let mut header = RequestHeader::build("POST", target.as_bytes(), None)?;
    header.insert_header("host", address.to_string())?;
    header.insert_header("authorization", basic::header(username, password).expose())?;
    header.insert_header("content-type", "application/json")?;
    header.insert_header("content-length", body.len().to_string())?;
    let peer = HttpPeer::new(address, false, String::new());
    let (mut session, _) = connector.get_http_session(&peer).await?;
    session.write_request_header(Box::new(header)).await?;
    session.write_request_body(body, true).await?;
    session.read_response_header().await?;
    let status = session.response_header().map_or(0, |header| header.status.as_u16());
    let mut text = Vec::new();
    while let Some(chunk) = session.read_response_body().await? {
        text.extend_from_slice(&chunk);
    }
    connector.release_http_session(session, &peer, None).await;
    Ok(Answer { status, body: String::from_utf8_lossy(&text).into_owned() })
}

async fn wait_for(address: SocketAddr) -> anyhow::Result<()> {
    for _ in 0..500 {
        if TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    bail!("nothing answers at {address}")
}
