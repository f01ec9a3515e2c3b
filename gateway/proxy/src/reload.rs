//! Loading, and loading again when files change or SIGHUP comes. A bad file changes nothing: the last good set stays.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use swaigate_core::{
    policy::{Agent, DEFAULT_USER, Policies, Seed},
    yaml::Mistake,
};
use tokio::sync::oneshot;

use crate::{
    app::App,
    clock, keys,
    metrics::Metrics,
    settings::{self, CertificateFile, Listener, LoadedPolicies, Settings},
    tls::{Fronts, Next},
};

/// How long files must be quiet before they are read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// How much may wake the thread that loads before it looks. All of that is answered by one load, so what a full queue has no
/// place for is missed by nobody but those who wait for the outcome, and they are told.
const MAX_WAKES: usize = 64;

/// Reads everything that `--config` names. The files with certificates and keys that policies name are among those of the
/// settings.
///
/// # Errors
/// All mistakes, a line each.
pub fn load(config: &Path, seed: &Seed) -> anyhow::Result<(Settings, Policies)> {
    let mut settings = settings::load(config).map_err(|mistakes| told(&mistakes))?;
    let policies = load_policies(&mut settings, seed)?;
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

fn load_policies(settings: &mut Settings, seed: &Seed) -> anyhow::Result<Policies> {
    let LoadedPolicies { agents, found, .. } =
        settings::load_policies(settings, seed).map_err(|mistakes| told(&mistakes))?;
    for note in settings.notes.iter().chain(&found.notes) {
        tracing::warn!("{note}");
    }
    settings.certificates.extend(found.certificates);
    settings.private_keys.extend(found.private_keys);
    for agent in agents.iter().filter(|agent| agent.upstream.tls.insecure_skip_verify) {
        let advice = "whoever is in between can be the agent; name who vouches for it in `ca`";
        tracing::warn!(agent = %agent.name, "`insecure_skip_verify`: the agent's certificate is not looked at, so {advice}");
    }
    assemble(settings, agents, keys::ring(settings)?)
}

/// Shows until when certificates are good, and whose are not looked at.
pub fn show_certificates(metrics: &Metrics, settings: &Settings, policies: &Policies) {
    show_ends(metrics, &settings.certificates);
    metrics.files.unverified_upstreams(policies);
}

fn show_ends(metrics: &Metrics, files: &[CertificateFile]) {
    metrics.files.certificates(files.iter().map(|file| (file.path.as_path(), file.ends)));
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

/// What the files are read again for.
enum Wake {
    /// One has changed, and others may follow.
    Change,
    /// Whoever asks has written what is to be read, and may wait for what becomes of it.
    Asked(Option<oneshot::Sender<Outcome>>),
}

/// How many agents there are now, or why the configuration in force stays.
pub type Outcome = Result<usize, String>;

/// Why nothing is known of a load that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// So many others wait already.
    #[error("{MAX_WAKES} others wait for the configuration to be loaded again; ask again in a second")]
    Busy,
    /// The gateway is ending.
    #[error("the gateway is shutting down")]
    Ending,
}

/// Makes the files be read again.
#[derive(Debug, Clone)]
pub struct Bell(mpsc::SyncSender<Wake>);

// === impl Bell ===

impl Bell {
    /// Without waiting.
    pub fn ring(&self) {
        // Only a gateway that is ending has nobody left to wake.
        let _ = self.0.try_send(Wake::Asked(None));
    }

    /// Waits for what becomes of it.
    ///
    /// # Errors
    /// [`Unheard`].
    pub async fn reload(&self) -> Result<Outcome, Unheard> {
        let (told, outcome) = oneshot::channel();
        self.0.try_send(Wake::Asked(Some(told))).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => Unheard::Busy,
            mpsc::TrySendError::Disconnected(_) => Unheard::Ending,
        })?;
        outcome.await.map_err(|_| Unheard::Ending)
    }
}

/// Loads again whenever a file changes or the bell is rung. Ends with the process.
pub struct Reloader {
    app: Arc<App>,
    config: PathBuf,
    in_force: Settings,
    seed: Seed,
    fronts: Fronts,
    watched: Watched,
    loaded: Loaded,
}

/// What was read last, of what is in force.
#[derive(Default)]
struct Loaded {
    /// The text of `gateway.yaml`.
    config: Option<Vec<u8>>,
    certificates: Vec<CertificateFile>,
}

/// The names of files with certificates and keys. Their folders are watched, and of what happens there, what happens to
/// them counts.
type Watched = Arc<Mutex<BTreeSet<OsString>>>;

// === impl Reloader ===

impl Reloader {
    /// For a gateway that runs with these settings.
    pub fn new(app: Arc<App>, config: PathBuf, in_force: Settings, seed: Seed, fronts: Fronts) -> Self {
        let loaded = Loaded { config: fs::read(&config).ok(), certificates: in_force.certificates.clone() };
        Self { app, config, in_force, seed, fronts, watched: Watched::default(), loaded }
    }

    /// Starts to watch. The bell is for those who want it loaded now. What is done `after` each time is the caller's.
    ///
    /// # Errors
    /// If the thread can't be started. If files can't be watched, that is logged, and SIGHUP still works.
    pub fn start(mut self, after: fn()) -> std::io::Result<Bell> {
        let (wake, woken) = mpsc::sync_channel(MAX_WAKES);
        let bell = Bell(wake);
        let mut watcher = self.watch(bell.clone());
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files can't be watched; send SIGHUP after a change");
        }
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            if let Ok(watcher) = &mut watcher {
                self.watch_certificates(watcher, &self.in_force);
            }
            while let Ok(first) = woken.recv() {
                let wakes = wait_for_quiet(first, &woken);
                let loaded = self.reload();
                if let (Ok(watcher), Ok((settings, _))) = (&mut watcher, &loaded) {
                    self.watch_certificates(watcher, settings);
                }
                let outcome: Outcome = loaded.map(|(_, agents)| agents);
                for wake in wakes {
                    if let Wake::Asked(Some(told)) = wake {
                        // Whoever asked may have left.
                        let _ = told.send(outcome.clone());
                    }
                }
                after();
            }
        })?;
        Ok(bell)
    }

    /// Folders are watched, not files: editors and Kubernetes replace files.
    fn watch(&self, bell: Bell) -> notify::Result<RecommendedWatcher> {
        let watched = Arc::clone(&self.watched);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| {
                !event.kind.is_access() && event.paths.iter().any(|path| is_read(path) || is_watched(path, &watched))
            }) {
                // Only a gateway that is ending has nobody left to wake.
                let _ = bell.0.try_send(Wake::Change);
            }
        })?;
        let config_folder = self.config.parent().filter(|folder| !folder.as_os_str().is_empty());
        watcher.watch(config_folder.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)?;
        watcher.watch(&self.in_force.policies, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    /// Watches the folders of these settings' certificates and keys, besides those that are watched.
    fn watch_certificates(&self, watcher: &mut RecommendedWatcher, settings: &Settings) {
        let certificates = settings.certificates.iter().map(|file| &file.path);
        let files: Vec<&PathBuf> = certificates.chain(&settings.private_keys).collect();
        let names = files.iter().filter_map(|file| file.file_name().map(OsString::from));
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
        let folders: BTreeSet<&Path> = files.iter().map(|file| settings::folder_of(file)).collect();
        for folder in folders {
            // Those of before are watched once more, in case the folder itself is another one now.
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                let folder = folder.display();
                tracing::warn!(%error, %folder, "certificates there can't be watched; send SIGHUP after a change");
            }
        }
    }

    /// What is in force then, and for how many agents; or why nothing new is.
    fn reload(&mut self) -> Result<(Settings, usize), String> {
        let config = fs::read(&self.config).ok();
        match self.load_what_may_change(config.as_deref()) {
            Ok((settings, policies, next)) => {
                let agents = policies.agents().len();
                let policies = Arc::new(policies.with_schemas_of(&self.app.policies.load()));
                self.app.board.know_callers_by(&policies);
                let before = self.app.policies.swap(policies);
                next.take_over();
                let after = self.app.policies.load();
                show_certificates(&self.app.metrics, &settings, &after);
                self.loaded = Loaded { config, certificates: settings.certificates.clone() };
                self.app.metrics.agents.keep(&before, &after);
                self.app.metrics.agents.expect(&after);
                self.app.health.keep_agents(&after);
                self.app.fleets.follow(&after);
                self.app.metrics.files.reloaded(Ok(clock::now().0 as f64 / 1000.0));
                if !needs_generated_password(&before) {
                    show_generated_password(&after, &self.seed);
                }
                self.app.loads.loaded(clock::now());
                tracing::info!(agents, "the configuration was loaded again");
                Ok((settings, agents))
            }
            Err(error) => {
                self.app.metrics.files.reloaded(Err(()));
                tracing::error!("the configuration in force stays, since the new one can't be used:\n{error:#}");
                let why = format!("{error:#}");
                self.app.loads.refused(clock::now(), why.clone());
                Err(why)
            }
        }
    }

    /// Policies, keys, certificates and the public URL; the rest stays as it was at start.
    /// `config` is the text of `gateway.yaml`.
    fn load_what_may_change(&mut self, config: Option<&[u8]>) -> anyhow::Result<(Settings, Policies, Next)> {
        let new = settings::load(&self.config).map_err(|mistakes| told(&mistakes))?;
        self.say_what_needs_a_restart(&new);
        let old = &self.in_force;
        let mut settings =
            Settings { policies: old.policies.clone(), state: old.state.clone(), bodies: old.bodies, ..new };
        let next = self.fronts.next(&settings.listen)?;
        match load_policies(&mut settings, &self.seed) {
            Ok(policies) => Ok((settings, policies, next)),
            Err(error) => {
                if config.is_some() && config == self.loaded.config.as_deref() {
                    self.renew(next, settings.certificates);
                }
                Err(error)
            }
        }
    }

    /// A mistake in a policy holds back no certificate that was renewed meanwhile: the settings that name it are in force.
    fn renew(&mut self, next: Next, renewed: Vec<CertificateFile>) {
        next.take_over();
        for file in &mut self.loaded.certificates {
            if let Some(renewed) = renewed.iter().find(|renewed| renewed.path == file.path) {
                file.clone_from(renewed);
            }
        }
        show_ends(&self.app.metrics, &self.loaded.certificates);
    }

    fn say_what_needs_a_restart(&self, new: &Settings) {
        let old = &self.in_force;
        let changed = [
            ("listen", are_other(&old.listen, &new.listen)),
            ("trusted_proxies", old.trusted_proxies != new.trusted_proxies),
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
            ("hsts", old.hsts != new.hsts),
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

fn is_watched(path: &Path, watched: &Watched) -> bool {
    let watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
    path.file_name().is_some_and(|name| watched.contains(name))
}

fn are_other(old: &[Listener], new: &[Listener]) -> bool {
    old.len() != new.len() || old.iter().zip(new).any(|(old, new)| old.is_other(new))
}

/// All mistakes, a line each.
pub fn told(mistakes: &[Mistake]) -> anyhow::Error {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\n"))
}

/// All that comes until nothing has changed for a while, but not for ever, and no longer once somebody asks.
fn wait_for_quiet(first: Wake, woken: &mpsc::Receiver<Wake>) -> Vec<Wake> {
    let give_up = Instant::now() + 10 * QUIET;
    let mut wakes = vec![first];
    while let (Some(Wake::Change), true) = (wakes.last(), Instant::now() < give_up) {
        let Ok(next) = woken.recv_timeout(QUIET) else { break };
        wakes.push(next);
    }
    wakes.extend(woken.try_iter().take(MAX_WAKES));
    wakes
}
