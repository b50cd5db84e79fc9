//! What limits and prices leave.

use serde_json::{Value, json};

use super::{Trail, someone, sorted, to_value};
use crate::identity::Subject;
use crate::store::conformance::support::{account, done, key, tokens, user};
use crate::store::{
    Action, Actor, Limit, LimitChange, LimitKey, Period, Price, Rates, Store, Tariff, Unit, Zone,
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
        let event = trail.one(3, action, target, project).await;
        assert_eq!(event.before, to_value(&limit(20)), "there was one");
        assert_eq!(event.after, Value::Null, "and now there is none");
    }
    let mut new = account(None, Some("bob"));
    new.author = someone(4);
    let bob = done(store.create_user(new).await);
    let (made, limited) = (Action::UserCreated, Action::LimitChanged);
    let expected = sorted([(made, &bob.id), (limited, &bob.id)]);
    assert_eq!(
        trail.several(4).await,
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
