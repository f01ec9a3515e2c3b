//! Loading, and loading again when files change or SIGHUP comes. A bad file changes nothing: the last good set stays.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use notify::{RecursiveMode, Watcher};
use swaigate_core::{
    policy::{Agent, DEFAULT_USER, Policies, Seed},
    yaml::Mistake,
};

use crate::{
    app::App,
    clock, keys,
    settings::{self, Settings},
};

/// How long files must be quiet before they are read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// Reads everything that `--config` names.
///
/// # Errors
/// All mistakes, a line each.
pub fn load(config: &Path, seed: &Seed) -> anyhow::Result<(Settings, Policies)> {
    let settings = settings::load(config).map_err(|mistakes| told(&mistakes))?;
    let policies = load_policies(&settings, seed)?;
    Ok((settings, policies))
}

/// Shows the password that was made at start, if an agent needs it. It is the one secret that is shown, since without it
/// nobody could use the gateway; it is not in the log.
pub fn show_generated_password(policies: &Policies, seed: &Seed) {
    if needs_generated_password(policies) {
        let password = seed.generated_password.expose_str().unwrap_or_default();
        println!("No user is configured. Until the next start: user {DEFAULT_USER}, password {password}");
    }
}

fn needs_generated_password(policies: &Policies) -> bool {
    policies.agents().iter().any(|agent| agent.platform.uses_generated_password)
}

fn load_policies(settings: &Settings, seed: &Seed) -> anyhow::Result<Policies> {
    let loaded = settings::load_policies(settings, seed).map_err(|mistakes| told(&mistakes))?;
    for note in settings.notes.iter().chain(&loaded.notes) {
        tracing::warn!("{note}");
    }
    assemble(settings, loaded.agents, keys::ring(settings)?)
}

/// The set of these agents under these settings.
///
/// # Errors
/// If two agents can't be told apart.
pub fn assemble(
    settings: &Settings,
    agents: Vec<Agent>,
    ring: swaigate_core::keys::KeyRing,
) -> anyhow::Result<Policies> {
    Policies::new(settings.public_url.clone(), agents, ring).map_err(|mistakes| anyhow!(mistakes.join("\n")))
}

/// Loads again whenever a file changes or `hangup` gets a message. Ends with the process.
pub struct Reloader {
    app: Arc<App>,
    config: PathBuf,
    in_force: Settings,
    seed: Seed,
}

// === impl Reloader ===

impl Reloader {
    /// For a gateway that runs with these settings.
    pub fn new(app: Arc<App>, config: PathBuf, in_force: Settings, seed: Seed) -> Self {
        Self { app, config, in_force, seed }
    }

    /// Starts to watch. What is sent to the returned end is a request to load now.
    ///
    /// # Errors
    /// If the thread can't be started. If files can't be watched, that is logged, and SIGHUP still works.
    pub fn start(self) -> std::io::Result<mpsc::Sender<()>> {
        let (wake, woken) = mpsc::channel();
        let watcher = self.watch(wake.clone());
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files can't be watched; send SIGHUP after a change");
        }
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            let _watcher = watcher;
            while woken.recv().is_ok() {
                wait_for_quiet(&woken);
                self.reload();
            }
        })?;
        Ok(wake)
    }

    /// Folders are watched, not files: editors and Kubernetes replace files.
    fn watch(&self, wake: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| is_read(path))) {
                // Only a gateway that is ending has nobody left to wake.
                let _ = wake.send(());
            }
        })?;
        let config_folder = self.config.parent().filter(|folder| !folder.as_os_str().is_empty());
        watcher.watch(config_folder.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)?;
        watcher.watch(&self.in_force.policies, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    fn reload(&self) {
        match self.load_what_may_change() {
            Ok(policies) => {
                let agents = policies.agents().len();
                let policies = Arc::new(policies.with_schemas_of(&self.app.policies.load()));
                self.app.switches.know_callers_by(&policies);
                let before = self.app.policies.swap(policies);
                let after = self.app.policies.load();
                self.app.metrics.keep_agents(&before, &after);
                self.app.health.keep_agents(&after);
                self.app.fleets.follow(&after);
                self.app.metrics.reloaded(Ok(clock::now().0 as f64 / 1000.0));
                if !needs_generated_password(&before) {
                    show_generated_password(&after, &self.seed);
                }
                tracing::info!(agents, "the configuration was loaded again");
            }
            Err(error) => {
                self.app.metrics.reloaded(Err(()));
                tracing::error!("the configuration in force stays, since the new one can't be used:\n{error:#}");
            }
        }
    }

    /// Policies, keys and the public URL; the rest stays as it was at start.
    fn load_what_may_change(&self) -> anyhow::Result<Policies> {
        let new = settings::load(&self.config).map_err(|mistakes| told(&mistakes))?;
        self.say_what_needs_a_restart(&new);
        let old = &self.in_force;
        let settings = Settings { policies: old.policies.clone(), state: old.state.clone(), bodies: old.bodies, ..new };
        load_policies(&settings, &self.seed)
    }

    fn say_what_needs_a_restart(&self, new: &Settings) {
        let old = &self.in_force;
        let changed = [
            ("listen", old.listen != new.listen),
            ("admin", old.admin != new.admin),
            ("policies", old.policies != new.policies),
            ("state", old.state != new.state),
            ("failed_authentication", old.failed_authentication != new.failed_authentication),
            ("audit", old.audit != new.audit),
            ("threads", old.threads != new.threads),
            ("connections", old.connections != new.connections),
            ("bodies", old.bodies != new.bodies),
            ("log", old.log != new.log),
            ("shutdown", old.shutdown != new.shutdown),
        ];
        for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!("`{key}` has changed in {}; that needs a restart", self.config.display());
        }
    }
}

/// Whether a file is one that is read, and not one that the gateway itself writes in the same folder. Kubernetes swaps a
/// link named `..data`.
fn is_read(path: &Path) -> bool {
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    is_yaml || path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
}

/// All mistakes, a line each.
pub fn told(mistakes: &[Mistake]) -> anyhow::Error {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\n"))
}

/// Until nothing has come for a while, but not for ever.
fn wait_for_quiet(woken: &mpsc::Receiver<()>) {
    let give_up = Instant::now() + 10 * QUIET;
    while Instant::now() < give_up && woken.recv_timeout(QUIET).is_ok() {}
}
