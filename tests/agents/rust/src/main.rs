//! The bank of `bank_agent.py` on the Rust SDK, for the end-to-end tests: the same route, tools, environment
//! (PORT, AGENT_ROUTE, SWML_BASIC_AUTH_USER, SWML_BASIC_AUTH_PASSWORD, AGENT_LOG) and log lines.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use signalwire::agent::{AgentBase, AgentOptions};
use signalwire::swaig::FunctionResult;

fn main() {
    let mut options = AgentOptions::new("bank");
    options.host = Some("127.0.0.1".into());
    options.port = None; // the SDK reads PORT only when no port is given
    options.route = Some(std::env::var("AGENT_ROUTE").unwrap_or_else(|_| "/bank".into()));

    let mut agent = AgentBase::new(options);
    agent.prompt_add_section(
        "Role",
        "You are the voice assistant of a small bank.",
        vec![],
    );
    agent.set_post_prompt("Summarize the call in one sentence.");
    agent.set_global_data(json!({"bank": "Example Bank"}));
    agent.on_summary(Box::new(|summary, body, _headers| {
        log(
            "summary",
            json!({"summary": summary, "call_id": body.get("call_id")}),
        );
    }));
    // This SDK hands the callback no URL query, so what varies by call comes from the body.
    agent.set_dynamic_config_callback(Box::new(|_query, body, _headers, agent| {
        let call = body.as_ref().and_then(|body| body.get("call"));
        log(
            "swml",
            json!({"call_id": call.and_then(|call| call.get("call_id"))}),
        );
        if let Some(caller) = call.and_then(|call| call.get("from")) {
            agent.prompt_add_section("Caller", "The caller is known.", vec![]);
            agent.update_global_data(json!({"caller": caller}));
        }
    }));

    let account = |description: &str| json!({"type": "string", "description": description});
    add_tool(
        &mut agent,
        "get_balance",
        "Read the balance of an account.",
        json!({"account": account("Account number")}),
        false,
        |args| format!("Balance of {} is $150.00", plain(args, "account")),
    );
    add_tool(
        &mut agent,
        "transfer_funds",
        "Move money to another account.",
        json!({
            "to_account": account("Account that receives the money"),
            "amount": {"type": "number", "description": "Dollars"},
        }),
        true,
        |args| {
            format!(
                "Transferred ${} to account {}",
                plain(args, "amount"),
                plain(args, "to_account")
            )
        },
    );
    agent.run();
}

fn add_tool(
    agent: &mut AgentBase,
    name: &'static str,
    description: &str,
    parameters: Value,
    secure: bool,
    answer: impl Fn(&Map<String, Value>) -> String + Send + Sync + 'static,
) {
    let handler = move |args: &Map<String, Value>, body: &Map<String, Value>| {
        log(
            "tool",
            json!({"function": name, "arguments": args, "call_id": body.get("call_id"), "body": body}),
        );
        FunctionResult::with_response(&answer(args))
    };
    agent.define_tool(name, description, parameters, Box::new(handler), secure);
}

fn plain(args: &Map<String, Value>, name: &str) -> String {
    match args.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// Appends one JSON line to AGENT_LOG: a line there is proof that the gateway let it through.
fn log(event: &str, fields: Value) {
    let Ok(path) = std::env::var("AGENT_LOG") else {
        return;
    };
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_secs_f64();
    let mut line = json!({"event": event, "at": at});
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("AGENT_LOG can be written");
    file.write_all(format!("{line}\n").as_bytes())
        .expect("AGENT_LOG can be written");
}
