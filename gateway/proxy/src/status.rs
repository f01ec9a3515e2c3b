//! `swaigate status`: how a running gateway is, and what people have ordered.

use clap::Args;
use serde_json::Value;

use crate::{
    operator::{Operator, Place},
    state::{Written, WrittenLock},
};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where.
    #[command(flatten)]
    place: Place,
}

// === impl Status ===

impl Status {
    /// Prints it.
    ///
    /// # Errors
    /// If the gateway can't be asked.
    pub fn run(self) -> anyhow::Result<()> {
        let operator = self.place.operator()?;
        let status: Value = operator.get("/v1/status")?;
        if self.json {
            println!("{status:#}");
            return Ok(());
        }
        print!("{}", told(&status, &operator)?);
        Ok(())
    }
}

fn told(status: &Value, operator: &Operator) -> anyhow::Result<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let configuration = &status["configuration"];
    let ready = if status["ready"] == true { "ready" } else { "shutting down" };
    let mut lines = vec![
        format!("swaigate {} at {}: {ready}", text(&status["version"]), operator.door()),
        format!("  started        {}", text(&status["started"])),
        format!("  configuration  loaded {}, {} agents", text(&configuration["loaded"]), status["agents"]),
    ];
    if let Some(refused) = configuration["refused"].as_object() {
        lines.push(format!("  REFUSED        what was read at {} isn't in force:", text(&refused["time"])));
        lines.extend(text(&refused["why"]).lines().map(|line| format!("    {line}")));
    }
    for out in status["servers_out"].as_array().into_iter().flatten() {
        lines.push(format!("  SERVER OUT     {} of {} gets no requests", text(&out["server"]), text(&out["agent"])));
    }
    lines.push(format!("  under way      {} requests", status["in_flight"]));
    let switches: Vec<Written> = serde_json::from_value(status["switches"].clone())?;
    let lockouts: Vec<WrittenLock> = serde_json::from_value(status["lockouts"].clone())?;
    lines.push(format!(
        "  switches       {}",
        if switches.is_empty() { "none is on".to_owned() } else { switches.len().to_string() }
    ));
    lines.extend(switches.iter().map(|switch| format!("    {}", switch.told())));
    lines.push(format!(
        "  lockouts       {}",
        if lockouts.is_empty() { "none".to_owned() } else { lockouts.len().to_string() }
    ));
    lines.extend(lockouts.iter().map(|lock| format!("    {}", lock.told())));
    Ok(lines.join("\n") + "\n")
}
