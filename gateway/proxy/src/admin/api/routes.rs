//! Which paths there are, and who may ask what there.

use http::{Method, StatusCode};

use super::{Answer, error};
use crate::settings::Role;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    OpenApi,
    Status,
    Agents,
    Policy,
    Limits,
    Decisions,
    AuditHead,
    Switches,
    TurnOn,
    TurnOff,
    Lockouts,
    LockOut,
    LetIn,
    Reload,
    Export,
    Import,
}

/// All of it: a segment in braces stands for any one.
const ROUTES: [(Method, &str, Endpoint); 16] = [
    (Method::GET, "/v1/openapi.json", Endpoint::OpenApi),
    (Method::GET, "/v1/status", Endpoint::Status),
    (Method::GET, "/v1/agents", Endpoint::Agents),
    (Method::GET, "/v1/agents/{name}/policy", Endpoint::Policy),
    (Method::GET, "/v1/limits", Endpoint::Limits),
    (Method::GET, "/v1/decisions", Endpoint::Decisions),
    (Method::GET, "/v1/audit/head", Endpoint::AuditHead),
    (Method::GET, "/v1/switches", Endpoint::Switches),
    (Method::POST, "/v1/switches", Endpoint::TurnOn),
    (Method::DELETE, "/v1/switches/{id}", Endpoint::TurnOff),
    (Method::GET, "/v1/lockouts", Endpoint::Lockouts),
    (Method::POST, "/v1/lockouts", Endpoint::LockOut),
    (Method::DELETE, "/v1/lockouts/{id}", Endpoint::LetIn),
    (Method::POST, "/v1/reload", Endpoint::Reload),
    (Method::GET, "/v1/state", Endpoint::Export),
    (Method::POST, "/v1/state", Endpoint::Import),
];

/// What is asked, and what stands for the braces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) endpoint: Endpoint,
    pub(super) argument: String,
}

// === impl Endpoint ===

impl Endpoint {
    /// Who may ask. Whoever only looks changes nothing.
    pub(super) fn role(self) -> Role {
        match self {
            Endpoint::OpenApi
            | Endpoint::Status
            | Endpoint::Agents
            | Endpoint::Policy
            | Endpoint::Limits
            | Endpoint::Decisions
            | Endpoint::AuditHead
            | Endpoint::Switches
            | Endpoint::Lockouts
            | Endpoint::Export => Role::Viewer,
            Endpoint::TurnOn
            | Endpoint::TurnOff
            | Endpoint::LockOut
            | Endpoint::LetIn
            | Endpoint::Reload
            | Endpoint::Import => Role::Operator,
        }
    }

    /// Which keys a query may have.
    pub(super) fn query(self) -> &'static [&'static str] {
        match self {
            Endpoint::Policy => &["function"],
            Endpoint::Limits => &["caller", "agent"],
            Endpoint::Decisions => &["agent", "reason", "caller", "limit"],
            _ => &[],
        }
    }
}

/// What is asked at a path by a method.
///
/// # Errors
/// The answer for a path or a method that isn't there.
pub(super) fn find(method: &Method, path: &str) -> Result<Found, Answer> {
    let at_path: Vec<_> = ROUTES.iter().filter_map(|route| Some((route, matched(route.1, path)?))).collect();
    // Whoever asks for a head gets that of a GET.
    let asked = if *method == Method::HEAD { &Method::GET } else { method };
    if let Some((route, argument)) = at_path.iter().find(|((own, _, _), _)| own == asked) {
        return Ok(Found { endpoint: route.2, argument: (*argument).to_owned() });
    }
    if at_path.is_empty() {
        return Err(error(StatusCode::NOT_FOUND, "there is no such path; /v1/openapi.json tells which there are"));
    }
    let methods: Vec<&str> = at_path.iter().map(|((method, _, _), _)| method.as_str()).collect();
    let allow = methods.join(", ");
    Err(Answer { allow: Some(allow), ..error(StatusCode::METHOD_NOT_ALLOWED, methods.join(" or ")) })
}

/// What stands for the braces; nothing if there are none. `None` if it is another path.
fn matched<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let (mut wanted, mut given, mut argument) = (pattern.split('/'), path.split('/'), "");
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(argument),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => argument = given,
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{super::OPENAPI, *};

    #[test]
    fn paths_are_found_whole() {
        let found = |method: Method, path: &str| find(&method, path).map_err(|refused| refused.status.as_u16());
        let policy = Found { endpoint: Endpoint::Policy, argument: "bank".to_owned() };
        assert_eq!(found(Method::GET, "/v1/agents/bank/policy"), Ok(policy));
        assert_eq!(found(Method::HEAD, "/v1/status").map(|found| found.endpoint), Ok(Endpoint::Status));
        for path in ["/v1/", "/v1/agents/bank", "/v1/agents//policy", "/v1/switches/", "/v1/status/", "/v1/x"] {
            assert_eq!(found(Method::GET, path), Err(404), "{path}");
        }
        let refused = find(&Method::PUT, "/v1/switches").unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.allow.as_deref()), (405, Some("GET, POST")));
    }

    #[test]
    fn the_document_describes_each_route_with_its_role_and_its_query_and_no_other() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let query = parameters.filter(|parameter| parameter["in"] == "query");
                let query: Vec<_> = query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
                let role = operation["x-role"].as_str().unwrap().to_owned();
                described.insert((method.to_uppercase(), path.clone()), (role, query));
            }
        }
        let routes = ROUTES.iter().map(|(method, path, endpoint)| {
            let query = endpoint.query().iter().map(|key| (*key).to_owned()).collect();
            ((method.to_string(), (*path).to_owned()), (endpoint.role().as_str().to_owned(), query))
        });
        assert_eq!(described, routes.collect::<BTreeMap<_, (String, Vec<String>)>>());
    }
}
