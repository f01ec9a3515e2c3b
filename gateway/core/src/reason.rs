//! Why a request ended as it did: the one list.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// Why a request ended as it did. The list is closed: status, words, audit, metrics and logs derive from it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Reason] = &[$(Reason::$name,)+];

            /// Its name in audit records, metrics and logs.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)+ }
            }

            /// What it means, in a sentence or two.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// The agent answered, and its answer was passed on.
    Ok => "ok",

    /// No agent, or no endpoint of an agent, has this path.
    NotFound => "not_found",
    /// The endpoint isn't asked with this method.
    MethodNotAllowed => "method_not_allowed",
    /// A person has locked the address out that it came from.
    AddressLocked => "address_locked",
    /// The header block is larger than the gateway reads.
    HeaderTooLarge => "header_too_large",
    /// The framing or the target could be read differently by the agent.
    BadRequest => "bad_request",
    /// The body is larger than the policy's bound.
    BodyTooLarge => "body_too_large",
    /// The body did not come in time.
    BodyTimeout => "body_timeout",
    /// The client left before the request or the answer was complete.
    ClientGone => "client_gone",
    /// The bodies in flight use up the process' byte budget.
    Overloaded => "overloaded",
    /// The audit queue is full: what can't be recorded is not forwarded.
    AuditFull => "audit_full",

    /// There are no Basic credentials.
    CredentialsMissing => "credentials_missing",
    /// The Basic credentials are nobody's.
    CredentialsWrong => "credentials_wrong",
    /// Too many passwords are being hashed to check one more.
    CredentialsUnchecked => "credentials_unchecked",
    /// Too many wrong credentials came from this address to check a password's hash now.
    CredentialsLocked => "credentials_locked",
    /// A person has locked the user out whose name was sent.
    UserLocked => "user_locked",
    /// The per-call credentials are not of the token's document, kind and call.
    CredentialsForeign => "credentials_foreign",

    /// The platform's signature is missing, where the policy asks for one.
    SignatureMissing => "signature_missing",
    /// The signature was made by no listed key over this URL and body.
    SignatureWrong => "signature_wrong",
    /// A document was asked for by GET, which can't be signed.
    UnsignedGet => "unsigned_get",

    /// The body is not strict JSON, or not an object.
    BodyNotJson => "body_not_json",
    /// A key occurs twice in one object: two parsers may see two values.
    BodyDuplicateKey => "body_duplicate_key",
    /// The body is nested deeper than the gateway reads.
    BodyTooDeep => "body_too_deep",
    /// The function call names no function.
    FunctionMissing => "function_missing",
    /// The arguments can be read in more than one way: `argument.raw` and `argument.parsed` are not the same, a name is there
    /// in two cases, or they stand where only some parsers look for them.
    ArgumentsDisagree => "arguments_disagree",

    /// There is no gw_token in the URL.
    TokenMissing => "token_missing",
    /// The gw_token is not one, or there are several.
    TokenMalformed => "token_malformed",
    /// The gw_token was signed by a key that is not listed.
    TokenKeyUnknown => "token_key_unknown",
    /// The gw_token was changed, or made for another agent, function, path or query.
    TokenMismatch => "token_mismatch",
    /// The gw_token was made for another call, or the request names no call.
    TokenForeignCall => "token_foreign_call",
    /// The gw_token is authentic, and its time is over.
    TokenExpired => "token_expired",
    /// The document was fetched without a call id, and the policy refuses such, or its window is over.
    TokenUnbound => "token_unbound",
    /// The call has ended: its functions are not called and no document is made for it any more.
    CallEnded => "call_ended",

    /// An emergency switch is on for this agent, function or caller, or for all.
    Emergency => "emergency",
    /// A person has locked the caller out.
    CallerLocked => "caller_locked",
    /// A limit is reached.
    Limited => "limited",
    /// The caller, or all callers, have as many calls as the policy allows.
    TooManyCalls => "too_many_calls",
    /// The policy says that this function isn't there.
    FunctionDenied => "function_denied",
    /// The policy doesn't admit this caller.
    CallerDenied => "caller_denied",
    /// The function may not be called at this time.
    Closed => "closed",
    /// The arguments are too large or too deep, or hold characters or a text that the policy forbids.
    InputForbidden => "input_forbidden",
    /// The arguments don't fit the schema that the agent published, or that of the policy.
    ArgumentsInvalid => "arguments_invalid",
    /// The schema that the agent published isn't known, and the policy refuses calls then.
    SchemaUnknown => "schema_unknown",
    /// An argument doesn't equal the fact of the call to which the policy pins it.
    ArgumentPinned => "argument_pinned",
    /// Another function must have succeeded before, in this call.
    Precondition => "precondition",
    /// The caller was not asked yet, or hasn't agreed since: the model is told to ask.
    ConfirmationAsked => "confirmation_asked",
    /// The same arguments passed before in this call.
    Repeated => "repeated",
    /// The code that the policy asks for is missing.
    CodeMissing => "code_missing",
    /// The code that the policy asks for is wrong, or was used already.
    CodeWrong => "code_wrong",
    /// Too many wrong codes were given.
    CodeLocked => "code_locked",

    /// The agent can't be connected to.
    AgentUnreachable => "agent_unreachable",
    /// As many requests as the policy allows are under way at the agent.
    AgentBusy => "agent_busy",
    /// The agent isn't asked: no server of it is up, or what it was asked last has failed too often.
    AgentUnavailable => "agent_unavailable",
    /// The agent did not answer in time.
    AgentTimeout => "agent_timeout",
    /// The agent broke off, or its answer is not HTTP.
    AgentBroken => "agent_broken",
    /// The agent refused the credentials that the policy gives for it.
    AgentUnauthorized => "agent_unauthorized",
    /// The agent answered with a status that is no answer.
    AgentStatus => "agent_status",
    /// The agent's answer is larger than the policy's bound.
    AgentTooLarge => "agent_too_large",
    /// The agent's answer is compressed, though the gateway asked for none.
    AgentEncoded => "agent_encoded",
    /// The agent's answer is not strict JSON (a document: nor YAML that can be told as JSON), or not of the form its
    /// endpoint answers with.
    AgentNotJson => "agent_not_json",
    /// The document holds a URL of the agent that parsers read differently.
    UrlAmbiguous => "url_ambiguous",
    /// The document holds a URL of an endpoint that no document may give access to.
    UrlForbidden => "url_forbidden",
    /// The document or the answer holds a verb that the policy denies.
    VerbDenied => "verb_denied",
    /// The document or the answer sends a call or a message where the policy doesn't allow it.
    DestinationDenied => "destination_denied",
    /// The document or the answer makes the platform ask a host that the policy doesn't allow.
    EgressDenied => "egress_denied",
    /// The document holds the agent's own credentials outside of its URLs.
    CredentialInDocument => "credential_in_document",
    /// The caller was told that it takes longer than expected; the agent goes on.
    AnswerSlow => "answer_slow",

    /// The gateway failed: a defect. It denied.
    Internal => "internal",
}

/// What brings a reason about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The agent: it gave no answer that could be passed on.
    Agent,
    /// The agent's policy says so of the request, and nothing that is outside of it.
    Policy,
    /// Who asks or how, the gateway itself, or nothing.
    Else,
}

impl Reason {
    /// What brought it about.
    pub fn cause(self) -> Cause {
        match self {
            Reason::AgentUnreachable
            | Reason::AgentBusy
            | Reason::AgentUnavailable
            | Reason::AgentTimeout
            | Reason::AgentBroken
            | Reason::AgentUnauthorized
            | Reason::AgentStatus
            | Reason::AgentTooLarge
            | Reason::AgentEncoded
            | Reason::AgentNotJson
            | Reason::UrlAmbiguous
            | Reason::UrlForbidden
            | Reason::VerbDenied
            | Reason::DestinationDenied
            | Reason::EgressDenied
            | Reason::CredentialInDocument
            | Reason::AnswerSlow => Cause::Agent,
            Reason::TokenExpired
            | Reason::TokenUnbound
            | Reason::CallEnded
            | Reason::Limited
            | Reason::TooManyCalls
            | Reason::FunctionDenied
            | Reason::CallerDenied
            | Reason::Closed
            | Reason::InputForbidden
            | Reason::ArgumentsInvalid
            | Reason::SchemaUnknown
            | Reason::ArgumentPinned
            | Reason::Precondition
            | Reason::ConfirmationAsked
            | Reason::Repeated
            | Reason::CodeMissing
            | Reason::CodeWrong
            | Reason::CodeLocked => Cause::Policy,
            Reason::Ok
            | Reason::NotFound
            | Reason::AddressLocked
            | Reason::MethodNotAllowed
            | Reason::HeaderTooLarge
            | Reason::BadRequest
            | Reason::BodyTooLarge
            | Reason::BodyTimeout
            | Reason::ClientGone
            | Reason::Overloaded
            | Reason::AuditFull
            | Reason::CredentialsMissing
            | Reason::CredentialsWrong
            | Reason::CredentialsUnchecked
            | Reason::CredentialsLocked
            | Reason::UserLocked
            | Reason::CredentialsForeign
            | Reason::SignatureMissing
            | Reason::SignatureWrong
            | Reason::UnsignedGet
            | Reason::BodyNotJson
            | Reason::BodyDuplicateKey
            | Reason::BodyTooDeep
            | Reason::FunctionMissing
            | Reason::ArgumentsDisagree
            | Reason::TokenMissing
            | Reason::TokenMalformed
            | Reason::TokenKeyUnknown
            | Reason::TokenMismatch
            | Reason::TokenForeignCall
            | Reason::Emergency
            | Reason::CallerLocked
            | Reason::Internal => Cause::Else,
        }
    }

    /// Whether the agent gave no answer that could be passed on.
    pub fn is_the_agents_fault(self) -> bool {
        self.cause() == Cause::Agent
    }

    /// Whether the agent never heard of a request that was permitted.
    pub fn is_before_the_agent(self) -> bool {
        matches!(self, Reason::AgentUnreachable | Reason::AgentBusy | Reason::AgentUnavailable)
    }

    /// Whether whoever sent the request failed to prove who that is. Who sent no proof at all has not tried: clients ask
    /// without credentials first, to see whether they are needed. Who has to wait after wrong ones has.
    pub fn is_failed_authentication(self) -> bool {
        matches!(
            self,
            Reason::CredentialsWrong
                | Reason::CredentialsLocked
                | Reason::CredentialsForeign
                | Reason::SignatureMissing
                | Reason::SignatureWrong
        )
    }
}
