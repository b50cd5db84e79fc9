//! Every database decides as memory does: the same operations have the same outcomes, whatever they are and however
//! they are cut into batches.
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId, RequestId, Subject, UserId};
use llm_gate::store::{
    AuditStore, Author, BucketGroups, BucketQuery, BucketWidth, CallFilter, CallInfo, CallQuery,
    Check, Extend, Hold, LedgerStore, LimitChange, LimitKey, MemoryStore, Operation, Period, Price,
    Rates, Refund, Reserve, Settle, Source, Tariff, Unit, UsageGroup, UsageQuery, UsageReset,
    UsageScope, UsageStore, Verification,
};
use llm_gate::tokens::{Tokens, Usage};
use proptest::prelude::*;
use uuid::Uuid;

/// Batches of operations, before each a change of a limit, and before some a reset.
pub(crate) type Script = Vec<(LimitChange, Option<UsageReset>, Vec<Operation>)>;

/// Models without a tariff, with weights, and with a price.
const MODELS: [&str; 3] = ["plain", "weighted", "priced"];
/// 2026-01-01 00:00 UTC: a boundary of every window.
const MIDNIGHT: i64 = 1_767_225_600_000_000;

/// Subjects of all kinds; two of them share an identifier.
fn subjects() -> [Subject; 4] {
    let id = |number| Uuid::from_u128(number);
    [
        Subject::User(UserId::from_uuid(id(1))),
        Subject::Project(ProjectId::from_uuid(id(1))),
        Subject::Project(ProjectId::from_uuid(id(2))),
        Subject::Key(KeyId::from_uuid(id(3))),
    ]
}

/// Moments within three minutes around midnight.
fn moment() -> impl Strategy<Value = Timestamp> {
    (-90..90i64).prop_map(|seconds| Timestamp::from_micros(MIDNIGHT + seconds * 1_000_000))
}

fn request() -> impl Strategy<Value = RequestId> {
    (1..15u128).prop_map(|number| RequestId::from_uuid(Uuid::from_u128(number)))
}

fn hold() -> impl Strategy<Value = Hold> {
    (0..80u64, 0..80u64).prop_map(|(prompt, completion)| Hold {
        total: Tokens::new(prompt + completion),
        prompt: Tokens::new(prompt),
        completion: Tokens::new(completion),
    })
}

fn reserving() -> impl Strategy<Value = Operation> {
    let named = proptest::collection::vec(proptest::sample::select(subjects().to_vec()), 1..5);
    let model = proptest::sample::select(MODELS.to_vec());
    (request(), moment(), named, hold(), 0..160u64, model).prop_map(
        |(id, at, subjects, hold, least, model)| {
            let least = Tokens::new(least).max(hold.prompt).min(hold.total);
            Operation::Reserve(Reserve {
                id,
                at,
                subjects,
                hold,
                least,
                call: CallInfo::new(
                    UserId::from_uuid(Uuid::nil()),
                    ProjectId::from_uuid(Uuid::nil()),
                    "chat",
                    model,
                ),
                owner: None,
            })
        },
    )
}

fn extending() -> impl Strategy<Value = Operation> {
    (request(), 0..5u32, hold())
        .prop_map(|(id, version, hold)| Operation::Extend(Extend { id, version, hold }))
}

fn settling() -> impl Strategy<Value = Operation> {
    let source = proptest::sample::select(Source::ALL);
    let usage = (0..100u64, 0..100u64, 0..100u64);
    (request(), moment(), usage, source).prop_map(|(id, at, usage, source)| {
        let (prompt, completion, cached) = usage;
        let usage = Usage {
            prompt,
            completion,
            cached,
            reasoning: 0,
        };
        Operation::Settle(Settle {
            source,
            ..Settle::upstream(id, at, usage)
        })
    })
}

fn refunding() -> impl Strategy<Value = Operation> {
    (request(), moment()).prop_map(|(id, at)| Operation::Refund(Refund { id, at }))
}

fn limiting() -> impl Strategy<Value = LimitChange> {
    let mut limited = subjects().to_vec();
    limited.extend([Subject::EACH_USER, Subject::EACH_PROJECT, Subject::Platform]);
    let key = (
        proptest::sample::select(limited),
        proptest::option::of(proptest::sample::select(MODELS.to_vec())),
        proptest::sample::select(Unit::ALL),
        proptest::sample::select(Period::ALL),
    );
    let amount = proptest::option::weighted(0.9, 0..300u64);
    let zone = proptest::sample::select(vec!["UTC", "Europe/Berlin"]);
    (key, amount, zone, any::<bool>(), moment()).prop_map(
        |((subject, model, unit, period), amount, zone, only_down, at)| LimitChange {
            key: LimitKey {
                subject,
                model: model.map(Into::into),
                unit,
                period,
            },
            zone: zone.parse().expect("a time zone"),
            amount: amount.map(Tokens::new),
            only_down,
            author: Author::system(at),
        },
    )
}

fn resetting() -> impl Strategy<Value = UsageReset> {
    let subject = proptest::sample::select(subjects().to_vec());
    (subject, moment()).prop_map(|(subject, at)| UsageReset {
        subject,
        author: Author::system(at),
    })
}

pub(crate) fn script() -> impl Strategy<Value = Script> {
    let operation = prop_oneof![
        4 => reserving(),
        2 => extending(),
        3 => settling(),
        1 => refunding(),
    ];
    let batch = proptest::collection::vec(operation, 0..12);
    let resetting = proptest::option::weighted(0.3, resetting());
    proptest::collection::vec((limiting(), resetting, batch), 1..10)
}

/// Gives the models their tariffs.
async fn price(store: &impl LedgerStore) {
    let rates = Rates {
        prompt: 500,
        completion: 4_000,
        cached: 100,
    };
    for (model, weights, price) in [
        ("weighted", rates, None),
        ("priced", Rates::even(1_000), Some(Rates::even(1_500_000))),
    ] {
        let tariff = Tariff {
            id: None,
            weights,
            price,
        };
        let model = model.to_owned();
        let author = Author::system(Timestamp::from_micros(1));
        store
            .set_price(Price { model, tariff }, author)
            .await
            .unwrap();
    }
}

/// Runs a script against a store and against memory.
pub(crate) async fn agrees<S: LedgerStore + AuditStore + UsageStore>(
    store: S,
    script: Script,
) -> Result<(), TestCaseError> {
    let memory = MemoryStore::new();
    price(&store).await;
    price(&memory).await;
    for (change, reset, batch) in script {
        let set = store.change_limit(change.clone()).await.unwrap();
        prop_assert_eq!(set, memory.change_limit(change).await.unwrap());
        if let Some(reset) = reset {
            let standing = store.reset_usage(reset.clone()).await.unwrap();
            prop_assert_eq!(standing, memory.reset_usage(reset).await.unwrap());
        }
        let outcomes = store.apply(batch.clone()).await.unwrap();
        prop_assert_eq!(outcomes, memory.apply(batch).await.unwrap());
        for subject in subjects() {
            let standing = store.standing(subject).await.unwrap();
            prop_assert_eq!(standing, memory.standing(subject).await.unwrap());
            let at = Timestamp::from_micros(MIDNIGHT);
            let standings = store.standings(subject, at).await.unwrap();
            prop_assert_eq!(standings, memory.standings(subject, at).await.unwrap());
        }
    }
    let totals = store.totals().await.unwrap();
    prop_assert_eq!(totals, memory.totals().await.unwrap());
    prop_assert!(totals.balance(), "the books balance: {:?}", totals);
    let check = Check::new(Timestamp::from_micros(MIDNIGHT));
    let verification = store.verify(check).await.unwrap();
    prop_assert!(
        verification.is_clean(),
        "row by row too: {:?}",
        verification
    );
    // A store may keep a counter that nothing is on, and memory has no writers.
    let other = Verification {
        counters: verification.counters,
        writers: verification.writers,
        ..memory.verify(check).await.unwrap()
    };
    prop_assert_eq!(verification, other);
    let calls = CallQuery::new(UsageScope::All, 1_000);
    prop_assert_eq!(
        store.calls(calls.clone()).await.unwrap(),
        memory.calls(calls).await.unwrap()
    );
    for group in [None, Some(UsageGroup::Model), Some(UsageGroup::Key)] {
        let query = UsageQuery {
            zone: "Europe/Berlin".parse().expect("a time zone"),
            group,
            ..UsageQuery::daily(UsageScope::All, CallFilter::default(), 1_000)
        };
        prop_assert_eq!(
            store.usage_by(query.clone()).await.unwrap(),
            memory.usage_by(query).await.unwrap()
        );
    }
    let buckets = BucketQuery {
        groups: BucketGroups {
            model: true,
            user: true,
            ..BucketGroups::default()
        },
        ..BucketQuery::new(
            Timestamp::from_micros(0),
            Timestamp::from_micros(i64::MAX),
            BucketWidth::Hour,
            1_000,
        )
    };
    prop_assert_eq!(
        store.usage_in_buckets(buckets.clone()).await.unwrap(),
        memory.usage_in_buckets(buckets).await.unwrap()
    );
    prop_assert_eq!(
        store.statistics().await.unwrap(),
        memory.statistics().await.unwrap()
    );
    let presumed = store.presumed(None, 100).await.unwrap();
    prop_assert_eq!(presumed, memory.presumed(None, 100).await.unwrap());
    prop_assert_eq!(
        store.limits(None).await.unwrap(),
        memory.limits(None).await.unwrap()
    );
    Ok(())
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
