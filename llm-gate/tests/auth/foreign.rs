//! Tokens of other issuers: where the keys come from, and what happens when they do not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use llm_gate::auth::{
    Account, AnyVerifier, Authenticate, ForeignIssuer, ForeignVerifier, InvalidIssuer,
    JwtAlgorithm, OtherIssuers,
};
use llm_gate::identity::{Credential, Principal, ProjectId, Role, UserId};
use serde_json::json;

use crate::credentials::Gate;
use crate::forge::reason;
use crate::published::*;

fn ed(kid: &str) -> Signer {
    Signer::new(kid, JwtAlgorithm::EdDsa)
}

#[tokio::test]
async fn a_token_of_each_algorithm_is_taken_for_the_account_behind_its_subject() {
    let signers = EVERY.map(|algorithm| Signer::new(algorithm.as_str(), algorithm));
    let login = Login::start(set_of(&signers)).await;
    let root = Account::new(UserId::new(), ProjectId::new()).role(Role::Admin);
    login.people.put("root", root);
    for signer in &signers {
        for (subject, account) in [("ada", login.ada), ("root", root)] {
            let answer = login.verifier.check(&signer.good(subject));
            let principal = answer.expect("theirs").await.expect("good");
            let expected = Principal::new(account.user, account.project, Credential::Foreign);
            assert_eq!(principal, expected.role(account.role));
        }
    }
    assert_eq!(login.publisher.asked(), 1, "the keys are kept");
}

#[tokio::test]
async fn those_who_come_first_together_share_one_fetch() {
    let signer = ed("1");
    let login = Login::start(set_of([&signer]).held()).await;
    let tokens: Vec<_> = (0..50)
        .map(|number| {
            let mut claims = foreign_claims();
            claims["jti"] = json!(number);
            signer.jwt(&signer.header().to_string(), &claims.to_string())
        })
        .collect();
    let all = join_all(tokens.iter().map(|token| login.check(token)));
    let release = async {
        while login.publisher.asked() == 0 {
            tokio::task::yield_now().await;
        }
        login.publisher.let_go();
    };
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.iter().all(|answer| *answer == "accepted"));
    assert_eq!(login.publisher.asked(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_nobody_waits_any_more() {
    let signer = ed("1");
    let login = Login::start(set_of([&signer]).held()).await;
    let token = signer.good("ada");
    {
        let mut first = login.verifier.check(&token).expect("theirs");
        assert!(crate::scene::poll_once(&mut first).await.is_pending());
    }
    login.publisher.let_go();
    assert_eq!(login.check(&token).await, "accepted");
    assert_eq!(
        login.publisher.asked(),
        1,
        "a client that leaves costs others nothing"
    );
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_forgotten() {
    let (old, new) = (ed("old"), Signer::new("new", JwtAlgorithm::Es256));
    let login = Login::start(set_of([&old])).await;
    let (before, after) = (old.good("ada"), new.good("ada"));
    assert_eq!(login.check(&before).await, "accepted");
    assert_eq!(login.check(&after).await, "invalid", "not published yet");
    login.publisher.publish(set_of([&old, &new]));
    assert_eq!(login.check(&after).await, "invalid", "fetched a moment ago");
    login.clock.advance(Duration::from_secs(30));
    assert_eq!(
        login.check(&after).await,
        "accepted",
        "an unknown key is looked for"
    );
    assert_eq!(login.check(&before).await, "accepted");

    login.publisher.publish(set_of([&new]));
    login.clock.advance(Duration::from_secs(599));
    assert_eq!(
        login.check(&before).await,
        "accepted",
        "the keys are young enough"
    );
    login.clock.advance(Duration::from_secs(1));
    login.until(&before, "invalid").await;
    assert_eq!(login.check(&after).await, "accepted");
    assert_eq!(login.publisher.asked(), 3);
}

#[tokio::test]
async fn keys_that_are_twice_as_old_are_not_relied_on_before_the_issuer_was_asked() {
    let (old, new) = (ed("old"), ed("new"));
    let login = Login::start(set_of([&old])).await;
    let token = old.good("ada");
    assert_eq!(login.check(&token).await, "accepted");
    login.publisher.publish(set_of([&new]));
    login.clock.advance(Duration::from_secs(1200));
    assert_eq!(
        login.check(&token).await,
        "invalid",
        "seen before, taken out since"
    );
}

#[tokio::test]
async fn a_key_that_changes_under_its_name_is_another_key() {
    let (old, new) = (ed("1"), ed("1"));
    let login = Login::start(set_of([&old])).await;
    let token = old.good("ada");
    assert_eq!(login.check(&token).await, "accepted");
    login.publisher.publish(set_of([&new]));
    login.clock.advance(Duration::from_secs(1200));
    assert_eq!(login.check(&token).await, "invalid");
    assert_eq!(login.check(&new.good("ada")).await, "accepted");
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_believed_for_a_day() {
    let signer = ed("1");
    let mut login = Login::start(set_of([&signer])).await;
    let mut claims = foreign_claims();
    let now = crate::forge::NOW;
    claims["exp"] = json!(now + 24 * 3600);
    let token = signer.jwt(&signer.header().to_string(), &claims.to_string());
    assert_eq!(login.check(&token).await, "accepted");
    login.publisher.gone().await;
    for _ in 0..23 {
        login.clock.advance(Duration::from_secs(3600));
        assert_eq!(login.check(&token).await, "accepted", "stale if error");
    }
    claims["iat"] = json!(now + 23 * 3600);
    claims["exp"] = json!(now + 26 * 3600);
    let late = signer.jwt(&signer.header().to_string(), &claims.to_string());
    assert_eq!(login.check(&late).await, "accepted");
    let unknown = ed("2").good("ada");
    let words = "nobody can tell while the issuer is away";
    assert_eq!(login.check(&unknown).await, "unavailable", "{words}");
    login.clock.advance(Duration::from_secs(3600));
    assert_eq!(
        login.check(&late).await,
        "unavailable",
        "too old to prove anything"
    );
}

/// Everything that is no set of keys: before any was had, and when there was one.
#[tokio::test]
async fn a_bad_answer_is_no_answer() {
    let signer = ed("1");
    let good = || set_of([&signer]);
    let Answer::Bytes(whole) = good() else {
        panic!("a set is bytes")
    };
    let huge = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(10_000));
    let many = json!({ "keys": vec![json!({}); 65] }).to_string();
    let token = signer.good("ada");
    for bad in [
        Answer::status("404 Not Found", "{}"),
        Answer::status("500 Internal Server Error", &whole),
        Answer::status("204 No Content", ""),
        Answer::Bytes(format!(
            "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\n{}",
            whole.split_once("\r\n").expect("a head").1
        )),
        Answer::ok("<html>login</html>"),
        Answer::ok("{}"),
        Answer::ok("[]"),
        Answer::ok(r#"{"keys":[],"keys":[]}"#),
        Answer::ok(&many),
        Answer::ok(&huge),
        Answer::ok("\u{feff}{\"keys\":[]}"),
        Answer::Endless,
        Answer::Bytes(whole[..whole.len() - 5].to_owned()),
        Answer::Bytes("not HTTP at all\r\n\r\n".to_owned()),
        Answer::Bytes(String::new()),
    ] {
        let bounded = |issuer: ForeignIssuer| issuer.max_bytes(4096);
        let login = Login::start_with(bad.clone(), bounded).await;
        assert_eq!(login.check(&token).await, "unavailable");
        assert_eq!(login.check(&token).await, "unavailable");
        assert_eq!(
            login.publisher.asked(),
            1,
            "not followed, and not asked again at once"
        );
        login.publisher.publish(good());
        login.clock.advance(Duration::from_secs(30));
        assert_eq!(login.check(&token).await, "accepted", "it is back");

        login.publisher.publish(bad);
        login.clock.advance(Duration::from_secs(1200));
        assert_eq!(
            login.check(&token).await,
            "accepted",
            "the last good keys hold"
        );
        assert_eq!(login.publisher.asked(), 3);
    }
}

#[tokio::test]
async fn a_slow_issuer_is_not_waited_for_beyond_the_limit() {
    let signer = ed("1");
    // Long enough for an issuer that answers, on a busy machine too.
    let quick = |issuer: ForeignIssuer| issuer.timeout(Duration::from_secs(2));
    let login = Login::start_with(Answer::Silent, quick).await;
    let token = signer.good("ada");
    assert_eq!(login.check(&token).await, "unavailable");
    login.publisher.publish(set_of([&signer]));
    assert_eq!(
        login.check(&token).await,
        "unavailable",
        "asked a moment ago"
    );
    login.clock.advance(Duration::from_secs(30));
    assert_eq!(login.check(&token).await, "accepted");
}

#[tokio::test]
async fn invented_keys_cause_one_fetch_in_a_while() {
    let signer = ed("1");
    let login = Login::start(set_of([&signer])).await;
    let good = signer.good("ada");
    assert_eq!(login.check(&good).await, "accepted");
    for round in 1..=3 {
        login.clock.advance(Duration::from_secs(30));
        let invented: Vec<_> = (0..100)
            .map(|number| {
                let header = json!({ "alg": "EdDSA", "kid": format!("{round}-{number}") });
                signer.jwt(&header.to_string(), &foreign_claims().to_string())
            })
            .collect();
        let answers = join_all(invented.iter().map(|token| login.check(token))).await;
        assert!(answers.iter().all(|answer| *answer == "invalid"));
        assert_eq!(login.check(&good).await, "accepted", "others do not notice");
        assert_eq!(login.publisher.asked(), 1 + round);
    }
}

#[tokio::test]
async fn what_cannot_be_a_token_of_theirs_causes_no_fetch() {
    let signer = ed("1");
    let login = Login::start(set_of([&signer])).await;
    let claims = foreign_claims().to_string();
    for header in [
        json!({ "alg": "HS256", "kid": "1" }),
        json!({ "alg": "none", "kid": "1" }),
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "EdDSA", "kid": "1", "crit": ["exp"] }),
    ] {
        let token = signer.jwt(&header.to_string(), &claims);
        assert_eq!(login.check(&token).await, "invalid", "{header}");
    }
    let others = signer.jwt(
        &signer.header().to_string(),
        r#"{"iss":"https://other.test"}"#,
    );
    for token in ["", "a.b.c", "..", &others] {
        assert_eq!(login.check(token).await, "not theirs", "{token}");
    }
    assert_eq!(login.publisher.asked(), 0);
}

#[tokio::test]
async fn an_algorithm_that_the_issuer_may_not_use_is_refused_though_the_key_is_published() {
    let (listed, other) = (ed("1"), Signer::new("2", JwtAlgorithm::Es256));
    let publisher = Publisher::start(set_of([&listed, &other])).await;
    let url = format!("http://{}/keys", publisher.address);
    let url = url.parse().expect("a URL");
    let issuer = ForeignIssuer::new(FOREIGN, MEANT, url, [JwtAlgorithm::EdDsa]).expect("safe");
    let people = Arc::new(People::default());
    people.put("ada", Account::new(UserId::new(), ProjectId::new()));
    let clock = Arc::new(llm_gate::test_util::ManualClock::new());
    let twice = [issuer.clone(), issuer.clone()];
    let ambiguous = ForeignVerifier::new(twice, people.clone(), clock.clone());
    assert_eq!(ambiguous.err(), Some(InvalidIssuer::Ambiguous));
    let verifier = ForeignVerifier::new([issuer], people, clock).expect("one issuer");
    for (signer, expected) in [(&listed, "accepted"), (&other, "invalid")] {
        let answer = verifier.check(&signer.good("ada")).expect("theirs");
        assert_eq!(reason(answer.await), expected);
    }
}

#[tokio::test]
async fn of_two_keys_with_one_name_neither_is_believed() {
    let (one, two, other) = (ed("1"), ed("1"), ed("2"));
    let login = Login::start(set_of([&one, &two, &other])).await;
    assert_eq!(login.check(&one.good("ada")).await, "invalid");
    assert_eq!(login.check(&two.good("ada")).await, "invalid");
    assert_eq!(login.check(&other.good("ada")).await, "accepted");
}

#[tokio::test]
async fn nobody_gets_in_without_an_account() {
    let signer = ed("1");
    let login = Login::start(set_of([&signer])).await;
    assert_eq!(login.check(&signer.good("eve")).await, "invalid");
    assert_eq!(
        login.check(&signer.good("Ada")).await,
        "invalid",
        "letter by letter"
    );

    let token = signer.good("ada");
    assert_eq!(login.check(&token).await, "accepted");
    login.people.put("ada", login.ada.disabled(true));
    login.clock.advance(Duration::from_secs(1));
    assert_eq!(login.check(&token).await, "revoked", "within a second");
    login.people.down.store(true, Ordering::SeqCst);
    login.clock.advance(Duration::from_secs(1));
    assert_eq!(login.check(&token).await, "unavailable");
    login.people.down.store(false, Ordering::SeqCst);
    login.people.known.lock().expect("no panic").clear();
    assert_eq!(login.check(&token).await, "invalid", "the account is gone");
}

#[tokio::test]
async fn an_account_is_remembered_for_less_than_a_second() {
    let signer = ed("1");
    let login = Login::start(set_of([&signer])).await;
    let token = signer.good("ada");
    for _ in 0..5 {
        assert_eq!(login.check(&token).await, "accepted");
    }
    assert_eq!(login.people.asked.load(Ordering::SeqCst), 1);
    login.clock.advance(Duration::from_secs(1));
    assert_eq!(login.check(&token).await, "accepted");
    assert_eq!(login.people.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn own_and_foreign_tokens_and_keys_stand_side_by_side() {
    let signer = ed("1");
    let login = Login::start(set_of([&signer])).await;
    let gate = Gate::new().await;
    let any = gate.any.clone().others(Arc::new(login.verifier.clone()));
    let told = async |any: &AnyVerifier, credential: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-api-key", credential.parse().expect("a value"));
        match any.authenticate(&headers).await {
            Ok(principal) => format!("{:?}", principal.credential),
            Err(error) => error.reason().to_owned(),
        }
    };
    let foreign = signer.good("ada");
    for _ in 0..2 {
        assert_eq!(told(&any, &foreign).await, "Foreign");
        assert_eq!(told(&any, &gate.good_jwt).await, "Session");
        assert!(told(&any, &gate.good_key).await.starts_with("Key("));
        assert_eq!(told(&any, "a.b.c").await, "invalid");
    }
    assert_eq!(
        told(&gate.any, &foreign).await,
        "invalid",
        "nobody else is trusted"
    );

    // In our name, with their key: the name decides who is asked, and ours is not theirs to use.
    let mut claims = foreign_claims();
    claims["iss"] = json!("i");
    let posing = signer.jwt(&signer.header().to_string(), &claims.to_string());
    assert_eq!(told(&any, &posing).await, "invalid");

    let alone = &login.verifier;
    let mut headers = http::HeaderMap::new();
    assert_eq!(reason(alone.authenticate(&headers).await), "missing");
    headers.insert(
        "authorization",
        format!("Bearer {foreign}").parse().expect("a value"),
    );
    assert_eq!(reason(alone.authenticate(&headers).await), "accepted");
    let own = format!("Bearer {}", gate.good_jwt);
    headers.insert("authorization", own.parse().expect("a value"));
    assert_eq!(reason(alone.authenticate(&headers).await), "invalid");
}

/// For who must not wait: nothing is fetched, and nobody is looked up.
#[tokio::test]
async fn whose_a_foreign_token_is_shows_by_the_keys_that_are_known() {
    let (signer, other) = (ed("1"), ed("2"));
    let login = Login::start(set_of([&signer])).await;
    let gate = Gate::new().await;
    let any = gate.any.clone().others(Arc::new(login.verifier.clone()));
    let (ada, eve) = (signer.good("ada"), signer.good("eve"));
    assert_eq!(any.holder_of(&ada), None, "no keys are known yet");
    assert_eq!(login.publisher.asked(), 0);
    assert_eq!(login.check(&ada).await, "accepted");
    let holder = any.holder_of(&ada);
    assert!(holder.is_some());
    assert!(any.holder_of(&eve).is_some_and(|eve| Some(eve) != holder));
    assert_eq!(gate.any.holder_of(&ada), None, "nobody else is trusted");
    assert_eq!(any.holder_of(&other.good("ada")), None, "another key");
    let (message, _) = ada.rsplit_once('.').expect("a token");
    let (_, signature) = eve.rsplit_once('.').expect("a token");
    assert_eq!(any.holder_of(&format!("{message}.{signature}")), None);
    assert_eq!(login.publisher.asked(), 1, "nothing was fetched for it");
    login.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(any.holder_of(&ada), None, "it has ended");
}

#[test]
fn without_a_runtime_nobody_can_tell() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let signer = ed("1");
    let login = runtime.block_on(Login::start(set_of([&signer])));
    let mut answer = login.verifier.check(&signer.good("ada")).expect("theirs");
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut answer).poll(&mut cx) {
        std::task::Poll::Ready(answer) => assert_eq!(reason(answer), "unavailable"),
        std::task::Poll::Pending => panic!("waits for nothing"),
    }
}
