//! Load as the platform makes it: callers who fetch a document, and call the functions in it by the URLs and with the
//! credentials that they find there, until they are told to stop. Nothing is tried again: whatever fails is told.
//!
//! The agent has to be a Python one: of several connections at once, the Rust SDK's server (tiny_http 0.12) may leave one
//! waiting until another is closed.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    agent::Agent,
    http::{Answer, Client, Request, client},
    platform::{Call, Document, Platform},
};

/// How many functions are called in one call.
const FUNCTIONS: usize = 6;

/// For how long it is tried how much can be done.
const CALIBRATION: Duration = Duration::from_secs(3);

/// How many failures are told.
const TOLD: usize = 10;

/// Whoever calls.
#[derive(Clone)]
pub(crate) struct Load {
    platform: Platform,
    callers: usize,
    rest: Rest,
    /// What makes the client of a caller who keeps its connection.
    kept: MakeClient,
    /// And what makes one for a single request.
    new: MakeClient,
}

/// How long a caller waits before the next request.
#[derive(Debug, Clone, Copy)]
enum Rest {
    /// So long after an answer.
    Pause(Duration),
    /// Until so much time has passed since the last request was sent.
    Beat(Duration),
}

type MakeClient = Arc<dyn Fn() -> Box<dyn Client> + Send + Sync>;

/// Callers at work. Dropped, they stop.
pub(crate) struct UnderLoad {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Tally>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    answered: AtomicUsize,
}

/// What became of it all.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each request took that was answered as it should be.
    pub(crate) latencies: Vec<Duration>,
    /// What went wrong, and when.
    pub(crate) failures: Vec<(Instant, String)>,
    /// How often each call's function was called and answered, by the call's id.
    pub(crate) answered: HashMap<String, usize>,
}

struct Caller {
    load: Load,
    shared: Arc<Shared>,
    tally: Tally,
    /// Every second caller keeps its connection; the others make one for each request.
    kept: Option<Box<dyn Client>>,
}

// === impl Load ===

impl Load {
    /// Four callers of the bank, who pause for a moment after each request.
    pub(crate) fn on(platform: Platform) -> Self {
        let by_http: MakeClient = Arc::new(|| Box::new(client()));
        let rest = Rest::Pause(Duration::from_millis(5));
        Self { platform, callers: 4, rest, kept: Arc::clone(&by_http), new: by_http }
    }

    pub(crate) fn callers(self, callers: usize) -> Self {
        Self { callers, ..self }
    }

    /// How long each caller waits after an answer.
    pub(crate) fn pause(self, pause: Duration) -> Self {
        Self { rest: Rest::Pause(pause), ..self }
    }

    /// Half of what gateway, agent and callers manage together on this machine, which is tried first.
    pub(crate) fn at_half_capacity(self) -> Self {
        let (tally, took) = self.clone().pause(Duration::ZERO).during(|_| {
            let started = Instant::now();
            thread::sleep(CALIBRATION);
            started.elapsed()
        });
        tally.is_flawless();
        let answered = u32::try_from(tally.latencies.len()).expect("there is not so much time");
        let callers = u32::try_from(self.callers).expect("they are few");
        let beat = 2 * callers * took / answered;
        eprintln!("{callers} callers, a request each {beat:?}: half of {answered} in {took:?}");
        Self { rest: Rest::Beat(beat), ..self }
    }

    /// With other clients: of callers who keep their connection, and for single requests.
    pub(crate) fn clients(
        self,
        kept: impl Fn() -> Box<dyn Client> + Send + Sync + 'static,
        new: impl Fn() -> Box<dyn Client> + Send + Sync + 'static,
    ) -> Self {
        Self { kept: Arc::new(kept), new: Arc::new(new), ..self }
    }

    /// Begins.
    pub(crate) fn start(&self) -> UnderLoad {
        let shared = Arc::new(Shared::default());
        let caller = |number: usize| Caller {
            load: self.clone(),
            shared: Arc::clone(&shared),
            tally: Tally::default(),
            kept: number.is_multiple_of(2).then(|| (self.kept)()),
        };
        let callers = (0..self.callers).map(|number| {
            let caller = caller(number);
            thread::spawn(move || caller.call_until_told())
        });
        let callers = callers.collect();
        UnderLoad { shared, callers }
    }

    /// Calls for so long, beside what is done meanwhile.
    pub(crate) fn during<T>(&self, done: impl FnOnce(&UnderLoad) -> T) -> (Tally, T) {
        let load = self.start();
        let outcome = done(&load);
        (load.stop(), outcome)
    }
}

// === impl UnderLoad ===

impl UnderLoad {
    /// How many requests were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Lets all callers end their request.
    pub(crate) fn stop(mut self) -> Tally {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for caller in self.callers.drain(..) {
            all.add(caller.join().expect("a caller doesn't panic"));
        }
        all
    }
}

impl Drop for UnderLoad {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

// === impl Caller ===

impl Caller {
    fn call_until_told(mut self) -> Tally {
        while !self.is_over() {
            let call = Call::new();
            let Some(document) = self.fetch(&call) else { continue };
            for _ in 0..FUNCTIONS {
                if self.is_over() {
                    break;
                }
                self.ask(&document, &call);
            }
        }
        self.tally
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    fn fetch(&mut self, call: &Call) -> Option<Document> {
        let request = self.load.platform.fetch_request("", call);
        let answer = self.send(&request, |answer| answer.text().contains("\"ai\""))?;
        Some(Document::new(answer.text()))
    }

    fn ask(&mut self, document: &Document, call: &Call) {
        let request = document.function_request(call, "get_balance", &json!({ "account": "1" }));
        if self.send(&request, |answer| answer.text().contains("Balance of 1 is")).is_some() {
            *self.tally.answered.entry(call.id.clone()).or_default() += 1;
        }
    }

    /// Sends it once.
    fn send(&mut self, request: &Request, is_right: impl Fn(&Answer) -> bool) -> Option<Answer> {
        let sent = Instant::now();
        let new;
        let client = match &self.kept {
            Some(kept) => kept,
            None => {
                new = (self.load.new)();
                &new
            }
        };
        let answer = client.send(request);
        let took = sent.elapsed();
        thread::sleep(match self.load.rest {
            Rest::Pause(pause) => pause,
            Rest::Beat(beat) => beat.saturating_sub(took),
        });
        let wrong = match answer {
            Ok(answer) if answer.status == 200 && is_right(&answer) => {
                self.tally.latencies.push(took);
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                return Some(answer);
            }
            Ok(answer) => format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(error) => error,
        };
        let how = if self.kept.is_some() { "kept" } else { "new" };
        self.tally.failures.push((sent, format!("{how} connection, after {took:?}: {wrong}")));
        None
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, other: Tally) {
        self.latencies.extend(other.latencies);
        self.failures.extend(other.failures);
        self.answered.extend(other.answered);
    }

    /// Checks that there was load, and that every request was answered as it should be.
    pub(crate) fn is_flawless(&self) {
        let told: Vec<_> = self.failures.iter().take(TOLD).map(|(_, failure)| failure).collect();
        let (failed, all) = (self.failures.len(), self.failures.len() + self.latencies.len());
        assert!(failed == 0, "{failed} of {all} requests failed: {told:#?}");
        assert!(all > 50, "{all} requests are no load");
    }

    /// Checks that the agent ran each function as often as it was answered: nothing twice, nothing without an answer.
    pub(crate) fn ran_once_at(&self, agent: &Agent) {
        let mut ran: HashMap<String, usize> = HashMap::new();
        for line in agent.did_all().into_iter().filter(|line| line["event"] == "tool") {
            let call = line["call_id"].as_str().unwrap_or_default();
            if self.answered.contains_key(call) {
                *ran.entry(call.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(ran.values().sum::<usize>(), self.answered.values().sum::<usize>());
        assert_eq!(ran, self.answered);
    }

    /// The latency that this part of all answers, from 0 to 1, doesn't exceed.
    pub(crate) fn latency(&self, part: f64) -> Duration {
        let mut all = self.latencies.clone();
        all.sort_unstable();
        let last = all.len().saturating_sub(1);
        all.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
    }

    /// One line for whoever reads the output of a long run.
    pub(crate) fn told(&self) -> String {
        let [median, p99, longest] = [0.5, 0.99, 1.0].map(|part| self.latency(part));
        let (answered, failed) = (self.latencies.len(), self.failures.len());
        format!("{answered} answered, {failed} failed; median {median:?}, p99 {p99:?}, longest {longest:?}")
    }
}
