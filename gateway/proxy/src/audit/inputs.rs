//! What rules found in a request, as it is written.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Serialize;
use swaigate_core::record::{CodeSeen, Inputs};

/// Of what wasn't asked nothing is written.
#[derive(Serialize)]
pub(super) struct Line<'i> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unseen: BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_fits: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lenient: Option<&'i str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    meant_otherwise: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pins: BTreeMap<&'i str, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<Heard>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    met: BTreeMap<&'i str, bool>,
}

#[derive(Serialize)]
struct Heard {
    #[serde(skip_serializing_if = "Option::is_none")]
    turns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreed_at: Option<u32>,
    words: String,
}

impl<'i> Line<'i> {
    /// Nothing, if no rule found anything.
    pub(super) fn of(inputs: &'i Inputs) -> Option<Self> {
        if *inputs == Inputs::default() {
            return None;
        }
        let by_name = |found: &'i [(String, bool)]| found.iter().map(|(name, is)| (name.as_str(), *is)).collect();
        Some(Self {
            unseen: inputs.unseen.iter().map(|seen| (format!("{}:{}", seen.key, hex(&seen.rule)), seen.fits)).collect(),
            published_fits: inputs.published_fits,
            lenient: inputs.lenient.as_deref(),
            meant_otherwise: inputs.meant_otherwise,
            pins: by_name(&inputs.pins),
            code: inputs.code.map(CodeSeen::as_str),
            heard: inputs.heard.map(|heard| Heard {
                turns: heard.turns,
                agreed_at: heard.agreed_at,
                words: hex(&heard.words),
            }),
            met: by_name(&inputs.met),
        })
    }
}

/// A digest as text.
pub fn hex(digest: &[u8]) -> String {
    HEXLOWER.encode(digest)
}
