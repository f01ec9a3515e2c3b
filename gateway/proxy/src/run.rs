//! From settings to a running gateway, and to its orderly end.

mod estate;
mod handover;
mod signals;
mod successor;
mod systemd;
mod watchdog;

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use pingora_core::{
    apps::http_app::HttpServer,
    server::{RunArgs, Server, configuration::ServerConf},
    services::{ServiceWithDependents, background::BackgroundService},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use swaigate_core::{
    keys::MacKey,
    policy::{Policies, Secrets, Seed, compile_for_upstream_with},
};
use tokio::time::interval;

use self::{
    estate::Belongings,
    handover::{Claimed, Inheritance},
    signals::Signals,
    successor::Successor,
    watchdog::Watchdog,
};
use crate::{
    admin::Admin,
    app::{App, Board, Parts},
    audit::{self, Audit},
    clock,
    edge::{self, Closer, Door, Edge, Inherited, Limits, Pulse, Socket},
    gate::Gate,
    keys,
    metrics::Metrics,
    random,
    reload::{self, Reloader},
    settings::{self, Access, AdminToken, Connections, EmbeddedState, Role, Settings},
    state::{Bounds, Embedded, FailedAttempts, Kept},
    tls::Fronts,
    upstream::{HealthChecks, Upstreams},
};

/// How often idle cells and dead bindings are forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// What the admin token is for.
const ADMIN_API: &str = "/v1/… at the admin address";

/// What the operator's connections may take; each is for one request.
const ADMIN_LIMITS: Limits = Limits {
    max: 256,
    max_per_address: 256,
    header_timeout: Duration::from_secs(10),
    keepalive: Duration::from_secs(10),
    max_head: 32 << 10,
};

/// A gateway that is about to run.
pub struct Gateway {
    /// Its settings.
    pub settings: Settings,
    /// Its policies.
    pub policies: Policies,
    /// What policies were and will be compiled with.
    pub seed: Seed,
    /// The file that is watched for changes, if the settings come from one.
    pub config: Option<PathBuf>,
    /// More services for the same process, such as the demo's agent and its caller.
    pub companions: Vec<Box<dyn ServiceWithDependents>>,
    /// Whether it takes over from the one that runs on the same state.
    pub is_upgrade: bool,
}

/// What policies are compiled with: made anew at each start.
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn seed() -> anyhow::Result<Seed> {
    Ok(Seed { process_key: MacKey::new(&random::bytes::<32>()?), generated_password: random::password()? })
}

// === impl Gateway ===

impl Gateway {
    /// A gateway before one agent under the default policy. Its token key is kept nowhere.
    ///
    /// # Errors
    /// If the URL is no agent's, or what the secrets say of the platform can't be used.
    pub fn before(url: &str, secrets: &dyn Secrets, settings: Settings, seed: Seed) -> anyhow::Result<Self> {
        let agent = compile_for_upstream_with(url, secrets, &seed).map_err(|mistakes| reload::told(&mistakes))?;
        let policies = reload::assemble(&settings, vec![agent], keys::ephemeral_ring()?)?;
        Ok(Gateway { settings, policies, seed, config: None, companions: Vec::new(), is_upgrade: false })
    }

    /// Runs until it is told to stop, or another process has taken over. Returns when all requests have ended, or their time
    /// is over, and the audit log is written.
    ///
    /// # Errors
    /// If an address can't be bound or a file can't be opened; or if it ends in favour of a process that is gone.
    pub fn run(self) -> anyhow::Result<()> {
        let Gateway { settings, policies, seed, config, companions, is_upgrade } = self;
        let fronts = Fronts::new(&settings.listen)?;
        let mut inheritance = is_upgrade.then(|| Inheritance::ask(&settings.state.path)).transpose()?;
        let given = inheritance.as_mut().map(Inheritance::take_sockets).unwrap_or_default();
        let doors = Doors::open(&settings, &fronts, given)?;
        let sockets = doors.copies()?;
        // Whatever can't be had is said before anything is opened.
        let is_held = settings::emergency_mode()?;
        let successor = config.is_some().then(Successor::of_this_process).transpose()?;
        let claimed = inheritance.map(Inheritance::claim).transpose()?;
        let operator = Operator::of(&settings, config.is_some())?;
        allow_descriptors(settings.connections.max);
        announce(&settings, &policies, &seed);
        operator.introduce(companions.is_empty());
        let metrics = Arc::new(Metrics::new()?);
        metrics.files.reloaded(Ok(clock::now().0 as f64 / 1000.0));
        reload::show_certificates(&metrics, &settings, &policies);
        let (audit, writer) = audit::open(&settings.audit, audit::chain_folder(&settings), &metrics)?;
        let policies = Arc::new(policies);
        let recorders = (audit.clone(), Arc::clone(&metrics));
        let board = Board::open(operator.kept, is_held, &policies, recorders, clock::now())?;
        let app = app(&settings, policies, board, (audit, metrics))?;
        let shutdown = settings.shutdown;
        let reloader = config.map(|config| {
            Reloader::new(Arc::clone(&app), config, settings.clone(), seed, fronts).start(systemd::ready)
        });
        let bell = reloader.transpose().context("the thread that reloads can't be started")?;
        let admin = Admin::new(Arc::clone(&app), operator.tokens, bell.clone());
        let (mut server, closers, pulses) = server(&settings, &app, admin, doors)?;
        companions.into_iter().for_each(|companion| {
            server.add_boxed_service(companion);
        });
        // From here on the process before is the one that ends.
        let predecessor = claimed.map(Claimed::go).transpose()?.flatten();
        let belongings = Belongings::new(Arc::clone(&app), closers, sockets, settings.state.path.clone(), predecessor)?;
        if successor.is_some() {
            belongings.await_successor();
        }
        let watchdog = Watchdog::asked_for(pulses, belongings.phases().clone()).map(Watchdog::start);
        watchdog.transpose().context("the thread that tells the service manager of itself can't be started")?;
        let signals = Signals { belongings: Arc::clone(&belongings), app, shutdown, bell, successor };
        server.run(RunArgs { shutdown_signal: Box::new(signals) });
        writer.finish();
        let ended = belongings.end(&settings);
        tracing::info!("stopped");
        ended
    }
}

/// What the operator's side of the gateway needs.
struct Operator {
    /// The orders of before. Without a folder of its own, a gateway remembers them in memory only.
    kept: Option<Kept>,
    /// What the operator has to know.
    tokens: Vec<AdminToken>,
}

impl Operator {
    fn of(settings: &Settings, has_folder: bool) -> anyhow::Result<Self> {
        let folder = &settings.state.path;
        if has_folder {
            let kept = Some(Kept::open(folder, clock::now())?);
            let [operator, viewer] = keys::admin_tokens(folder)?;
            let made = [(Role::Operator, operator), (Role::Viewer, viewer)];
            let tokens = made.into_iter().map(|(role, secret)| AdminToken { role, secret });
            return Ok(Self { kept, tokens: tokens.chain(settings.admin.tokens.iter().cloned()).collect() });
        }
        tracing::warn!(
            "without a gateway.yaml, emergency switches and lockouts are in memory only: a restart ends them"
        );
        Ok(Self { kept: None, tokens: vec![AdminToken { role: Role::Operator, secret: random::password()? }] })
    }

    /// A token that is in no file is shown once, like the password that is made at start; not in a play for newcomers.
    fn introduce(&self, is_for_operators: bool) {
        if self.kept.is_none() && is_for_operators {
            let token = self.tokens.first().and_then(|token| token.secret.expose_str()).unwrap_or_default();
            println!("Until the next start, the token for {ADMIN_API}: {token}");
        }
    }
}

fn app(
    settings: &Settings,
    policies: Arc<Policies>,
    board: Board,
    (audit, metrics): (Audit, Arc<Metrics>),
) -> anyhow::Result<Arc<App>> {
    let failed = settings.failed_authentication;
    Ok(Arc::new(App::new(Parts {
        policies,
        board,
        failures: FailedAttempts::new(failed.rules, failed.max_addresses),
        state: Box::new(Embedded::new(bounds(&settings.state))),
        audit,
        metrics,
        body_budget: settings.bodies.budget,
        body_timeout: settings.bodies.timeout,
        body_rate: settings.bodies.min_rate,
        trusted_proxies: settings.trusted_proxies.clone(),
        connections: settings.connections,
        hsts: settings.hsts,
    })?))
}

/// The settings of commands that listen nowhere.
pub fn for_nobody() -> Settings {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    settings::for_loopback(nowhere, nowhere)
}

/// How much a store keeps with these settings.
pub fn bounds(state: &EmbeddedState) -> Bounds {
    Bounds {
        cells: state.max_cells,
        calls: state.max_calls,
        facts: state.max_facts,
        watched: state.max_watched,
        answers: state.max_answers,
        answer_bytes: state.max_answer_bytes,
    }
}

/// Where the platform comes in, and where the operator does.
struct Doors {
    public: Vec<Door>,
    admin: Vec<Door>,
}

impl Doors {
    /// Opens all sockets, before anything is changed on disk; those that are `given` where they are at the right place.
    fn open(settings: &Settings, fronts: &Fronts, given: Vec<OwnedFd>) -> anyhow::Result<Self> {
        let mut inherited = Inherited::from_environment()?.and(given)?;
        let public = settings.listen.iter().map(|listener| {
            let socket = Socket::open(&listener.place, &mut inherited)?;
            let (access, proxies) = (listener.access.clone(), listener.proxies.clone());
            Ok(Door { socket, tls: fronts.of(&listener.place), access, proxies })
        });
        let public = public.collect::<anyhow::Result<_>>()?;
        let admin = settings.admin.places().into_iter().map(|place| {
            let socket = Socket::open(&place, &mut inherited)?;
            Ok(Door { socket, tls: None, access: Access::default(), proxies: None })
        });
        let admin = admin.collect::<anyhow::Result<_>>()?;
        if inherited.unused() > 0 {
            tracing::warn!(
                sockets = inherited.unused(),
                "sockets were handed over that neither `listen` nor `admin` names; they are closed"
            );
        }
        Ok(Self { public, admin })
    }

    /// The sockets once more, for another process.
    fn copies(&self) -> anyhow::Result<Vec<OwnedFd>> {
        let copies = self.public.iter().chain(&self.admin).map(|door| door.socket.as_fd().try_clone_to_owned());
        copies.collect::<Result<_, _>>().context("a socket can't be kept for another process")
    }
}

/// Each connection may need a second one, to an agent. The soft limit is for programs that use `select`; this one doesn't.
fn allow_descriptors(connections: usize) {
    let wanted = 2 * connections as u64;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    if allowed.is_some_and(|allowed| allowed < wanted) {
        let allowed = allowed.unwrap_or_default();
        tracing::warn!(allowed, wanted, "too few file descriptors for `connections.max`: raise the limit, or lower it");
    }
}

fn announce(settings: &Settings, policies: &Policies, seed: &Seed) {
    for agent in policies.agents() {
        let (name, upstream) = (&agent.name, agent.upstream.host_header());
        let url = format!("{}{}", policies.origin_of(agent).origin(), agent.path);
        tracing::info!(agent = %name, %url, %upstream, "protected");
        if agent.limits.is_empty() {
            tracing::warn!(agent = %name, "no limit is set: one caller may use all of the agent");
        }
    }
    reload::show_generated_password(policies, seed);
    for listener in &settings.listen {
        let tls = listener.tls.is_some();
        tracing::info!(address = %listener.place, tls, "listening");
    }
    for place in settings.admin.places() {
        tracing::info!(address = %place, "metrics, health and the admin API");
    }
}

/// The server, what closes its doors, and what tells whether there is anybody behind them.
fn server(
    settings: &Settings,
    app: &Arc<App>,
    admin: Admin,
    doors: Doors,
) -> anyhow::Result<(Server, Vec<Closer>, Vec<Pulse>)> {
    let conf = ServerConf {
        threads: settings.threads,
        // The drain is ours (see `Signals`); Pingora sleeps through its own, whatever is under way.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        max_retries: 1,
        upstream_keepalive_pool_size: 256,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let conf = Arc::clone(&server.configuration);

    let upstreams = Arc::new(Upstreams::new(&conf, Arc::clone(app)));
    let gate = Gate::new(Arc::clone(app), Arc::clone(&upstreams));
    let mut proxy = pingora_proxy::http_proxy(&conf, gate);
    proxy.handle_init_modules();
    edge::limit_streams(&mut proxy, limits(settings));
    let public = Edge::new(proxy, doors.public, limits(settings), Arc::clone(&app.metrics), app.draining());

    // Who looks after the gateway comes in also when the platform's connections are used up, and isn't counted among them.
    let metrics = Arc::new(Metrics::new()?);
    let admin = Edge::new(HttpServer::new_app(admin), doors.admin, ADMIN_LIMITS, metrics, app.draining());
    let (closers, pulses) = (vec![public.closer(), admin.closer()], vec![public.pulse(), admin.pulse()]);
    server.add_service(public);
    server.add_service(admin.aside("admin", 1));

    let mut sweeper = pingora_core::services::background::background_service("sweeper", Sweeper(Arc::clone(app)));
    sweeper.threads = Some(1);
    server.add_service(sweeper);

    let checks = HealthChecks::new(Arc::clone(app), upstreams);
    let mut checks = pingora_core::services::background::background_service("health checks", checks);
    checks.threads = Some(1);
    server.add_service(checks);
    Ok((server, closers, pulses))
}

fn limits(settings: &Settings) -> Limits {
    let Connections { max, max_per_address, header_timeout, keepalive, max_head, .. } = settings.connections;
    Limits { max, max_per_address, header_timeout, keepalive, max_head }
}

/// The address of a port on loopback that is free now.
///
/// # Errors
/// If there is none.
pub fn free_loopback_address() -> anyhow::Result<SocketAddr> {
    let socket = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).context("no port is free on loopback")?;
    Ok(socket.local_addr()?)
}

/// The address that is wanted, or a free one if it is taken.
///
/// # Errors
/// If no port is free.
pub fn preferred_address(port: u16) -> anyhow::Result<SocketAddr> {
    let wanted = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    if TcpListener::bind(wanted).is_ok() { Ok(wanted) } else { free_loopback_address() }
}

struct Sweeper(Arc<App>);

#[async_trait]
impl BackgroundService for Sweeper {
    async fn start(&self, mut shutdown: pingora_core::server::ShutdownWatch) {
        let mut ticks = interval(SWEEP);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.sweep(),
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl Sweeper {
    fn sweep(&self) {
        let now = clock::now();
        self.0.state.sweep(now);
        self.0.failures.sweep(now);
        self.0.board.end_overdue(now);
    }
}
