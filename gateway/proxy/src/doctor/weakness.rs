//! The weaknesses that are looked for: what each is called, how bad it is, and what of a gateway covers it.

macro_rules! weaknesses {
    ($($name:ident => $id:literal,)+) => {
        /// A weakness, the worst first. SECURITY.md has a row for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Weakness { $($name,)+ }

        impl Weakness {
            #[cfg(test)]
            const ALL: &[Weakness] = &[$(Weakness::$name,)+];

            /// Its name, for programs and for SECURITY.md.
            pub(super) fn id(self) -> &'static str {
                match self { $(Weakness::$name => $id,)+ }
            }
        }
    };
}

weaknesses! {
    OpenDocument => "open_document",
    AnyPassword => "any_password",
    HostPoisoned => "host_poisoned",
    McpOpen => "mcp_open",
    TokenNotRequired => "token_not_required",
    CredentialsInDocument => "credentials_in_document",
    HostTrusted => "host_trusted",
    FunctionsWithoutToken => "functions_without_token",
    ForeignToken => "foreign_token",
    Mcp => "mcp",
    DebugOpen => "debug_open",
    PlainHttp => "plain_http",
    AmbiguousJson => "ambiguous_json",
    CheckForInput => "check_for_input",
    Debug => "debug",
    RoutesListed => "routes_listed",
    LargeBodies => "large_bodies",
    UnknownPaths => "unknown_paths",
    TokensExpireEarly => "tokens_expire_early",
    Unsigned => "unsigned",
    TokensUndecided => "tokens_undecided",
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// A stranger can do it.
    Critical,
    /// Whoever sees one document, or has the password, can do more than it is for.
    High,
    /// It helps in an attack.
    Medium,
    /// It tells more than it must, or costs more.
    Low,
    /// Not counted: it depends, or no gateway changes it.
    Note,
}

// === impl Weakness ===

impl Weakness {
    pub(super) fn severity(self) -> Severity {
        match self {
            Weakness::OpenDocument
            | Weakness::AnyPassword
            | Weakness::HostPoisoned
            | Weakness::McpOpen
            | Weakness::TokenNotRequired => Severity::Critical,
            Weakness::CredentialsInDocument
            | Weakness::HostTrusted
            | Weakness::FunctionsWithoutToken
            | Weakness::ForeignToken
            | Weakness::Mcp
            | Weakness::DebugOpen => Severity::High,
            Weakness::PlainHttp | Weakness::AmbiguousJson | Weakness::CheckForInput => Severity::Medium,
            Weakness::Debug | Weakness::RoutesListed | Weakness::LargeBodies | Weakness::UnknownPaths => Severity::Low,
            Weakness::TokensExpireEarly | Weakness::Unsigned | Weakness::TokensUndecided => Severity::Note,
        }
    }

    /// What of a gateway covers it, or what else does.
    pub(super) fn covered_by(self) -> &'static str {
        match self {
            Weakness::OpenDocument | Weakness::AnyPassword => "`platform.users`: whoever asks needs a password",
            Weakness::HostPoisoned | Weakness::HostTrusted => {
                "always on; no host header of the client's reaches the agent. Let nothing but the gateway reach it"
            }
            Weakness::McpOpen | Weakness::Mcp => "always on; /mcp is 404, unless `expose` lists it",
            Weakness::TokenNotRequired | Weakness::FunctionsWithoutToken | Weakness::ForeignToken => {
                "always on; every function needs the gateway's token, for its own call and function"
            }
            Weakness::CredentialsInDocument => "always on; URLs carry credentials made for one call, never the agent's",
            Weakness::DebugOpen | Weakness::Debug => "always on; /debug is 404, unless `expose` lists it",
            Weakness::CheckForInput => "always on; /check_for_input is 404, unless `expose` lists it",
            Weakness::PlainHttp => "`public_url: https://…`, and the agent on loopback or a network of its own",
            Weakness::AmbiguousJson => "always on; a body that two parsers may read in two ways is refused",
            Weakness::RoutesListed | Weakness::UnknownPaths => {
                "always on; paths that the protocol doesn't need are 404"
            }
            Weakness::LargeBodies => "`bodies.request`, 1MiB by default",
            Weakness::TokensExpireEarly => {
                "nothing; give the agent's SDK a longer token time. The gateway's own tokens last `tokens.lifetime`"
            }
            Weakness::Unsigned => "`platform.signing_keys_env`: a fetch without it is refused",
            Weakness::TokensUndecided => "always on; every function needs the gateway's token, whatever the agent does",
        }
    }
}

// === impl Severity ===

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
            Severity::Note => "note",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_and_a_row_in_security() {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../SECURITY.md")).expect("the page");
        let ids: HashSet<&str> = Weakness::ALL.iter().map(|weakness| weakness.id()).collect();
        assert_eq!(ids.len(), Weakness::ALL.len());
        for weakness in Weakness::ALL {
            let row = format!("| `{}` | {} |", weakness.id(), weakness.severity().as_str());
            assert!(text.contains(&row), "SECURITY.md has no row {row}");
        }
    }
}
