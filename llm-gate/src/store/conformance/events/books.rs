//! What limits and prices leave.

use serde_json::{Value, json};

use super::{Trail, someone, sorted, to_value};
use crate::identity::{RequestId, Subject};
use crate::store::conformance::support::{
    account, balances, done, granted, key, reserve, settle, settled, stands, tokens, user,
};
use crate::store::rules::State;
use crate::store::{
    Action, Actor, CounterKey, Ending, Limit, LimitChange, LimitKey, Period, Price, Rates, Settle,
    Source, Store, Tariff, Unit, UsageReset, Zone,
};
use crate::tokens::Amount;

/// Set, changed, removed; which limit it is, is told each time.
pub async fn a_limit_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let laptop = done(store.create_key(key(&ada, "laptop")).await);
    let own = ada.personal_project;
    let mut trail = Trail::begin(&store).await;
    for (subject, kind, id, project) in [
        (Subject::User(ada.id), "user", ada.id.to_string(), None),
        (Subject::Project(own), "project", own.to_string(), Some(own)),
        (
            Subject::Key(laptop.id),
            "key",
            laptop.id.to_string(),
            Some(own),
        ),
        (
            Subject::EACH_PROJECT,
            "project",
            uuid::Uuid::nil().to_string(),
            None,
        ),
        (
            Subject::Platform,
            "platform",
            uuid::Uuid::nil().to_string(),
            None,
        ),
    ] {
        let limit = |amount| Limit {
            key: LimitKey {
                subject,
                model: Some("model".into()),
                unit: Unit::Requests,
                period: Period::Day,
            },
            zone: Zone::UTC,
            amount: Amount::new(amount),
            voluntary: false,
        };
        let (action, target) = (Action::LimitChanged, (kind, &id as &dyn ToString));
        done(
            store
                .change_limit(LimitChange::set(limit(10), someone(1)))
                .await,
        );
        let event = trail.one(1, action, target, project).await;
        assert_eq!(event.before, Value::Null, "there was none");
        assert_eq!(event.after, to_value(&limit(10)), "and now there is");
        done(
            store
                .change_limit(LimitChange::set(limit(20), someone(2)))
                .await,
        );
        let event = trail.one(2, action, target, project).await;
        let which = to_value(&limit(0).key);
        assert_eq!(
            (&event.before["key"], &event.after["key"]),
            (&which, &which),
            "which one"
        );
        assert_eq!(
            event.before["amount"],
            to_value(&limit(10).amount),
            "how much it was"
        );
        assert_eq!(
            event.after["amount"],
            to_value(&limit(20).amount),
            "how much it is"
        );
        done(
            store
                .change_limit(LimitChange::remove(limit(0).key, someone(3)))
                .await,
        );
        let event = trail.one(3, Action::LimitRemoved, target, project).await;
        assert_eq!(event.before, to_value(&limit(20)), "there was one");
        assert_eq!(event.after, Value::Null, "and now there is none");
        let lower = LimitChange {
            only_down: true,
            ..LimitChange::set(limit(30), someone(4))
        };
        done(store.change_limit(lower).await);
        let event = trail.one(4, action, target, project).await;
        assert_eq!(event.after["voluntary"], true, "who is bound has set it");
        let set = LimitChange::set(limit(30), someone(5));
        done(store.change_limit(set).await);
        let event = trail.one(5, action, target, project).await;
        assert_eq!(
            (&event.before["voluntary"], &event.after["voluntary"]),
            (&true.into(), &false.into()),
            "now an admin has"
        );
    }
    let mut new = account(None, Some("bob"));
    new.author = someone(6);
    let bob = done(store.create_user(new).await);
    let (made, limited) = (Action::UserCreated, Action::LimitChanged);
    let added = Action::MemberAdded;
    let expected = sorted([(made, &bob.id), (added, &bob.id), (limited, &bob.id)]);
    assert_eq!(
        trail.several(6).await,
        expected,
        "one that comes with an account, too"
    );
    done(
        store
            .set_limit(Subject::User(bob.id), Some(tokens(5)))
            .await,
    );
    let left = trail.left().await;
    let by: Vec<Actor> = left.iter().map(|event| event.author.actor).collect();
    assert_eq!(by, [Actor::System], "who names nobody is the gate itself");
}

/// Set, changed, removed, by the model's name.
pub async fn a_price_leaves_events<S: Store>(store: S) {
    let price = |rate| Price {
        model: "größer".to_owned(),
        tariff: Tariff {
            price: rate,
            ..Tariff::default()
        },
    };
    let mut trail = Trail::begin(&store).await;
    let target = ("model", &"größer" as &dyn ToString);
    let first = done(
        store
            .set_price(price(Some(Rates::even(1))), someone(1))
            .await,
    );
    let event = trail.one(1, Action::PriceChanged, target, None).await;
    assert_eq!(
        (event.before, event.after),
        (Value::Null, to_value(&first)),
        "there is one"
    );
    let second = done(
        store
            .set_price(price(Some(Rates::even(2))), someone(2))
            .await,
    );
    let event = trail.one(2, Action::PriceChanged, target, None).await;
    assert_eq!(
        event.before,
        json!({"tariff": first.tariff}),
        "what it cost"
    );
    assert_eq!(
        event.after,
        json!({"tariff": second.tariff}),
        "what it costs"
    );
    done(store.set_price(price(None), someone(3)).await);
    let event = trail.one(3, Action::PriceChanged, target, None).await;
    assert_eq!(
        (event.before, event.after),
        (to_value(&second), Value::Null),
        "there is none"
    );
}

/// How much was taken off of which counter; nothing where there was nothing to take off.
pub async fn a_reset_of_usage_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let subject = Subject::User(ada.id);
    let call = reserve(&[subject], 40);
    granted(&store, &call).await;
    settled(&store, &settle(call.id, 40)).await;
    let mut trail = Trail::begin(&store).await;
    let reset = UsageReset {
        subject,
        author: someone(1),
    };
    done(store.reset_usage(reset.clone()).await);
    let target = ("user", &ada.id as &dyn ToString);
    let event = trail.one(1, Action::UsageReset, target, None).await;
    let counter = CounterKey::total_tokens(subject).to_string();
    assert_eq!(
        event.before,
        json!({ "used": { counter: 40 } }),
        "what is gone"
    );
    assert_eq!(event.after, Value::Null);
    done(store.reset_usage(reset).await);
    trail.nothing("nothing was used").await;
}

/// What was taken back, of whose call and by whom; once.
pub async fn a_refund_leaves_an_event<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let subject = Subject::User(ada.id);
    let mut call = reserve(&[subject], 40);
    (call.call.user, call.call.project) = (ada.id, ada.personal_project);
    let sure = reserve(&[subject], 5);
    for hold in [&call, &sure] {
        granted(&store, hold).await;
    }
    let presumed = Settle {
        source: Source::Presumed,
        ending: Ending::Expired,
        ..settle(call.id, 0)
    };
    settled(&store, &presumed).await;
    settled(&store, &settle(sure.id, 5)).await;
    let mut trail = Trail::begin(&store).await;
    let refunded = done(store.refund_presumed(call.id, someone(1)).await);
    assert_eq!(refunded.map(|call| call.state), Some(State::Refunded));
    let target = ("call", &call.id as &dyn ToString);
    let project = Some(ada.personal_project);
    let event = trail.one(1, Action::ChargeRefunded, target, project).await;
    assert_eq!(
        (&event.before["user"], &event.before["charged"]),
        (&to_value(&ada.id), &json!(40)),
        "whose, and how much"
    );
    let again = done(store.refund_presumed(call.id, someone(2)).await);
    assert_eq!(again.map(|call| call.state), Some(State::Refunded), "once");
    let other = done(store.refund_presumed(sure.id, someone(2)).await);
    assert_eq!(other.map(|call| call.state.as_str()), Some("settled"));
    let none = done(store.refund_presumed(RequestId::new(), someone(2)).await);
    assert_eq!(none, None);
    trail.nothing("nothing was taken back").await;
    stands(&store, subject, (5, 0, 0)).await;
    balances(&store).await;
}
