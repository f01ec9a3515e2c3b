//! HTTP URLs as agents write them, taken apart without changing a byte.

use std::{fmt, ops::Range};

use url::{Host, Url};

/// An absolute http or https URL. Its host is what a browser would make of it (WHATWG URL); its path, query and
/// fragment are the bytes as they were written, so that they can be restored exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl<'t> {
    text: &'t str,
    https: bool,
    authority: Authority,
    path: Range<usize>,
    query: Option<Range<usize>>,
    has_userinfo: bool,
}

/// A host and, where the URL names one, a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Lower case, without a closing dot; IPv6 in brackets.
    pub host: String,
    /// The port, if it is written.
    pub port: Option<u16>,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Why a text that starts like an http URL is none that the gateway can restore byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError<'t> {
    /// No parser makes a URL of this text.
    #[error("not a URL")]
    Invalid(&'t str),
    /// Parsers differ on this text: it holds a backslash, a space or a control character.
    #[error("a URL that parsers read differently")]
    Ambiguous(&'t str),
}

/// Whether the text holds an expression that the platform replaces.
pub fn is_template(text: &str) -> bool {
    text.contains("${") || text.contains("%{")
}

/// Takes an absolute http(s) URL apart.
///
/// `None`: the text is not one (another scheme, a relative path, prose, or a host that is a template).
///
/// # Errors
/// [`UrlError`] if it starts as one and can't be relied on.
pub fn parse(text: &str) -> Option<Result<HttpUrl<'_>, UrlError<'_>>> {
    let trimmed = text.trim_matches(|c: char| c <= ' ');
    // A browser leaves tabs and line ends out, wherever they stand.
    if trimmed.contains(['\t', '\n', '\r']) {
        let squeezed = trimmed.replace(['\t', '\n', '\r'], "");
        return after_scheme(&squeezed).is_some().then_some(Err(UrlError::Ambiguous(text)));
    }
    let (https, rest) = after_scheme(trimmed)?;
    Some(take_apart(text, rest, https))
}

fn after_scheme(text: &str) -> Option<(bool, &str)> {
    let (https, rest) = match text.split_once(':')? {
        (scheme, rest) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        (scheme, rest) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        _ => return None,
    };
    // A browser takes any number of slashes either way round, and a client may well do the same.
    rest.starts_with(['/', '\\']).then_some((https, rest))
}

/// The hosts and ports that clients could make of a text that [`parse`] finds ambiguous: a browser, one to which a
/// backslash is a character like others (RFC 3986), and one that stops at white space.
pub fn lenient_authorities(text: &str) -> impl Iterator<Item = Authority> {
    let text = text.trim();
    let rfc = text.replace('\\', "%5C");
    let first_word = text.split_whitespace().next().unwrap_or_default();
    let urls = [Url::parse(text), Url::parse(&rfc), Url::parse(first_word)];
    urls.into_iter().filter_map(|url| {
        let url = url.ok()?;
        Some(Authority { host: host_of(&url)?, port: url.port() })
    })
}

fn host_of(url: &Url) -> Option<String> {
    Some(match url.host()? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => address.to_string(),
        // `::ffff:127.0.0.1` reaches the same socket as `127.0.0.1`.
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("[{address}]"),
        },
    })
}

fn take_apart<'t>(text: &'t str, rest: &str, https: bool) -> Result<HttpUrl<'t>, UrlError<'t>> {
    let ambiguous = text.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7f);
    let Some(after) = rest.strip_prefix("//").filter(|after| !ambiguous && !after.starts_with('/')) else {
        return Err(UrlError::Ambiguous(text));
    };
    let start = text.len() - after.len();
    let end_of =
        |from: usize, stops: &[char]| text.get(from..).and_then(|t| t.find(stops)).map_or(text.len(), |at| from + at);
    let path_start = end_of(start, &['/', '?', '#']);
    let path_end = end_of(path_start, &['?', '#']);
    let query = text.as_bytes().get(path_end) == Some(&b'?');
    let query = query.then(|| path_end + 1..end_of(path_end + 1, &['#']));

    let written = text.get(start..path_start).unwrap_or_default();
    let (userinfo, host_and_port) = match written.rsplit_once('@') {
        Some((userinfo, host_and_port)) => (Some(userinfo), host_and_port),
        None => (None, written),
    };
    // `Url` takes braces for a name, but the platform puts something else in their place.
    if host_and_port.contains('{') {
        return Err(UrlError::Invalid(text));
    }
    let scheme = if https { "https" } else { "http" };
    let parsed = Url::parse(&format!("{scheme}://{host_and_port}/")).map_err(|_| UrlError::Invalid(text))?;
    let host = host_of(&parsed).ok_or(UrlError::Invalid(text))?;
    // `Url` drops a port that is the scheme's default; it was written all the same.
    let port = written_port(host_and_port).or_else(|| parsed.port());
    Ok(HttpUrl {
        text,
        https,
        authority: Authority { host, port },
        path: path_start..path_end,
        query,
        has_userinfo: userinfo.is_some(),
    })
}

fn written_port(host_and_port: &str) -> Option<u16> {
    let (_, port) = host_and_port.rsplit_once(':')?;
    port.parse().ok()
}

// === impl HttpUrl ===

impl<'t> HttpUrl<'t> {
    /// The whole, as written.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether it carries `user:password@` or part of it.
    pub fn has_userinfo(&self) -> bool {
        self.has_userinfo
    }

    /// The path as written; empty if there is none.
    pub fn path(&self) -> &'t str {
        self.text.get(self.path.clone()).unwrap_or_default()
    }

    /// Where in the text the path ends.
    pub fn path_end(&self) -> usize {
        self.path.end
    }

    /// The query as written, without its `?`; `None` if there is no `?`.
    pub fn query(&self) -> Option<&'t str> {
        self.text.get(self.query.clone()?)
    }

    /// The fragment with its `#`; empty if there is none.
    pub fn fragment(&self) -> &'t str {
        let end = self.query.as_ref().map_or(self.path.end, |query| query.end);
        self.text.get(end..).unwrap_or_default()
    }
}

// === impl Authority ===

impl Authority {
    /// Whether this names the machine itself: `localhost`, 127.0.0.0/8, `::1`, or an unspecified address, which SDKs
    /// write when they listen on all of them.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.as_str();
        let local_v4 = host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
        local_v4 || host == "localhost" || host.ends_with(".localhost") || matches!(host, "[::1]" | "[::]")
    }

    /// The ports that a URL with this authority may mean: the written one, else both defaults, since agents behind a
    /// proxy guess the scheme.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let (first, second) = match self.port {
            Some(port) => (port, None),
            None => (443, Some(80)),
        };
        std::iter::once(first).chain(second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_bytes_as_written() {
        let url = parse("http://u:p@ss@Host.Example.:8080/bank//swaig/?__token=a%3D&x=#frag").unwrap().unwrap();
        assert_eq!(url.authority(), &Authority { host: "host.example".into(), port: Some(8080) });
        assert_eq!(url.path(), "/bank//swaig/");
        assert_eq!(url.query(), Some("__token=a%3D&x="));
        assert_eq!(url.fragment(), "#frag");
        assert!(url.has_userinfo() && !url.is_https());

        let bare = parse("HTTPS://h?").unwrap().unwrap();
        assert_eq!((bare.path(), bare.query(), bare.fragment()), ("", Some(""), ""));
        assert!(bare.is_https());
    }

    #[test]
    fn hosts_in_disguise_are_recognised() {
        for text in [
            "http://2130706433:3000/",
            "http://0x7f.1:3000/",
            "http://127.1:3000/",
            "http://LOCALHOST:3000/",
            "http://[::ffff:7f00:1]:3000/",
        ] {
            let url = parse(text).unwrap().unwrap();
            assert!(url.authority().is_loopback(), "{text} is {}", url.authority().host);
            assert_eq!(url.authority().port, Some(3000), "{text}");
        }
        for text in ["http://example.com/", "http://10.0.0.1/", "http://[2001:db8::1]/"] {
            assert!(!parse(text).unwrap().unwrap().authority().is_loopback(), "{text}");
        }
    }

    #[test]
    fn what_is_no_http_url_is_left_alone() {
        for text in
            ["say:hello", "sip:a@b", "/bank/swaig", "wss://h/x", "${base}/swaig", "http", "http:x", "prose http://h"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_parsers_read_differently_is_an_error() {
        for text in [
            "http:\\\\127.0.0.1\\x",
            "http:///127.0.0.1/x",
            "http:/127.0.0.1/x",
            " http://h/x",
            "http://h/a b",
            "http://h\t/x",
            "http://a\\@h/",
            "ht\ntp://h/",
            "http:\t//h/",
        ] {
            assert_eq!(parse(text).unwrap(), Err(UrlError::Ambiguous(text)), "{text:?}");
        }
        for text in ["http://${host}/x", "http://%{host}/x"] {
            assert_eq!(parse(text).unwrap(), Err(UrlError::Invalid(text)), "{text:?}");
        }
    }
}
