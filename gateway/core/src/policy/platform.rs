//! Who may talk to an agent through the gateway, and how that is known.

use crate::{basic::Users, secret::Secret, signature::SigningKey};

/// Who may talk to an agent through the gateway.
#[derive(Debug)]
pub struct Platform {
    /// The users and their passwords.
    pub users: Users,
    /// Whether one of them is the user whose password was made at start.
    pub uses_generated_password: bool,
    /// What stands in the URLs of documents.
    pub url_credentials: UrlCredentials,
    /// Which requests have to be signed, if any key is known.
    pub signing: Option<Signing>,
}

/// What is asked of the platform's signatures. One that is there is checked, wherever that is.
#[derive(Debug)]
pub struct Signing {
    /// Who may have signed.
    pub keys: Vec<SigningKey>,
    /// What has to be signed.
    pub required: Required,
    /// `insecure_unsigned_get`: documents may be fetched by GET, which can't be signed, though signatures are required.
    pub allows_get: bool,
}

/// Which requests have to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// Those that fetch documents: the platform signs no others (PROTOCOL.md, 7).
    Swml,
    /// Every POST of the platform's.
    All,
    /// None.
    Nothing,
}

/// The credentials in rewritten URLs.
#[derive(Debug)]
pub enum UrlCredentials {
    /// Made for the document: good for its call and its kind of URL only.
    PerCall,
    /// `insecure_static_url_credentials`: the first user's own, `user:password`, percent-encoded.
    Static(Secret),
}
