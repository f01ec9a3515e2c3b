//! A gateway that is played: requests come, agents take their time, and the real audit writer writes what is decided.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use swaigate::{
    audit::{self, Audit, Entry, Event, Writer},
    metrics::Metrics,
    rehearsal::{Cast, Fetch, Function, Rehearsal, Sheet, StandIns},
    reload, run, settings,
};
use swaigate_core::{
    decide::Permit,
    id::{DocumentId, RequestId},
    record::{Facts, Medium},
    time::Timestamp,
    verdict::{Reason, Route},
};

/// When logs begin: on Monday, 2026-11-23, at 09:00 in New York.
pub(crate) const START: Timestamp = Timestamp(1_795_442_400_000);

/// The gateway, its agent `bank`, and the log.
pub(crate) struct Play {
    pub(crate) rehearsal: Rehearsal,
    audit: Audit,
    writer: Writer,
    under_way: BinaryHeap<Reverse<(u64, u64)>>,
    waiting: HashMap<u64, Waiting>,
    requests: u64,
    documents: u128,
    pub(crate) process: u32,
    pub(crate) log: PathBuf,
}

struct Waiting {
    permit: Permit,
    facts: Facts,
    answer: Result<String, Reason>,
    entry: Entry,
}

/// A call under way.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) caller: Option<String>,
    pub(crate) sheet: Sheet,
    pub(crate) client: Option<IpAddr>,
}

/// What came of a request, before the agent was asked.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) request: String,
    pub(crate) reason: Reason,
}

/// A folder with one policy in it.
pub(crate) fn policies(folder: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("bank.yaml"), text).expect("a policy");
    folder.to_owned()
}

/// The settings of a gateway with these policies.
pub(crate) fn settings_of(policies: PathBuf) -> settings::Settings {
    settings::Settings { policies, ..run::for_nobody() }
}

// === impl Play ===

impl Play {
    /// A gateway under the policies of this folder, which writes this log.
    pub(crate) fn new(folder: &Path, log: &Path) -> Self {
        let settings = settings_of(folder.to_owned());
        let (secrets, seed) = (StandIns::default(), run::seed().expect("a seed"));
        let (public, bounds) = (settings.public_url.clone(), run::bounds(&settings.state));
        let agents = Box::new(move || {
            let agents = settings::load_policies_with(&settings, &secrets, &seed);
            let agents = agents.map_err(|mistakes| reload::told(&mistakes))?;
            Ok(agents.into_iter().map(|(_, agent)| agent).collect())
        });
        let cast = Cast { agents, public, knows_codes: true };
        let rehearsal = Rehearsal::new(cast, bounds, START).expect("policies without a mistake");
        let settings =
            settings::Audit { queue: 1_000_000, strangers: 1_000_000, ..settings::Audit::at(log.to_owned()) };
        let chain = log.with_extension("state");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let (audit, writer) = audit::open(&settings, &chain, &metrics).expect("a log");
        Self {
            rehearsal,
            audit,
            writer,
            under_way: BinaryHeap::new(),
            waiting: HashMap::new(),
            requests: 0,
            documents: 0,
            process: 1,
            log: log.to_owned(),
        }
    }

    /// Time passes, and agents answer meanwhile.
    pub(crate) fn wait(&mut self, millis: u64) {
        let until = self.rehearsal.now().0 + millis;
        while let Some(Reverse((end, id))) = self.under_way.pop() {
            if end > until {
                self.under_way.push(Reverse((end, id)));
                break;
            }
            self.rehearsal.move_to(Timestamp(end));
            let waiting = self.waiting.remove(&id).expect("it is under way");
            self.answered(waiting);
        }
        self.rehearsal.move_to(Timestamp(until));
    }

    /// The process ends, and another one begins with nothing.
    pub(crate) fn restart(&mut self) {
        self.wait(200_000);
        self.rehearsal.restart();
        self.process += 1;
    }

    /// All have answered; the log is complete.
    pub(crate) fn finish(mut self) -> PathBuf {
        self.wait(200_000);
        self.writer.finish();
        self.log
    }

    /// A call comes in.
    pub(crate) fn begin(
        &mut self,
        id: &str,
        caller: Option<&str>,
        client: Option<IpAddr>,
        within: Option<&Sheet>,
    ) -> (Came, Option<Call>) {
        self.documents += 1;
        let fetch = Fetch {
            agent: "bank".parse().expect("a name"),
            document: DocumentId((u128::from(self.process) << 64 | self.documents).to_be_bytes()),
            call_id: Some(id.to_owned()),
            caller: caller.map(str::to_owned),
            called: Some("+15559990000".to_owned()),
            medium: Medium::Voice,
            client,
            within: within.cloned(),
        };
        let decided = self.rehearsal.fetch(&fetch).expect("an agent");
        let entry = self.entry(Route::Swml, client);
        let request = entry.request.to_string();
        match decided.outcome {
            Ok(permit) => {
                let document = swaigate::rehearsal::document(permit.agent(), []);
                self.asked(permit, decided.facts, Ok(document), entry, 0);
                let sheet = Sheet::of(&self.rehearsal, &fetch, self.rehearsal.now()).expect("a document");
                let call = Call { id: id.to_owned(), caller: caller.map(str::to_owned), sheet, client };
                (Came { request, reason: Reason::Ok }, Some(call))
            }
            Err(denial) => {
                self.refused(denial.reason, decided.facts, entry);
                (Came { request, reason: denial.reason }, None)
            }
        }
    }

    /// A function is called; the agent takes so long, and answers so or fails so.
    pub(crate) fn call(
        &mut self,
        call: &Call,
        function: &Function<'_>,
        (millis, answer): (u64, Result<String, Reason>),
    ) -> Came {
        let function = Function { client: call.client, ..function.clone() };
        let decided = self.rehearsal.call_function(&call.sheet, &function).expect("an agent");
        let entry = self.entry(Route::Swaig, call.client);
        let request = entry.request.to_string();
        match decided.outcome {
            Ok(permit) => {
                self.asked(permit, decided.facts, answer, entry, millis);
                Came { request, reason: Reason::Ok }
            }
            Err(denial) => {
                self.refused(denial.reason, decided.facts, entry);
                Came { request, reason: denial.reason }
            }
        }
    }

    /// A call's summary comes.
    pub(crate) fn end(&mut self, call: &Call) {
        let decided = self.rehearsal.end(&call.sheet, None).expect("an agent");
        let entry = self.entry(Route::Summary, call.client);
        match decided.outcome {
            Ok(permit) => self.asked(permit, decided.facts, Ok("{}".to_owned()), entry, 3),
            Err(denial) => self.refused(denial.reason, decided.facts, entry),
        }
    }

    fn entry(&mut self, route: Route, client: Option<IpAddr>) -> Entry {
        self.requests += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.process.to_be_bytes());
        id[4..].copy_from_slice(&self.requests.to_be_bytes());
        Entry {
            event: Event::Request,
            at: self.rehearsal.now(),
            request: RequestId(id),
            agent: Some("bank".parse().expect("a name")),
            route,
            method: "POST",
            client,
            reason: Reason::Ok,
            status: 200,
            delivered: true,
            bytes: None,
            decided: None,
            gateway: Duration::ZERO,
            agent_time: None,
            facts: Facts::default(),
        }
    }

    fn refused(&mut self, reason: Reason, facts: Facts, entry: Entry) {
        self.audit.record_refusal(Entry { reason, facts, ..entry });
    }

    fn asked(&mut self, permit: Permit, facts: Facts, answer: Result<String, Reason>, entry: Entry, millis: u64) {
        let event = if facts.begins_call { Event::CallStart } else { Event::Request };
        let agent_time = Some(Duration::from_millis(millis));
        let entry = Entry { event, agent_time, ..entry };
        let waiting = Waiting { permit, facts, answer, entry };
        if millis == 0 {
            return self.answered(waiting);
        }
        let end = self.rehearsal.now().0 + millis;
        self.under_way.push(Reverse((end, self.requests)));
        self.waiting.insert(self.requests, waiting);
    }

    fn answered(&mut self, waiting: Waiting) {
        let Waiting { permit, facts, answer, entry } = waiting;
        let (reason, facts) = match answer {
            Ok(body) => {
                let played = self.rehearsal.answer(&permit, &body, facts);
                self.rehearsal.learn(&played.lessons);
                (played.reason, played.facts)
            }
            Err(reason) => {
                if reason == Reason::AgentUnreachable {
                    self.rehearsal.forget(permit.undone());
                }
                (reason, facts)
            }
        };
        let slot = self.audit.reserve().expect("room in the queue");
        slot.record(Entry { reason, facts, ..entry });
    }
}
