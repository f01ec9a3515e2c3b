//! `swaigate check`: looks for mistakes in the files, and for what is allowed and unwise.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::{Value, json};
use swaigate_core::{
    lint::{Finding, Item, Lint, Process, Source, State, Subject, checklist, lint},
    policy::{Agent, Seed},
    yaml::{Leaf, Mistake, Outline, quoted},
};

use crate::{
    keys, reload, run,
    settings::{self, FileSecrets, Listener, LoadedPolicies, Settings},
};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Check {
    /// The file that `run` would be given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
    /// Exit with 1 where something is unwise, too
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Go through the production checklist of SignalWire's security guide
    #[arg(long)]
    checklist: bool,
}

/// What was found in files without mistakes.
struct Checked {
    policies: usize,
    findings: Vec<Finding>,
    checklist: Vec<Item>,
}

// === impl Check ===

impl Check {
    /// Prints what was found. The status is 1 where there are mistakes, or where something is unwise and that is asked for.
    ///
    /// # Errors
    /// If agents can't be told apart, or the system has no random bytes.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let seed = run::seed()?;
        let (settings, loaded) = match self.load(&seed) {
            Ok(loaded) => loaded,
            Err(mistakes) => return self.mistaken(mistakes),
        };
        let checked = self.look_at(&settings, &loaded);
        reload::assemble(&settings, loaded.agents, keys::ephemeral_ring()?)?;
        let is_unwise =
            !checked.findings.is_empty() || checked.checklist.iter().any(|item| item.state == State::NotMet);
        if self.json {
            println!("{}", checked.json());
        } else {
            self.print(&checked);
        }
        Ok(if self.strict && is_unwise { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn load(&self, seed: &Seed) -> Result<(Settings, LoadedPolicies), Vec<Mistake>> {
        let settings =
            settings::load(&self.config).map_err(|mistakes| with_those_of_policies(&self.config, mistakes, seed))?;
        let loaded = settings::load_policies(&settings, seed)?;
        Ok((settings, loaded))
    }

    fn mistaken(&self, mistakes: Vec<Mistake>) -> anyhow::Result<ExitCode> {
        if !self.json {
            let count = mistakes.len();
            return Err(reload::told(&mistakes).context(counted(count, "mistake")));
        }
        let mistake = |Mistake { file, line, column, message }: &Mistake| json!({ "file": file, "line": line, "column": column, "message": message });
        println!("{}", json!({ "mistakes": mistakes.iter().map(mistake).collect::<Vec<_>>() }));
        Ok(ExitCode::FAILURE)
    }

    /// The files are read once more, for the places of their keys.
    fn look_at(&self, settings: &Settings, loaded: &LoadedPolicies) -> Checked {
        let file = self.config.display().to_string();
        let of_settings = FileSecrets::new(settings::folder_of(&self.config));
        let of_policies = FileSecrets::new(&settings.policies);
        let files: Vec<String> = loaded.files.iter().map(|path| path.display().to_string()).collect();
        let source = |file, path: &Path, secrets| Source {
            file,
            outline: Outline::of(&settings::text(path).unwrap_or_default()),
            secrets,
        };
        let policies = files.iter().zip(&loaded.files).zip(&loaded.agents);
        let policies: Vec<(Source<'_>, &Agent)> =
            policies.map(|((file, path), agent)| (source(file, path, &of_policies), agent)).collect();
        let gateway = source(&file, &self.config, &of_settings);
        let mut findings = unwise_files(&gateway, None, &of_settings);
        findings.extend(policies.iter().flat_map(|(source, agent)| unwise_files(source, Some(agent), &of_policies)));
        let subject = Subject { gateway, process: process(settings), policies };
        findings.extend(lint(&subject));
        let checklist = if self.checklist { checklist(&subject) } else { Vec::new() };
        Checked { policies: loaded.agents.len(), findings, checklist }
    }

    fn print(&self, checked: &Checked) {
        for Finding { lint, file, place, message, .. } in &checked.findings {
            println!("{file}:{}:{}: warning: {message} [{}]", place.line, place.column, lint.as_str());
        }
        let mut heading = "";
        for item in &checked.checklist {
            if item.heading != heading {
                heading = item.heading;
                println!("\n{heading}");
            }
            println!("  {:14} {}: {}", item.state.as_str(), item.line, item.how);
        }
        if self.checklist {
            println!();
        }
        let policies =
            if checked.policies == 1 { "1 policy".to_owned() } else { format!("{} policies", checked.policies) };
        let warnings = match checked.findings.len() {
            0 => String::new(),
            count => format!("; {}", counted(count, "warning")),
        };
        println!("{}: in order, with {policies}{warnings}", self.config.display());
    }
}

impl Checked {
    fn json(&self) -> Value {
        let warning = |Finding { lint, file, place, agent, message }: &Finding| {
            let agent = agent.as_ref().map(|name| name.as_str());
            json!({ "name": lint.as_str(), "file": file, "line": place.line, "column": place.column, "agent": agent, "message": message })
        };
        let item = |Item { heading, line, state, how }: &Item| json!({ "heading": heading, "line": line, "state": state.as_str(), "how": how });
        json!({
            "policies": self.policies,
            "warnings": self.findings.iter().map(warning).collect::<Vec<_>>(),
            "checklist": self.checklist.iter().map(item).collect::<Vec<_>>(),
        })
    }
}

fn process(settings: &Settings) -> Process {
    let listeners = settings.listen.iter().enumerate();
    let is_open = |(_, listener): &(usize, &Listener)| !listener.is_loopback() && listener.tls.is_none();
    Process {
        is_public_https: settings.public_url.https,
        open_listeners: listeners.filter(is_open).map(|(number, _)| number).collect(),
        has_token_keys: !settings.token_keys.is_empty(),
        audit: settings.audit.path.display().to_string(),
    }
}

/// What is unwise of the files that a file names: secrets that every user of the machine can read, and certificates that
/// aren't good, or not for long.
fn unwise_files(source: &Source<'_>, agent: Option<&Agent>, secrets: &FileSecrets) -> Vec<Finding> {
    let look = |leaf: Leaf| {
        let key = leaf.path.iter().rev().find(|step| step.parse::<usize>().is_err())?;
        let name = quoted(&leaf.text);
        let (lint, message) = match key.as_str() {
            "certificate" | "ca" | "client_ca" => {
                let note = secrets.note_of_certificates(&leaf.text)?;
                (Lint::CertificateEnds, format!("a certificate in {name} {note}; renew it"))
            }
            key if (key == "private_key" || key.ends_with("_file")) && secrets.is_readable_by_all(&leaf.text) => {
                let message = format!("every user of this machine can read {name}; `chmod o-r` changes that");
                (Lint::ReadableSecret, message)
            }
            _ => return None,
        };
        let (file, agent) = (source.file.to_owned(), agent.map(|agent| agent.name.clone()));
        Some(Finding { lint, file, place: leaf.place, agent, message })
    };
    source.outline.leaves().into_iter().filter_map(look).collect()
}

/// Where the settings can't be read, the policies are most likely where they are by default.
fn with_those_of_policies(config: &Path, mut mistakes: Vec<Mistake>, seed: &Seed) -> Vec<Mistake> {
    let mut settings = run::for_nobody();
    settings.policies = config.parent().unwrap_or(Path::new("")).join(settings.policies);
    if settings.policies.is_dir() {
        mistakes.extend(settings::load_policies(&settings, seed).err().unwrap_or_default());
    }
    mistakes
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
