use std::{collections::VecDeque, io::ErrorKind};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// What a resolver says, one after the other; behind the last one it never ends.
type Script = Arc<Mutex<VecDeque<io::Result<Vec<SocketAddr>>>>>;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn names(script: &Script) -> Names {
    let script = Arc::clone(script);
    Names::new(move |_, _| {
        let next = script.lock().unwrap().pop_front();
        Box::pin(async move {
            match next {
                Some(found) => found,
                None => std::future::pending().await,
            }
        })
    })
}

fn script(said: impl IntoIterator<Item = io::Result<Vec<SocketAddr>>>) -> Script {
    Arc::new(Mutex::new(said.into_iter().collect()))
}

async fn asked(names: &Names) -> Result<Vec<SocketAddr>, String> {
    names.look_up("agent", 80, LIMIT, 7).await
}

/// As if so much time had passed.
fn pass_time(names: &Names) {
    let name = names.name("agent", 80);
    name.known.send_if_modified(|known| {
        known.due = Some(Instant::now());
        false
    });
}

/// Asks until this is known.
async fn until_known(names: &Names, wanted: &[SocketAddr]) {
    let wait = async {
        loop {
            let mut found = asked(names).await.unwrap();
            found.sort();
            if found == wanted {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, wait).await.expect("it is known in time");
}

#[tokio::test]
async fn an_address_needs_no_resolver() {
    let names = names(&script([]));
    assert_eq!(names.look_up("10.0.0.9", 80, LIMIT, 7).await, Ok(vec![address(9)]));
    assert_eq!(names.look_up("::1", 80, LIMIT, 7).await, Ok(vec!["[::1]:80".parse().unwrap()]));
}

#[tokio::test]
async fn requests_go_on_with_what_is_known_while_the_name_is_looked_up_again() {
    let script = script([Ok(vec![address(1)]), Ok(vec![address(2), address(3)])]);
    let names = names(&script);
    assert_eq!(asked(&names).await, Ok(vec![address(1)]));
    assert_eq!(asked(&names).await, Ok(vec![address(1)]), "it isn't looked up again so soon");
    assert_eq!(script.lock().unwrap().len(), 1);
    pass_time(&names);
    assert_eq!(asked(&names).await, Ok(vec![address(1)]), "nobody waits for the resolver");
    until_known(&names, &[address(2), address(3)]).await;
    pass_time(&names);
    assert_eq!(asked(&names).await.map(|found| found.len()), Ok(2), "which never ends any more");
    assert_eq!(asked(&names).await.map(|found| found.len()), Ok(2));
}

#[tokio::test]
async fn a_resolver_that_fails_takes_nothing_away() {
    let failing = || Err(io::Error::from(ErrorKind::TimedOut));
    let script = script([Ok(vec![address(1)]), failing(), Ok(Vec::new()), Ok(vec![address(2)])]);
    let names = names(&script);
    assert_eq!(asked(&names).await, Ok(vec![address(1)]));
    for left in [2, 1] {
        pass_time(&names);
        assert_eq!(asked(&names).await, Ok(vec![address(1)]));
        let looked_up = async {
            while script.lock().unwrap().len() > left || names.name("agent", 80).turn.try_lock().is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LIMIT, looked_up).await.expect("it is looked up");
        assert_eq!(asked(&names).await, Ok(vec![address(1)]));
    }
    pass_time(&names);
    until_known(&names, &[address(2)]).await;
}

#[tokio::test]
async fn a_name_that_was_never_known_is_an_error_in_time() {
    let names = names(&script([Err(io::Error::other("no such host"))]));
    let error = asked(&names).await.unwrap_err();
    assert_eq!(error, "the name could not be looked up: no such host");
    assert_eq!(asked(&names).await, Err(error), "and so for a moment, without asking again");
    pass_time(&names);
    let hangs = names.look_up("agent", 80, Duration::from_millis(10), 7).await;
    assert_eq!(hangs, Err("the name could not be looked up in time".to_owned()));
}

#[tokio::test]
async fn many_requests_at_once_are_one_lookup() {
    let (go, wait) = oneshot::channel::<()>();
    let (wait, count) = (Mutex::new(Some(wait)), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&count);
    let names = Arc::new(Names::new(move |_, _| {
        *counted.lock().unwrap() += 1;
        let wait = wait.lock().unwrap().take();
        Box::pin(async move {
            wait.expect("there is one lookup").await.map_err(io::Error::other)?;
            Ok(vec![address(1)])
        })
    }));
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let names = Arc::clone(&names);
            tokio::spawn(async move { asked(&names).await })
        })
        .collect();
    sleep(Duration::from_millis(5)).await;
    go.send(()).unwrap();
    for request in requests {
        assert_eq!(request.await.unwrap(), Ok(vec![address(1)]));
    }
    assert_eq!(*count.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_call_has_one_address_unless_that_cannot_be_reached() {
    let all: Vec<_> = (1..=4).map(address).collect();
    let script = script([Ok(all.clone())]);
    let names = names(&script);
    let first = |number| {
        let names = &names;
        async move { names.look_up("agent", 80, LIMIT, number).await.unwrap() }
    };
    let mut firsts = [0; 4];
    for number in 0..400 {
        let order = first(number).await;
        assert_eq!(order, first(number).await);
        firsts[all.iter().position(|it| *it == order[0]).unwrap()] += 1;
    }
    assert!(firsts.iter().all(|count| (60..140).contains(count)), "{firsts:?}");
    let before = first(7).await;
    names.shun("agent", 80, before[0]);
    let after = first(7).await;
    assert_eq!((after[0], after[3]), (before[1], before[0]));
}

#[test]
fn the_family_that_the_system_prefers_comes_first() {
    let six: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    for (addresses, wanted) in [(vec![six, address(1)], six), (vec![address(1), six], address(1))] {
        let known = Known { addresses, ..Known::default() };
        assert!((0..100).all(|number| known.ordered(number, Instant::now())[0] == wanted));
    }
}
