//! Whether a request carries the platform's signature, where it has to; and the signature for an agent that asks for one.

use super::{Admitted, Head};
use crate::{
    basic::Credentials,
    policy::{Agent, Policies, PublicUrl, Required, Signing},
    record::Facts,
    route::Method,
    secret::Secret,
    signature::{self, Carried, Made, Message},
    verdict::{Reason, Route},
};

/// What of a request's head is signed, and the signatures it carries.
#[derive(Debug)]
pub(super) struct Evidence {
    target: String,
    content_type: Option<String>,
    user: String,
    password: Secret,
    sha256: Option<Vec<u8>>,
    sha1: Option<Vec<u8>>,
}

/// Checks a request's signature over its bytes as they came: one that is there, and whether one has to be.
pub(super) fn check(admitted: &Admitted, policies: &Policies, body: &[u8], facts: &mut Facts) -> Result<(), Reason> {
    let (Some(signing), Some(evidence)) = (&admitted.agent.platform.signing, &admitted.evidence) else {
        return Ok(());
    };
    if !evidence.carried().is_some() {
        return without(signing, admitted.method, admitted.route);
    }
    let PublicUrl { https, authority } = policies.origin_of(&admitted.agent);
    let message = evidence.message(https, &authority, body);
    let scheme = signature::verify(&signing.keys, evidence.carried(), &message).ok_or(Reason::SignatureWrong)?;
    facts.signature = Some(scheme.as_str());
    Ok(())
}

/// What becomes of a request without a signature.
fn without(signing: &Signing, method: Method, route: Route) -> Result<(), Reason> {
    let is_get = method != Method::Post;
    if is_get && route == Route::Swml && signing.required != Required::Nothing && !signing.allows_get {
        Err(Reason::UnsignedGet)
    } else if !is_get && is_required(signing, route) {
        Err(Reason::SignatureMissing)
    } else {
        Ok(())
    }
}

/// The signatures for an agent that checks them, over the URL that it takes for its own and the bytes that it gets.
pub(super) fn for_agent(agent: &Agent, target: &str, body: &[u8]) -> Option<Made> {
    let signing = agent.upstream.signing.as_ref()?;
    let base = signing.base.clone().unwrap_or_else(|| agent.upstream.origin());
    Some(signature::sign(&signing.key, &format!("{base}{target}"), body))
}

fn is_required(signing: &Signing, route: Route) -> bool {
    match (signing.required, route) {
        (Required::Nothing, _) => false,
        (Required::Swml, route) => route == Route::Swml,
        (
            Required::All,
            Route::Swml | Route::Swaig | Route::Includes | Route::Summary | Route::Debug | Route::Callback,
        ) => true,
        (Required::All, Route::Asset | Route::Health | Route::Exposed | Route::Open | Route::Unknown) => false,
    }
}

// === impl Evidence ===

impl Evidence {
    /// Nothing, where no key is listed.
    pub(super) fn of(agent: &Agent, head: &Head<'_>, credentials: &Credentials) -> Option<Self> {
        agent.platform.signing.as_ref()?;
        let Carried { sha256, sha1 } = head.signatures;
        Some(Self {
            target: head.target.to_owned(),
            content_type: head.content_type.map(str::to_owned),
            user: credentials.username.clone(),
            password: credentials.password.clone(),
            sha256: sha256.map(<[u8]>::to_vec),
            sha1: sha1.map(<[u8]>::to_vec),
        })
    }

    fn carried(&self) -> Carried<'_> {
        Carried { sha256: self.sha256.as_deref(), sha1: self.sha1.as_deref() }
    }

    fn message<'m>(&'m self, https: bool, authority: &'m crate::origin::Authority, body: &'m [u8]) -> Message<'m> {
        Message {
            https,
            authority,
            target: &self.target,
            userinfo: Some((&self.user, self.password.expose())),
            content_type: self.content_type.as_deref(),
            body,
        }
    }
}
