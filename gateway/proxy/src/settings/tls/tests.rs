use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt, path::Path};

use swaigate_core::{secret::Secret, yaml::Mistake};
use tempfile::TempDir;

use super::*;
use crate::settings::{self, FileSecrets, Found, Settings, certificate_names};

/// For `A.example.com` and `*.example.com`, until 2126. Its key is an example.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBWzCCAQ2gAwIBAgIUOM/PyAin8U3ILdJT0ATZMpA4GNwwBQYDK2VwMAwxCjAI
BgNVBAMMAWEwIBcNMjYxMTI0MTYyMzE4WhgPMjEyNjEwMzExNjIzMThaMAwxCjAI
BgNVBAMMAWEwKjAFBgMrZXADIQDMonQQAQvvcjvvshw3xOdeQjxrzV5mEPT//XXf
NjA6zqN/MH0wHQYDVR0OBBYEFMGd8sUc3CQoK8YgPqCPYYoVNpawMB8GA1UdIwQY
MBaAFMGd8sUc3CQoK8YgPqCPYYoVNpawMC0GA1UdEQQmMCSCDUEuZXhhbXBsZS5j
b22CDSouZXhhbXBsZS5jb22HBH8AAAEwDAYDVR0TAQH/BAIwADAFBgMrZXADQQAD
QDIyAV/41TOmHufybSWgJzc8UVQgzn9BWWNjvx6VSSk2RqNXiMLCHvs6b2xByBXF
sIpCboByBZQjS/ifv3IK
-----END CERTIFICATE-----
";
const ENDS: i64 = 4_949_137_398;

const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIEmnfHp1L+PzLqXqH1VqRg7hD6RWhu5c2JKDPvNRiBoF
-----END PRIVATE KEY-----
";

const OTHER_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIP3PYK6oITv+wCCJAb63xAd0XXyLUlfIB0hLSn4fkXLW
-----END PRIVATE KEY-----
";

const PUBLIC: &str = "public_url: https://agents.example.com\n";
const GOOD: &str = "tls: { certificate: a.crt, private_key: a.key }";

/// Variables in place of the environment, and files.
struct Told<'f>(HashMap<&'static str, &'static str>, &'f FileSecrets);

impl Secrets for Told<'_> {
    fn env(&self, _: &str) -> Option<Secret> {
        None
    }

    fn file(&self, path: &str) -> Result<Secret, String> {
        self.1.file(path)
    }

    fn certificates(&self, path: &str) -> Result<Vec<Certificate>, String> {
        self.1.certificates(path)
    }

    fn private_key(&self, path: &str, of: &[Certificate]) -> Result<Secret, String> {
        self.1.private_key(path, of)
    }

    fn fallback(&self, name: &str, _: bool) -> Option<Secret> {
        self.0.get(name).map(|value| Secret::new(*value))
    }
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let damaged = CERTIFICATE.replace("MIIBWzCC", "MIIBWzCD");
    let encrypted = KEY.replace("PRIVATE", "ENCRYPTED PRIVATE");
    for (name, text) in [
        ("a.crt", CERTIFICATE),
        ("a.key", KEY),
        ("other.key", OTHER_KEY),
        ("both.pem", &format!("{KEY}{CERTIFICATE}")),
        ("damaged.crt", &damaged),
        ("cut.crt", &CERTIFICATE[..200]),
        ("encrypted.key", &encrypted),
        ("empty.crt", ""),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// Settings with this listener, by these variables.
fn told(
    folder: &Path,
    text: &str,
    variables: &[(&'static str, &'static str)],
) -> Result<(Settings, Found), Vec<String>> {
    let file = folder.join("gateway.yaml");
    fs::write(&file, text).unwrap();
    let secrets = FileSecrets::new(folder);
    let settings = settings::load_with(&file, &Told(variables.iter().copied().collect(), &secrets));
    let prefix = format!("{}/", folder.display());
    let words =
        |mistakes: Vec<Mistake>| mistakes.iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect();
    settings.map(|settings| (settings, secrets.into_found())).map_err(words)
}

fn listener(address: &str, more: &str) -> String {
    format!("listen: [{{ address: \"{address}\", {more} }}]\n")
}

fn loaded(text: &str, variables: &[(&'static str, &'static str)]) -> Settings {
    let folder = folder();
    told(folder.path(), text, variables).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}")).0
}

#[test]
fn a_listener_has_certificates_and_says_whom_it_lets_in() {
    let folder = folder();
    let text = format!("{PUBLIC}{}", listener("0.0.0.0:8443", GOOD));
    let (settings, found) = told(folder.path(), &text, &[]).unwrap();
    let tls = settings.listen[0].tls.as_ref().unwrap();
    assert_eq!(tls.certificates.len(), 1);
    assert_eq!(certificate_names(&tls.certificates[0].chain[0]), ["a.example.com", "*.example.com"]);
    assert!(tls.client_ca.is_empty() && tls.min_version == TlsVersion::Tls12);
    assert_eq!(found.certificates, [settings::CertificateFile { path: folder.path().join("a.crt"), ends: ENDS }]);
    assert_eq!((found.private_keys, found.notes), (vec![folder.path().join("a.key")], vec![]));

    let more = "tls: { certificates: [{ certificate: a.crt, private_key: a.key }, { certificate: both.pem, private_key: both.pem }], \
                client_ca: both.pem, client_certificates: optional, min_version: \"1.3\" }";
    let settings = loaded(&format!("{PUBLIC}{}", listener("0.0.0.0:8443", more)), &[]);
    let tls = settings.listen[0].tls.as_ref().unwrap();
    assert_eq!((tls.certificates.len(), tls.client_ca.len()), (2, 1));
    assert_eq!(tls.client_certificates, ClientCertificates::Optional);
    assert_eq!(tls.min_version, TlsVersion::Tls13);
    let more = "tls: { certificate: a.crt, private_key: a.key, client_ca: a.crt }";
    let settings = loaded(&listener("127.0.0.1:8443", more), &[]);
    assert_eq!(settings.listen[0].tls.as_ref().unwrap().client_certificates, ClientCertificates::Required);
    assert_eq!(settings.public_url.origin(), "https://127.0.0.1:8443", "and the platform asks by https then");
    assert_eq!(loaded(&listener("127.0.0.1:443", GOOD), &[]).public_url.origin(), "https://127.0.0.1");
}

#[test]
fn what_cannot_be_used_is_told_with_its_place_and_file() {
    let folder = folder();
    for (tls, words) in [
        ("{}", "1:44: `certificate` and `private_key` are missing: the files of both"),
        ("{ certificate: a.crt }", "1:46: `certificate` needs `private_key` beside it"),
        ("{ private_key: a.key }", "1:46: `private_key` needs `certificate` beside it"),
        (
            "{ certificate: none.crt, private_key: a.key }",
            "1:46: `certificate`: the file `none.crt` can't be used: No such file",
        ),
        (
            "{ certificate: empty.crt, private_key: a.key }",
            "the file `empty.crt` can't be used: it holds no certificate; one",
        ),
        ("{ certificate: a.key, private_key: a.key }", "the file `a.key` can't be used: it holds no certificate; one"),
        (
            "{ certificate: cut.crt, private_key: a.key }",
            "can't be used: it is no PEM file: a section in it has no end",
        ),
        ("{ certificate: damaged.crt, private_key: a.key }", "can't be used: certificate 1 in it is damaged"),
        ("{ certificate: ., private_key: a.key }", "the file `.` can't be used: it is not a file"),
        (
            "{ certificate: a.crt, private_key: other.key }",
            "1:66: `private_key`: the file `other.key` can't be used: its key is not that of the certificate",
        ),
        (
            "{ certificate: a.crt, private_key: a.crt }",
            "`private_key`: the file `a.crt` can't be used: it holds no private key; one",
        ),
        (
            "{ certificate: a.crt, private_key: encrypted.key }",
            "can't be used: its key is encrypted, and no passphrase",
        ),
        ("{ certificates: [] }", "`certificates` must list one"),
        (
            "{ certificates: [{ certificate: a.crt, private_key: a.key }], private_key: a.key }",
            "write it in `certificates`, or write no",
        ),
        ("{ certificates: [{ certificate: a.crt }] }", "`certificate` needs `private_key` beside it"),
        (
            "{ certificate: a.crt, private_key: a.key, client_certificates: optional }",
            "`client_certificates` is read only beside `client_ca`",
        ),
        (
            "{ certificate: a.crt, private_key: a.key, client_ca: empty.crt }",
            "`client_ca`: the file `empty.crt` can't be used",
        ),
        (
            "{ certificate: a.crt, private_key: a.key, min_version: 1.3 }",
            "`min_version` must be text; put it in quotes",
        ),
        (
            "{ certificate: a.crt, private_key: a.key, min_version: \"1.1\" }",
            "`min_version`: must be `1.2` or `1.3`, not `1.1`",
        ),
        (
            "{ certificate: a.crt, private_key: a.key }, insecure_plaintext: true",
            "`tls` and `insecure_plaintext` exclude each other",
        ),
    ] {
        let text = listener("127.0.0.1:8443", &format!("tls: {tls}"));
        let mistakes = told(folder.path(), &text, &[]).map(drop).unwrap_err();
        assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{tls}: {mistakes:?}");
        assert!(mistakes[0].starts_with("gateway.yaml:1:"), "{mistakes:?}");
    }
}

#[test]
fn an_open_key_is_noted() {
    let folder = folder();
    fs::set_permissions(folder.path().join("a.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, found) = told(folder.path(), &listener("127.0.0.1:8443", GOOD), &[]).unwrap();
    let note = "a.key holds a secret and every user of this machine can read it; `chmod o-r` changes that";
    assert!(found.notes.len() == 1 && found.notes[0].ends_with(note), "{:?}", found.notes);
}

const SSL: [(&str, &str); 3] =
    [("SWML_SSL_ENABLED", "TRUE"), ("SWML_SSL_CERT_PATH", "a.crt"), ("SWML_SSL_KEY_PATH", "a.key")];

#[test]
fn the_sdks_variables_stand_for_what_the_file_does_not_say() {
    let of = |text: &str, more: &[(&'static str, &'static str)]| {
        let settings = loaded(text, &[&SSL[..], more].concat());
        (settings.listen[0].tls.is_some(), settings.public_url.origin())
    };
    let domain = ("SWML_DOMAIN", "agents.example.com");
    let base = ("SWML_PROXY_URL_BASE", "https://proxy.example.com/");
    let plain = listener("0.0.0.0:8443", "");
    assert_eq!(of(&plain, &[domain]), (true, "https://agents.example.com:8443".to_owned()));
    assert_eq!(of(&plain.replace("8443", "443"), &[domain]), (true, "https://agents.example.com".to_owned()));
    assert_eq!(of(&plain, &[domain, base]), (true, "https://proxy.example.com".to_owned()));
    assert_eq!(of(&format!("{PUBLIC}{plain}"), &[domain, base]), (true, "https://agents.example.com".to_owned()));
    let local = listener("127.0.0.1:8080", "");
    assert_eq!(of(&local, &[]), (true, "https://127.0.0.1:8080".to_owned()));
    let word = listener("127.0.0.1:8080", "insecure_plaintext: true");
    assert_eq!(of(&word, &[domain]), (false, "http://127.0.0.1:8080".to_owned()), "the file says that it has none");
    let off = |text: &str| loaded(text, &[("SWML_SSL_ENABLED", "false"), domain]);
    assert!(off(&local).listen[0].tls.is_none() && !off(&local).public_url.https);
    assert_eq!(loaded(&local, &[base]).public_url.origin(), "https://proxy.example.com");
}

#[test]
fn what_the_sdks_variables_say_wrongly_is_told() {
    let folder = folder();
    let with = |changed: (&'static str, &'static str)| {
        let text = format!("{PUBLIC}{}", listener("0.0.0.0:8443", ""));
        told(folder.path(), &text, &[&SSL[..], &[changed]].concat()).map(drop).unwrap_err().join("\n")
    };
    for (changed, words) in [
        (("SWML_SSL_ENABLED", "on"), "SWML_SSL_ENABLED must be `true` or `false`"),
        (("SWML_SSL_CERT_PATH", "none.crt"), "SWML_SSL_CERT_PATH: the file `none.crt` can't be used: No such file"),
        (("SWML_SSL_KEY_PATH", "other.key"), "SWML_SSL_KEY_PATH: the file `other.key` can't be used: its key is not"),
    ] {
        assert!(with(changed).contains(words), "{}", with(changed));
    }
    let alone = [("SWML_SSL_ENABLED", "true")];
    let mistakes = told(folder.path(), &listener("127.0.0.1:8443", ""), &alone).map(drop).unwrap_err();
    assert!(mistakes[0].contains("SWML_SSL_ENABLED is set, and SWML_SSL_CERT_PATH isn't"), "{mistakes:?}");
    let base = [("SWML_PROXY_URL_BASE", "https://proxy.example.com/agents")];
    let mistakes = told(folder.path(), &listener("127.0.0.1:8443", ""), &base).map(drop).unwrap_err();
    assert!(mistakes[0].contains("SWML_PROXY_URL_BASE: an origin ends behind its host and port"), "{mistakes:?}");
}

#[test]
fn a_command_without_the_environment_takes_what_a_gateway_with_it_would() {
    let folder = folder();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, listener("0.0.0.0:8443", "")).unwrap();
    assert!(settings::load_without_secrets(&file).is_ok());
    fs::write(&file, listener("127.0.0.1:8080", "")).unwrap();
    let settings = settings::load_without_secrets(&file).unwrap();
    assert!(settings.listen[0].tls.is_none() && settings.public_url.origin() == "http://127.0.0.1:8080");
}
