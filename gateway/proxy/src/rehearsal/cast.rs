//! Who plays: the agents under their policies, made fit for a rehearsal.

use std::sync::Arc;

use anyhow::anyhow;
use swaigate_core::{
    basic::{Password, User, Users},
    code::Code,
    input::InputRules,
    keys::{Key, KeyRing, MacKey},
    policy::{Agent, DEFAULT_USER, FunctionRules, Policies, PublicUrl, Shadow, UrlCredentials, Verify},
    record::Rule,
    secret::Secret,
};

use crate::random;

/// The fixed code that is right where [`Cast::knows_codes`].
const FIXED_CODE: &str = "424242";

/// The key of time-based codes there, in base32.
const CODE_KEY: &str = "ONSWCYLQNFXGOIDPMYQGCIDSMVUGKYLS";

/// The agents, and where they are.
pub struct Cast {
    /// Loads them.
    pub agents: Box<dyn Fn() -> anyhow::Result<Vec<Agent>>>,
    /// Where the platform reaches the gateway.
    pub public: PublicUrl,
    /// Whether all codes are made known, in place of those that the policies ask for: then a right one can be given.
    pub knows_codes: bool,
}

/// Rules of functions that are left out, since nothing can be said by them of a call.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Without {
    /// These: of `callers`, `input`, `arguments`, `requires`, `confirm`, `verify` and `once`. Of `arguments`, only the
    /// policy's own schema is.
    pub rules: Shadow,
    /// The condition under which a code is asked for: it always is.
    pub condition: bool,
}

/// What is known of the schema that an agent published for a function.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It published none.
    #[default]
    Nothing,
    /// The arguments fit it.
    Fits,
    /// They don't.
    Misfits,
    /// Nothing.
    Unknown,
}

// === impl Cast ===

impl Cast {
    /// The agents' policies, without some rules, for whoever has this password.
    ///
    /// # Errors
    /// If the agents can't be loaded or told apart.
    pub(super) fn policies(&self, without: Without, password: &Secret, key: &Secret) -> anyhow::Result<Policies> {
        let mut agents = (self.agents)()?;
        let user = User { username: DEFAULT_USER.to_owned(), password: Password::Plain(password.clone()) };
        for agent in &mut agents {
            let platform = &mut agent.platform;
            platform.users = Users::new(MacKey::new(&random::bytes::<32>()?), std::slice::from_ref(&user));
            platform.url_credentials = UrlCredentials::PerCall;
            platform.signing = None;
            agent.functions = agent.functions.with(|rules| self.adapted(without.applied(rules)));
            if without.rules.has(Rule::Callers) {
                agent.callers = Default::default();
            }
        }
        let ring = KeyRing::new(vec![Key::new("rehearsal", key)?])?;
        let policies = Policies::new(self.public.clone(), agents, ring);
        let policies = policies.map_err(|mistakes| anyhow!(mistakes.join("\n")))?;
        for published in [Published::Fits, Published::Misfits] {
            policies.schemas().learn(published.digest(), || published.schema().as_bytes().to_vec());
        }
        Ok(policies)
    }

    fn adapted(&self, rules: FunctionRules) -> FunctionRules {
        let Some(verify) = rules.verify.as_deref().filter(|_| self.knows_codes) else { return rules };
        let known = if verify.code.is_time_based() {
            Code::totp(&Secret::new(CODE_KEY)).ok()
        } else {
            Code::plain(&Secret::new(FIXED_CODE)).ok()
        };
        let code = known.unwrap_or_else(|| verify.code.clone());
        FunctionRules { verify: Some(Arc::new(Verify { code, ..verify.clone() })), ..rules }
    }
}

// === impl Without ===

impl Without {
    /// All rules are asked.
    pub const NOTHING: Self = Self { rules: Shadow::NOTHING, condition: false };

    fn applied(self, mut rules: FunctionRules) -> FunctionRules {
        let is_out = |rule| self.rules.has(rule);
        if is_out(Rule::Callers) {
            rules.callers = Default::default();
        }
        if is_out(Rule::Input) {
            rules.input = Arc::new(InputRules::default());
        }
        if is_out(Rule::Arguments) {
            rules.arguments.own = None;
        }
        if is_out(Rule::Requires) {
            rules.requires.clear();
        }
        if is_out(Rule::Confirm) {
            rules.confirm = None;
        }
        rules.verify = rules.verify.filter(|_| !is_out(Rule::Verify)).map(|verify| {
            let when = verify.when.clone().filter(|_| !self.condition);
            Arc::new(Verify { when, ..verify.as_ref().clone() })
        });
        rules.once &= !is_out(Rule::Once);
        rules
    }
}

// === impl Published ===

impl Published {
    /// What stands in a token for a schema of which this is known.
    pub(super) fn digest(self) -> [u8; 8] {
        [self as u8; 8]
    }

    fn schema(self) -> &'static str {
        match self {
            Published::Misfits => r#"{"type":"object","properties":{},"required":["an argument that nobody gives"]}"#,
            Published::Nothing | Published::Fits | Published::Unknown => r#"{"type":"object","properties":{}}"#,
        }
    }
}
