//! The written file, tried on the document before anybody relies on it: through the same decision as in a gateway.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use swaigate_core::{
    basic,
    decide::{self, Admission, AgentAnswer, Answers, Denial, Head, Moment},
    id::DocumentId,
    inventory::{AGENT_PASSWORD, AGENT_USER, PLATFORM_PASSWORD},
    orders::Orders,
    policy::{self, Agent, DEFAULT_USER, Policies},
    record::Facts,
    route::Method,
    secret::Secret,
    signature::Carried,
    verdict::Reason,
};

use crate::{clock, keys, random, reload, run};

/// Why a gateway with this policy would refuse the agent's document, as a warning; `None` if it wouldn't.
///
/// # Errors
/// If the file is no policy, which is a defect of this program.
pub(super) fn refusal(file: &str, agent: &Agent, document: &str) -> anyhow::Result<Option<String>> {
    let password = random::password()?;
    let mut environment = HashMap::from([(PLATFORM_PASSWORD.to_owned(), password.clone())]);
    if let Some(credentials) = &agent.upstream.credentials {
        environment.insert(AGENT_USER.to_owned(), Secret::new(credentials.username.as_str()));
        environment.insert(AGENT_PASSWORD.to_owned(), credentials.password.clone());
    }
    let written = policy::compile("the written file", file, &environment, &run::seed()?);
    let written = written.map_err(|mistakes| reload::told(&mistakes)).context("please report this defect")?;
    let policies = Policies::new("https://gateway.invalid".parse()?, vec![written], keys::ephemeral_ring()?);
    let policies = policies.map_err(|mistakes| anyhow!(mistakes.join("\n")))?;
    let mut facts = Facts::default();
    Ok(match released(&policies, &password, document, &mut facts) {
        Ok(()) => None,
        Err(denial) => Some(told(denial.reason, &facts)),
    })
}

fn told(reason: Reason, facts: &Facts) -> String {
    let detail = facts.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!(
        "the gateway would refuse this document ({}{detail}); policies/README.md, \"Reasons\", says why.",
        reason.as_str()
    )
}

/// A call comes in, and the agent answers with the document.
fn released(policies: &Policies, password: &Secret, document: &str, facts: &mut Facts) -> Result<(), Denial> {
    let path = policies.agents().first().map(|agent| agent.path.as_str()).filter(|path| !path.is_empty());
    let authorization = basic::header(DEFAULT_USER, password.expose());
    let body = br#"{"call":{"call_id":"swaigate","type":"phone","direction":"inbound","from":"+15555550101"}}"#;
    let head = Head {
        method: Method::Post,
        target: path.unwrap_or("/"),
        host: "gateway.invalid",
        authorization: Some(authorization.expose()),
        content_length: Some(body.len() as u64),
        content_type: Some("application/json"),
        signatures: Carried::default(),
        client: None,
    };
    let now = clock::now();
    let admitted = match decide::admit(policies, &Orders::default(), &head, now, |_| false, facts)? {
        Admission::Admitted(admitted) => admitted,
        Admission::Pending(pending) => pending.verify(facts).0?,
    };
    let moment = Moment { now, document: Some(DocumentId([0; 16])) };
    let plan = decide::judge(admitted, policies, &Orders::default(), body, &moment, facts)?;
    let permit = decide::conclude(plan, Answers::default(), facts)?;
    let answer = AgentAnswer {
        status: 200,
        content_type: Some("application/json"),
        content_encoding: None,
        location: None,
        body: document.as_bytes(),
    };
    decide::release(&permit, policies, &answer, facts).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POLICY: &str = "agent: bank\nmatch: { path: /bank }\nupstream:\n  url: http://127.0.0.1:3000\n  \
        username_env: SWML_BASIC_AUTH_USER\n  password_env: SWML_BASIC_AUTH_PASSWORD\n\
        platform: { users: [{ username: signalwire, password_env: GATEWAY_PASSWORD }] }\n";

    fn tried(document: &str) -> Option<String> {
        let url = "http://u:a-password@127.0.0.1:3000/bank";
        let agent = policy::compile_for_upstream(url, &run::seed().unwrap()).unwrap();
        refusal(POLICY, &agent, document).unwrap()
    }

    #[test]
    fn a_document_that_a_gateway_refuses_is_told_with_its_reason() {
        let function = |url: &str| {
            format!(
                r#"{{"sections":{{"main":[{{"ai":{{"SWAIG":{{"functions":[{{"function":"f","web_hook_url":"{url}"}}]}}}}}}]}}}}"#
            )
        };
        assert_eq!(tried(&function("http://u:a-password@127.0.0.1:3000/bank/swaig/")), None);
        for (url, reason) in [
            ("http://127.0.0.1:3000/bank/mcp", "url_forbidden"),
            ("https://u:a-password@other.example.com/x", "credential_in_document"),
        ] {
            let told = tried(&function(url)).unwrap();
            assert!(told.contains(reason) && !told.contains("a-password"), "{told}");
        }
        let reasons = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/README.md")).unwrap();
        assert!(reasons.contains("## Reasons") || reasons.contains("# Reasons"), "the warning points there");
    }
}
