//! Every database decides as memory does: the same operations have the same outcomes, whatever they are and however
//! they are cut into batches.
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId, RequestId, Subject, UserId};
use llm_gate::store::{
    CallInfo, Ending, Extend, LedgerStore, MemoryStore, Operation, Reserve, Settle, Source,
};
use llm_gate::tokens::{Tokens, Usage};
use proptest::prelude::*;
use uuid::Uuid;

/// Batches of operations, and a limit that is set before each.
pub(crate) type Script = Vec<((usize, Option<u64>), Vec<Operation>)>;

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

fn request() -> impl Strategy<Value = RequestId> {
    (1..15u128).prop_map(|number| RequestId::from_uuid(Uuid::from_u128(number)))
}

fn reserving() -> impl Strategy<Value = Operation> {
    let named = proptest::collection::vec(proptest::sample::select(subjects().to_vec()), 1..5);
    (request(), named, 0..120u64, 0..120u64).prop_map(|(id, subjects, hold, least)| {
        Operation::Reserve(Reserve {
            id,
            at: Timestamp::from_micros(1),
            subjects,
            hold: Tokens::new(hold),
            least: Tokens::new(least.min(hold)),
            call: CallInfo {
                user: UserId::from_uuid(Uuid::nil()),
                project: ProjectId::from_uuid(Uuid::nil()),
                route: "chat".into(),
                model: "model".to_owned(),
                stream: false,
            },
        })
    })
}

fn extending() -> impl Strategy<Value = Operation> {
    (request(), 0..5u32, 0..200u64).prop_map(|(id, version, hold)| {
        Operation::Extend(Extend {
            id,
            version,
            hold: Tokens::new(hold),
        })
    })
}

fn settling() -> impl Strategy<Value = Operation> {
    (request(), proptest::option::weighted(0.8, 0..150u64)).prop_map(|(id, charge)| {
        let at = Timestamp::from_micros(2);
        Operation::Settle(charge.map_or_else(
            || Settle::void(id, at, Ending::Refused),
            |charge| Settle {
                id,
                at,
                charge: Tokens::new(charge),
                usage: Usage::default(),
                source: Source::Upstream,
                ending: Ending::Complete,
                status: 200,
            },
        ))
    })
}

pub(crate) fn script() -> impl Strategy<Value = Script> {
    let limit = (
        0..subjects().len(),
        proptest::option::weighted(0.9, 0..300u64),
    );
    let batch = proptest::collection::vec(prop_oneof![reserving(), extending(), settling()], 0..12);
    proptest::collection::vec((limit, batch), 1..8)
}

/// Runs a script against a store and against memory.
pub(crate) async fn agrees<S: LedgerStore>(store: S, script: Script) -> Result<(), TestCaseError> {
    let memory = MemoryStore::new();
    for ((subject, limit), batch) in script {
        let (subject, limit) = (subjects()[subject], limit.map(Tokens::new));
        let set = store.set_limit(subject, limit).await.unwrap();
        prop_assert_eq!(set, memory.set_limit(subject, limit).await.unwrap());
        let outcomes = store.apply(batch.clone()).await.unwrap();
        prop_assert_eq!(outcomes, memory.apply(batch).await.unwrap());
        for subject in subjects() {
            let standing = store.standing(subject).await.unwrap();
            prop_assert_eq!(standing, memory.standing(subject).await.unwrap());
        }
    }
    let totals = store.totals().await.unwrap();
    prop_assert_eq!(totals, memory.totals().await.unwrap());
    prop_assert!(totals.balance(), "the books balance: {:?}", totals);
    Ok(())
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
