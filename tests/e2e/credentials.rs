//! Who the platform is: users, passwords, hashes, and what stands in the URLs of documents.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, GATEWAY_PASSWORD, GATEWAY_USER, Gateway, OTHER_PASSWORD, PROGRAM, Policy},
    http::{Request, without_userinfo},
    platform::{Call, Platform},
    raw::Raw,
    until,
};

const HASHED: &str = "a-password-that-is-kept-as-a-hash";

fn policy() -> Policy {
    Policy::of(Sdk::Rust.shared().address)
}

fn statuses(gateway: &Gateway, users: &[(&str, &str)]) -> Vec<u16> {
    let platform = gateway.platform();
    let fetch = |(user, password): &(&str, &str)| {
        platform.with_user(user, password).fetch_request("", &Call::new()).send().status
    };
    users.iter().map(fetch).collect()
}

/// What `swaigate hash-password` prints.
fn hash(password: &str) -> (bool, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    writeln!(stdin, "{password}").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let printed = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(printed).expect("it is text").trim().to_owned())
}

#[test]
fn several_users_and_passwords_are_good_at_once() {
    let gateway = policy()
        .platform(
            "users: [{ username: signalwire, password_env: GATEWAY_PASSWORD }, \
             { username: signalwire, password_env: OTHER_PASSWORD }, { username: second, password_env: OTHER_PASSWORD }]",
        )
        .start();
    let users = [
        (GATEWAY_USER, GATEWAY_PASSWORD),
        (GATEWAY_USER, OTHER_PASSWORD),
        ("second", OTHER_PASSWORD),
        ("second", GATEWAY_PASSWORD),
        ("third", OTHER_PASSWORD),
        ("", OTHER_PASSWORD),
    ];
    assert_eq!(statuses(&gateway, &users), [200, 200, 200, 401, 401, 401]);
}

#[test]
fn a_hashed_password_is_good_and_so_are_the_urls_that_come_of_it() {
    let (_, hashed) = hash(HASHED);
    assert!(hashed.starts_with("$argon2id$v=19$"), "{hashed}");
    let gateway =
        policy().platform(&format!("users: [{{ username: signalwire, password_hash: \"{hashed}\" }}]")).start();
    let call = Call::new();
    let document = gateway.platform().with_user(GATEWAY_USER, HASHED).fetch(&call);
    let answer = Platform::call_function(&document, &call, "get_balance", &serde_json::json!({ "account": "1" }));
    assert_eq!(answer.response(), "Balance of 1 is $150.00");
    // Remembered by now, and still good for nothing but itself.
    let users = [(GATEWAY_USER, HASHED), (GATEWAY_USER, "a-password-that-is-not-the-one"), ("call", HASHED)];
    assert_eq!(statuses(&gateway, &users), [200, 401, 401]);
    let (accepted, words) = hash("too short");
    assert!(!accepted && words.contains("at least 16 bytes"), "{words}");
}

#[test]
fn without_users_a_password_is_made_and_shown_once_and_not_in_the_log() {
    let folder = Folder::new("", &[&policy().platform("")]);
    let gateway = folder.start_told(&["run", "--config", "gateway.yaml"], &[("SWML_BASIC_AUTH_PASSWORD", "")]);
    let line = until("the password is shown", || {
        gateway.process.stdout().lines().find(|line| line.contains("password")).map(str::to_owned)
    });
    let password = line.rsplit(' ').next().expect("it ends with the password");
    assert!(password.len() >= 32, "{line}");
    assert_eq!(statuses(&gateway, &[(GATEWAY_USER, password), (GATEWAY_USER, "")]), [200, 401]);
    assert_eq!(gateway.process.stdout().matches(password).count(), 1);
    assert!(!gateway.process.stderr().contains(password));
    // It is the same after a reload.
    let before = gateway.reloads("ok");
    gateway.process.signal("HUP");
    gateway.wait_for_reloads("ok", before + 1);
    assert_eq!(statuses(&gateway, &[(GATEWAY_USER, password)]), [200]);
}

#[test]
fn urls_carry_credentials_for_one_call_unless_the_policy_says_otherwise() {
    let userinfo = |policy: &Policy| {
        let gateway = policy.start();
        let (call, other) = (Call::new(), Call::new());
        let documents = [gateway.platform().fetch(&call), gateway.platform().fetch(&other)];
        let answer =
            Platform::call_function(&documents[0], &call, "get_balance", &serde_json::json!({ "account": "1" }));
        assert_eq!(answer.response(), "Balance of 1 is $150.00");
        documents.map(|document| without_userinfo(&document.function_url("get_balance")).1.expect("it has credentials"))
    };
    let [first, second] = userinfo(&policy());
    assert!(first.0 == "call" && first.1 != second.1 && first.1 != GATEWAY_PASSWORD, "{first:?} {second:?}");
    let users =
        "users: [{ username: signalwire, password_env: GATEWAY_PASSWORD }], insecure_static_url_credentials: true";
    let own = (GATEWAY_USER.to_owned(), GATEWAY_PASSWORD.to_owned());
    assert_eq!(userinfo(&policy().platform(users)), [own.clone(), own]);
}

/// The platform sends what is in the configured URL, whatever characters are in it.
#[test]
fn passwords_may_hold_colons_and_are_compared_whole() {
    let gateway = policy().start();
    let longer = format!("{GATEWAY_PASSWORD}:more");
    let users =
        [(GATEWAY_USER, longer.as_str()), (GATEWAY_USER, &GATEWAY_PASSWORD[1..]), ("SignalWire", GATEWAY_PASSWORD)];
    assert_eq!(statuses(&gateway, &users), [401, 401, 401]);
}

/// How many of so many wrong passwords, each its own, were looked at, and how many refused unseen.
fn guess(gateway: &Gateway, path: &str, times: usize, salt: usize) -> (usize, usize) {
    let mut connection = Raw::connect(gateway.listen());
    let url = format!("{}{path}", gateway.origin());
    let mut statuses = (0..times).map(|time| {
        let password = format!("a-wrong-password-{salt}-{time}");
        connection.request(&Request::get(&url).with_user(GATEWAY_USER, &password));
        let answer = connection.read().expect("the connection is kept");
        let is_locked = answer.head.to_ascii_lowercase().contains("retry-after: ");
        assert!(matches!((answer.status, is_locked), (401, false) | (429, true)), "{}", answer.head);
        answer.status
    });
    let seen = statuses.by_ref().filter(|status| *status == 401).count();
    (seen, times - seen)
}

#[test]
fn ten_thousand_failures_from_the_platforms_own_address_stop_no_real_call() {
    let (_, hashed) = hash(HASHED);
    let users = format!(
        "users: [{{ username: signalwire, password_env: GATEWAY_PASSWORD }}, \
         {{ username: signalwire, password_hash: \"{hashed}\" }}, {{ username: late, password_hash: \"{hashed}\" }}]"
    );
    // Another agent has no hashes: there each guess is told at once, and counts.
    let (bank, shop) = (policy().platform(&users), policy().named("shop").at("/shop"));
    let gateway = Gateway::start("", &[&bank, &shop]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    assert_eq!(statuses(&gateway, &[(GATEWAY_USER, HASHED)]), [200], "it is verified once");

    let gateway = &gateway;
    let guesses: Vec<(usize, usize)> = thread::scope(|scope| {
        let paths = ["/bank", "/shop"].into_iter().cycle().take(8).enumerate();
        let threads: Vec<_> = paths.map(|(salt, path)| scope.spawn(move || guess(gateway, path, 1250, salt))).collect();
        let mut calls = 0;
        while calls < 20 || threads.iter().any(|thread| !thread.is_finished()) {
            let real = [(GATEWAY_USER, GATEWAY_PASSWORD), (GATEWAY_USER, HASHED)];
            assert_eq!(statuses(gateway, &real), [200, 200], "real calls begin");
            let answer =
                Platform::call_function(&document, &call, "get_balance", &serde_json::json!({ "account": "1" }));
            assert_eq!(answer.response(), "Balance of 1 is $150.00", "and go on");
            calls += 1;
        }
        threads.into_iter().map(|thread| thread.join().expect("no guess went wrong")).collect()
    });
    let (seen, unseen) = guesses.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(seen + unseen, 10_000);
    // Of the guesses at hashes, hardly any was worth a hash.
    let hashed = guesses.iter().step_by(2).map(|(seen, _)| seen).sum::<usize>();
    assert!(hashed < 60, "{hashed}");
    let failed = |agent: &str| gateway.metric(&format!("swaigate_failed_authentication_total{{agent=\"{agent}\"}}"));
    assert_eq!((failed("bank"), failed("shop")), (hashed as u64, 5_000));
    assert_eq!(gateway.metric("swaigate_locked_addresses"), 1);

    // A hashed password that nobody has used since the start has to wait.
    let late = gateway.platform().with_user("late", HASHED).fetch_request("", &call).send();
    assert_eq!((late.status, gateway.reason_of(&late)), (429, "credentials_locked".to_owned()));
    let rest: u64 = late.header("retry-after").and_then(|rest| rest.parse().ok()).expect("it says how long");
    assert!((600..=900).contains(&rest), "{rest}");
}

#[test]
fn a_wait_is_over_when_it_says_so_and_what_was_verified_stays() {
    let (_, hashed) = hash(HASHED);
    let users = format!("users: [{{ username: signalwire, password_hash: \"{hashed}\" }}]");
    let settings = "failed_authentication: { free: 2, delay: 2s, max_delay: 2s }";
    let gateway = Gateway::start(settings, &[&policy().platform(&users)]);
    let wrong = (GATEWAY_USER, "a-password-that-is-not-the-one");
    let right = (GATEWAY_USER, HASHED);
    assert_eq!(statuses(&gateway, &[wrong, wrong, wrong, wrong, right]), [401, 401, 401, 429, 429]);
    let started = Instant::now();
    until("the wait is over", || (statuses(&gateway, &[right]) == [200]).then_some(()));
    assert!(started.elapsed().as_secs() < 15);
    assert_eq!(statuses(&gateway, &[wrong, wrong, right, right]), [401, 429, 200, 200]);
}
