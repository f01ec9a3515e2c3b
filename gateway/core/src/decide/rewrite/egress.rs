//! `egress`: which hosts the platform is made to ask.

use super::{Found, Minter, rules::Ruled};
use crate::{
    json::Node,
    origin::{self, UrlError},
    policy::Egress,
    record::{Bypass, Rule},
    swml::{self, Address, Place, Reach, Source, Survey, UrlPlace},
    verdict::Reason,
};

/// What is cut in place of a refusal, if anything is.
struct Blame<'d> {
    node: Option<&'d Node<'d>>,
    /// The definition of the function for which the host is asked.
    function: Option<usize>,
    /// The item of a list of others' functions.
    source: Option<Source<'d>>,
    key: &'d str,
}

// === impl Minter ===

impl Minter<'_> {
    /// Cuts functions and lists of functions from hosts that aren't allowed, and refuses whatever else asks such hosts.
    pub(super) fn egress<'d>(&mut self, survey: &Survey<'d>, ruled: &mut Ruled<'d>) -> Result<(), Reason> {
        let egress = &self.writer.egress;
        if egress.allow.is_none() {
            return Ok(());
        }
        for place in &survey.urls {
            let blame = Blame { node: place.node(), function: place.within, source: place.source, key: place.what };
            if counts(egress, place.reach) && !is_gone(ruled, &blame) && !self.may_ask(egress, place) {
                match place.place {
                    // Functions that inherit it are cut one by one.
                    Place::Default(defaults) => self.cut_default(defaults, ruled),
                    _ => self.blame(&blame, survey, ruled)?,
                }
            }
        }
        for address in &survey.addresses {
            let blame =
                Blame { node: Some(address.node), function: address.within, source: address.source, key: address.key };
            if counts(egress, address.reach) && !is_gone(ruled, &blame) && !self.may_reach(egress, address) {
                self.blame(&blame, survey, ruled)?;
            }
        }
        Ok(())
    }

    fn cut_default<'d>(&self, defaults: &'d Node<'d>, ruled: &mut Ruled<'d>) {
        if !self.writer.is_shadow(Rule::Egress) {
            ruled.cut.add_members(defaults, &["web_hook_url"]);
        }
    }

    /// Cuts the function or the list's item that asks there; refuses, if it is neither.
    fn blame<'d>(&mut self, blame: &Blame<'d>, survey: &Survey<'d>, ruled: &mut Ruled<'d>) -> Result<(), Reason> {
        let definition = blame.function.and_then(|number| survey.definitions.get(number));
        if self.writer.is_shadow(Rule::Egress) {
            self.shadowed(Rule::Egress, Reason::EgressDenied);
        } else if let Some(definition) = definition {
            self.note(if definition.name.is_empty() { blame.key } else { definition.name }, Bypass::Cut);
            ruled.remove_function(definition);
        } else if let Some(source) = blame.source {
            self.note(source.list, Bypass::Cut);
            ruled.cut.add(source.at);
        } else {
            self.deny(Rule::Egress, Reason::EgressDenied, blame.key)?;
        }
        Ok(())
    }

    /// Whether the platform may ask this URL. Those of protected agents never count.
    fn may_ask(&self, egress: &Egress, place: &UrlPlace<'_>) -> bool {
        if !matches!(self.owned(place), Ok(Found::Foreign(_))) {
            return true;
        }
        match &place.url {
            Ok(url) if has_open_front(url.text()) => egress.templates.iter().any(|text| text == url.text()),
            Ok(url) => self.policies.is_public(url.authority()) || egress.allows(url.authority()),
            Err(UrlError::Invalid(text) | UrlError::Ambiguous(text)) => egress.templates.iter().any(|it| it == text),
        }
    }

    /// The same for what is no http URL.
    fn may_reach(&self, egress: &Egress, address: &Address<'_>) -> bool {
        let text = address.node.as_str().unwrap_or_default();
        let is_spoken = ["say:", "ring:", "silence:"].iter().any(|spoken| text.starts_with(spoken));
        if address.reach == Reach::Fetches && is_spoken {
            return true;
        }
        if has_open_front(text) {
            return egress.templates.iter().any(|it| it == text);
        }
        let Some((_, rest)) = text.split_once("://") else { return true };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let url = format!("http://{}", rest.get(..end).unwrap_or_default());
        match origin::parse(&url) {
            Some(Ok(url)) => {
                let is_own = self.policies.owner(url.authority(), "/", self.writer).is_some();
                is_own || self.policies.is_public(url.authority()) || egress.allows(url.authority())
            }
            Some(Err(_)) | None => false,
        }
    }
}

fn counts(egress: &Egress, reach: Reach) -> bool {
    match reach {
        Reach::Asks => true,
        Reach::Fetches => egress.assets,
        Reach::Nothing => false,
    }
}

fn is_gone(ruled: &Ruled<'_>, blame: &Blame<'_>) -> bool {
    blame.node.is_some_and(|node| ruled.cut.covers(node))
}

/// Whether a template stands where it can change the host.
fn has_open_front(text: &str) -> bool {
    let front = match text.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            text.get(..scheme.len() + 3 + end).unwrap_or_default()
        }
        None => text,
    };
    // In `${a/b}` the slash is the template's.
    swml::is_template(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_before_the_path_may_change_the_host() {
        for open in
            ["${vars.url}", "https://${vars.host}/x", "https://a.example${x}/", "${a}://a.example/", "https://%{a}@b/"]
        {
            assert!(has_open_front(open), "{open}");
        }
        for closed in ["https://a.example/${x}", "wss://a.example?x=%{y}", "https://a.example"] {
            assert!(!has_open_front(closed), "{closed}");
        }
    }
}
