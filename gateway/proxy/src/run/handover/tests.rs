use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use super::{link::Link, *};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test's old process owns, which tells what is done to it.
struct Property {
    socket: TcpListener,
    told: Mutex<Sender<String>>,
    late: Mutex<Option<Late>>,
    /// Why it can't be let go.
    stuck: Option<&'static str>,
    /// Nothing is taken back while a test has this.
    busy: Mutex<()>,
}

impl Property {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().send(what.into()).unwrap();
    }
}

impl Estate for Property {
    fn sockets(&self) -> anyhow::Result<Vec<OwnedFd>> {
        Ok(vec![self.socket.try_clone()?.into()])
    }

    fn let_go(&self, late: Late) -> anyhow::Result<()> {
        self.tell("let go");
        *self.late.lock().unwrap() = Some(late);
        self.stuck.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
    }

    fn take_back(&self) {
        let _not_yet = self.busy.lock().unwrap();
        let unsent = self.late.lock().unwrap().take().unwrap().untaken();
        let lines: Vec<_> = unsent.iter().map(|line| String::from_utf8_lossy(line).trim().to_owned()).collect();
        self.tell(["taken back", &lines.join(" ")].join(" ").trim());
    }

    fn in_force(&self, json: &str) {
        self.tell(json);
    }

    fn left_to(&self, heir: u32) {
        self.tell(format!("left to {heir}"));
    }
}

struct Old {
    folder: tempfile::TempDir,
    property: Arc<Property>,
    told: Receiver<String>,
    phases: Phases,
}

impl Old {
    fn start() -> Self {
        Self::start_stuck(None)
    }

    fn start_stuck(stuck: Option<&'static str>) -> Self {
        let (tell, told) = channel();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (told_to, late, busy) = (Mutex::new(tell), Mutex::default(), Mutex::default());
        let property = Arc::new(Property { socket, told: told_to, late, stuck, busy });
        let folder = tempfile::tempdir().unwrap();
        let estate: Arc<dyn Estate> = Arc::<Property>::clone(&property);
        let phases = Phases::new();
        Testator::at(folder.path(), estate, phases.clone()).unwrap().start().unwrap();
        Self { folder, property, told, phases }
    }

    fn ask(&self) -> anyhow::Result<Inheritance> {
        Inheritance::ask(self.folder.path())
    }

    /// The next that was done to the property.
    fn next(&self) -> String {
        self.told.recv_timeout(PATIENCE).expect("something is done to it")
    }

    /// Where its audit log writes.
    fn late(&self) -> Late {
        self.property.late.lock().unwrap().clone().expect("it was let go")
    }

    fn phase(&self) -> Phase {
        self.phases.now()
    }

    fn wait_for(&self, phase: Phase) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, self.phases.reaches(phase)).await }).unwrap();
    }

    /// By a process that says what it likes.
    fn raw(&self) -> Link {
        Link::over(UnixStream::connect(meeting_place(self.folder.path())).unwrap()).unwrap()
    }
}

#[test]
fn a_whole_hand_over_in_its_order() {
    let old = Old::start();
    let mut inheritance = old.ask().unwrap();
    let [socket] = <[OwnedFd; 1]>::try_from(inheritance.take_sockets()).unwrap();
    assert_eq!(old.phase(), Phase::Serving);
    let claimed = inheritance.claim().unwrap();
    // Who is recorded in between waits for it.
    old.late().write_all(b"{}\n").unwrap();
    assert_eq!((old.next(), old.phase()), ("let go".to_owned(), Phase::Serving), "until both are open");
    let heir = claimed.go().unwrap().expect("the old process is there");
    assert_eq!(old.next(), format!("left to {}", std::process::id()));
    old.wait_for(Phase::Left);

    // The socket is the one that the old process listens on.
    let mut client = TcpStream::connect(old.property.socket.local_addr().unwrap()).unwrap();
    client.write_all(b"hello").unwrap();
    let (mut served, _) = TcpListener::from(socket).accept().unwrap();
    let mut read = [0; 5];
    served.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"hello");

    let (write, lines) = channel();
    heir.take_late_lines(move |line| write.send(line).unwrap()).unwrap();
    heir.in_force(r#"{"switches":[]}"#.to_owned());
    assert_eq!(old.told.try_recv().as_deref(), Ok(r#"{"switches":[]}"#), "whoever was told of it finds it in force");
    let long = "x".repeat(3 << 20);
    let mut late = old.late();
    for line in [r#"{"a":"ü"}"#, &long] {
        late.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    late.end().unwrap();
    assert_eq!(lines.iter().collect::<Vec<_>>(), ["{}", r#"{"a":"ü"}"#, &long]);

    let begun = Instant::now();
    heir.in_force("{}".to_owned());
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for a process that has ended");
    while old.told.try_recv().is_ok() {}
    heir.stopping();
    drop(heir);
    old.wait_for(Phase::Over);
    assert!(old.told.recv_timeout(Duration::from_millis(50)).is_err(), "nothing is taken back");
}

#[test]
fn whatever_step_the_new_process_dies_at_the_old_one_goes_on_and_can_hand_over_later() {
    let old = Old::start();
    drop(old.raw());
    let link = old.raw();
    link.send(&FromNew::Hello { form: FORM, version: "x".to_owned() }).unwrap();
    drop(link);
    drop(old.ask().unwrap());
    for _ in 0..3 {
        let claimed = old.ask().unwrap().claim().unwrap();
        old.late().write_all(b"{\"n\":1}\n{\"n\":2}\n").unwrap();
        drop(claimed);
        assert_eq!([old.next(), old.next()], ["let go", r#"taken back {"n":1} {"n":2}"#]);
        assert_eq!(old.phase(), Phase::Serving);
    }
    let heir = old.ask().unwrap().claim().unwrap().go().unwrap();
    assert_eq!(old.next(), "let go");
    assert!(old.next().starts_with("left to"));
    // It gets a line, and dies before it has taken it.
    old.late().write_all(b"{\"n\":3}\n").unwrap();
    let place = meeting_place(old.folder.path());
    fs::remove_file(&place).unwrap();
    let its_own = UnixListener::bind(&place).unwrap();
    drop((heir, its_own));
    assert_eq!(old.next(), r#"taken back {"n":3}"#);
    old.wait_for(Phase::Serving);
    // It is found at the place again, which the new one had made its own.
    until_it_answers(&old);
    old.ask().unwrap().claim().unwrap().go().unwrap().unwrap().stopping();
    old.wait_for(Phase::Over);
}

fn until_it_answers(old: &Old) {
    let give_up = Instant::now() + PATIENCE;
    while old.ask().is_err() {
        assert!(Instant::now() < give_up, "nobody is there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whose new process serves.
fn left() -> (Old, Predecessor) {
    let old = Old::start();
    let heir = old.ask().unwrap().claim().unwrap().go().unwrap().unwrap();
    assert_eq!(old.next(), "let go");
    assert!(old.next().starts_with("left to"));
    old.wait_for(Phase::Left);
    (old, heir)
}

#[test]
fn who_takes_everything_back_does_not_end() {
    let (old, heir) = left();
    let busy = old.property.busy.lock().unwrap();
    drop(heir);
    old.wait_for(Phase::Returning);
    assert!(!old.phases.may_end(), "what was under way may be answered just now");
    drop(busy);
    assert_eq!(old.next(), "taken back");
    old.wait_for(Phase::Serving);
    assert!(!old.phases.may_end());
}

#[test]
fn who_ends_takes_nothing_back_and_knows_what_was_left_to_a_process_that_is_gone() {
    let (old, heir) = left();
    old.late().write_all(b"{\"n\":1}\n").unwrap();
    assert!(old.phases.may_end());
    drop(heir);
    assert!(old.told.recv_timeout(Duration::from_millis(50)).is_err(), "nothing is taken back");
    assert_eq!(old.phase(), Phase::Ending);
    old.late().write_all(b"{\"n\":2}\n").unwrap();
    assert_eq!(old.late().end(), Err(vec![b"{\"n\":1}\n".to_vec(), b"{\"n\":2}\n".to_vec()]));

    // Who is told to end at once doesn't wait for what it takes back.
    let (old, heir) = left();
    let busy = old.property.busy.lock().unwrap();
    drop(heir);
    old.wait_for(Phase::Returning);
    old.phases.end();
    drop(busy);
    assert_eq!(old.next(), "taken back");
    assert_eq!(old.phase(), Phase::Ending);
}

#[test]
fn a_new_process_hears_why_nothing_is_handed_over() {
    let old = Old::start_stuck(Some("the disk is full"));
    let error = format!("{:#}", old.ask().unwrap().claim().unwrap_err());
    assert!(error.contains("doesn't hand over: the disk is full"), "{error}");
    assert_eq!([old.next(), old.next()], ["let go", "taken back"]);
    assert_eq!(old.phase(), Phase::Serving);

    let nowhere = tempfile::tempdir().unwrap();
    let error = format!("{:#}", Inheritance::ask(nowhere.path()).unwrap_err());
    assert!(error.contains("start without --upgrade"), "{error}");
}

#[test]
fn who_speaks_another_form_gets_nothing() {
    let old = Old::start();
    let link = old.raw();
    link.send(&FromNew::Hello { form: FORM + 1, version: "9.9.9".to_owned() }).unwrap();
    link.send(&FromNew::Ready).unwrap_or_default();
    let _hello: FromOld = link.receive(Some(PATIENCE)).unwrap();
    assert!(link.receive::<FromOld>(Some(PATIENCE)).is_err(), "nothing more is said");
    assert!(old.told.try_recv().is_err(), "nothing is done");
}

#[test]
fn an_heir_serves_when_the_old_process_dies_before_it_has_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(meeting_place(folder.path())).unwrap();
    let dying = std::thread::spawn(move || {
        let link = Link::over(listener.accept().unwrap().0).unwrap();
        let FromNew::Hello { .. } = link.receive(Some(PATIENCE)).unwrap() else { panic!("no hello") };
        link.send(&FromOld::Hello { form: FORM, version: "x".to_owned() }).unwrap();
        let FromNew::Ready = link.receive(Some(PATIENCE)).unwrap() else { panic!("not ready") };
    });
    let claimed = Inheritance::ask(folder.path()).unwrap().claim().unwrap();
    dying.join().unwrap();
    assert!(claimed.go().unwrap().is_none());
}
