//! `swaigate demo`: a call, played through a gateway that stands before a sample agent. Nothing else is needed, and
//! everything but the agent and the caller is the real thing.

mod agent;
mod platform;

use std::{collections::HashMap, path::PathBuf};

use agent::SampleAgent;
use pingora_core::{
    apps::http_app::HttpServer,
    services::{background::background_service, listening::Service},
};
use platform::Platform;

use crate::{
    audit, log,
    run::{self, Gateway, preferred_address},
    settings,
};

/// Runs it until the process is told to stop.
///
/// # Errors
/// If no port is free, or as a gateway does.
pub fn run() -> anyhow::Result<()> {
    let (listen, admin) = (preferred_address(8080)?, preferred_address(9901)?);
    let agent_address = run::free_loopback_address()?;
    let folder = demo_folder();
    let mut settings = settings::for_loopback(listen, admin);
    settings.state.path = folder.join("state");
    settings.audit.path = folder.join("audit.jsonl");
    settings.log.level = tracing::Level::WARN;
    log::start(&settings.log);
    // Nobody verifies the demo's audit log, so nobody has to move its key.
    audit::make_chain(audit::chain_folder(&settings))?;

    let seed = run::seed()?;
    let password = seed.generated_password.clone();
    let sample = SampleAgent::new(agent_address);
    let url = sample.url();
    let platform =
        Platform { gateway: listen, admin, agent: agent_address, password, audit: settings.audit.path.clone() };
    let mut gateway = Gateway::before(&url, &HashMap::new(), settings, seed)?;

    let mut service = Service::new("agent".to_owned(), HttpServer::new_app(sample));
    service.add_tcp(&agent_address.to_string());
    service.threads = Some(1);
    gateway.companions.push(Box::new(service));
    let mut call = background_service("call", platform);
    call.threads = Some(1);
    gateway.companions.push(Box::new(call));
    println!("A sample agent is at http://{agent_address}/bank, the gateway before it at http://{listen}/bank.");
    let done = gateway.run();
    // Nobody needs the demo's audit log afterwards.
    let _ = std::fs::remove_dir_all(folder);
    done
}

fn demo_folder() -> PathBuf {
    std::env::temp_dir().join(format!("swaigate-demo-{}", std::process::id()))
}
