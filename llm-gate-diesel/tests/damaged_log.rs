//! A process dies, and the end of the write-ahead log is lost or damaged with it: what is left is what some
//! acknowledged commit had left, whole.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod support;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use llm_gate::identity::{RequestId, Subject, UserId};
use llm_gate::store::{Extend, LedgerStore, Operation, Standing, Totals, User, UserStore};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::{SqliteConfig, SqliteStore, test_db};

use support::{account, granted, reserve, settle};

/// How many places are damaged.
const PLACES: u64 = 500;
const SUBJECTS: usize = 3;
const COMMITS: u64 = 60;

/// Numbers that a seed decides (SplitMix64).
struct Dice(u64);

impl Dice {
    /// Takes the seed from `SEED` if that is set, and says which it is: a test that fails shows it.
    fn seeded() -> Self {
        let seed = std::env::var("SEED").map_or_else(
            |_| RandomState::new().hash_one("seed") >> 32,
            |seed| seed.parse().expect("SEED is a number"),
        );
        println!("SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// All that the store tells of its content.
#[derive(Clone, Debug, PartialEq)]
struct State {
    standings: Vec<Standing>,
    users: Vec<User>,
    totals: Totals,
}

impl State {
    async fn of(store: &SqliteStore, subjects: &[Subject]) -> Self {
        let mut standings = Vec::new();
        for &subject in subjects {
            standings.push(store.standing(subject).await.unwrap());
        }
        Self {
            standings,
            users: store.users(None, 100).await.unwrap(),
            totals: store.totals().await.unwrap(),
        }
    }
}

/// The files as a dead process leaves them.
struct Image {
    database: Vec<u8>,
    log: Vec<u8>,
    /// What each acknowledged commit has left that may be all there is; the first one is before all of them.
    states: Vec<State>,
    /// How long the log was with each of them, where it only grew.
    ends: Option<Vec<usize>>,
}

/// Makes commits of every kind, and notes what each has left and how long the log was then.
struct Author {
    config: SqliteConfig,
    store: SqliteStore,
    subjects: Vec<Subject>,
    pending: Vec<(RequestId, u32)>,
    states: Vec<State>,
    ends: Vec<usize>,
}

impl Author {
    async fn new() -> Self {
        let config = test_db::config();
        let store = SqliteStore::open(config.clone()).await.unwrap();
        let subjects: Vec<_> = (0..SUBJECTS)
            .map(|_| Subject::User(UserId::new()))
            .collect();
        Self {
            states: vec![State::of(&store, &subjects).await],
            ends: vec![0],
            pending: Vec::new(),
            config,
            store,
            subjects,
        }
    }

    async fn commit(&mut self, dice: &mut Dice) {
        let subject = self.subjects[dice.below(SUBJECTS as u64) as usize];
        match dice.below(5) {
            0 => {
                let limit = Tokens::new(1_000 + dice.below(9_000));
                self.store.set_limit(subject, Some(limit)).await.unwrap();
            }
            1 => {
                let name = format!("user-{}", self.states.len());
                self.store.create_user(account(&name)).await.unwrap();
            }
            2 => {
                let holds: Vec<_> = (0..=dice.below(3)).map(|_| reserve(subject, 50)).collect();
                self.pending.extend(holds.iter().map(|hold| (hold.id, 0)));
                let holds = holds.into_iter().map(Operation::Reserve).collect();
                self.store.apply(holds).await.unwrap();
            }
            3 if !self.pending.is_empty() => {
                let (id, version) = self.pending.last_mut().unwrap();
                *version += 1;
                let extend = Extend {
                    id: *id,
                    version: *version,
                    hold: Tokens::new(50 + dice.below(50)).into(),
                };
                let extend = vec![Operation::Extend(extend)];
                self.store.apply(extend).await.unwrap();
            }
            _ => {
                let ends = self.pending.drain(..self.pending.len().min(3));
                let ends = ends.map(|(id, _)| settle(id, 1 + dice.below(60)));
                self.store.apply(ends.collect()).await.unwrap();
            }
        }
        self.states
            .push(State::of(&self.store, &self.subjects).await);
        self.ends.push(self.log().len());
    }

    fn log(&self) -> Vec<u8> {
        fs::read(log_of(self.config.path())).unwrap()
    }

    /// Takes a picture while the store is open, as the disk would have it.
    fn image(&self, from: usize) -> Image {
        Image {
            database: fs::read(self.config.path()).unwrap(),
            log: self.log(),
            states: self.states[from..].to_vec(),
            ends: (from == 0).then(|| self.ends.clone()),
        }
    }
}

fn log_of(database: &Path) -> std::path::PathBuf {
    database.with_extension("db-wal")
}

impl Image {
    /// Opens the image with `log` instead of its own, and checks all that must be true of it.
    async fn check(&self, log: &[u8], subjects: &[Subject], damage: &str) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        fs::write(&path, &self.database).unwrap();
        fs::write(log_of(&path), log).unwrap();
        let config = SqliteConfig::new(&path).readers(NonZeroUsize::MIN);
        let store = SqliteStore::open(config)
            .await
            .unwrap_or_else(|error| panic!("{damage}: {error}"));
        let verdict = store
            .on_writer(|connection| {
                let check = "(SELECT group_concat(integrity_check) FROM pragma_integrity_check)";
                diesel::select(diesel::dsl::sql::<Text>(check)).get_result::<String>(connection)
            })
            .await
            .unwrap();
        assert_eq!(verdict.unwrap(), "ok", "{damage}");
        let state = State::of(&store, subjects).await;
        assert!(state.totals.balance(), "{damage}: {:?}", state.totals);
        let left = self.states.iter().rposition(|known| *known == state);
        let left = left.unwrap_or_else(|| panic!("{damage}: no commit has left {state:?}"));
        let hold = reserve(Subject::User(UserId::new()), 10);
        assert!(granted(&store, &hold).await, "{damage}: the books go on");
        assert!(store.totals().await.unwrap().balance(), "{damage}");
        left
    }

    /// Returns what is left where the log is right up to `at`: the last commit that ends there or before.
    fn left_by(&self, at: usize) -> Option<&State> {
        let ends = self.ends.as_ref()?;
        let commit = ends.iter().rposition(|end| *end <= at);
        commit.map(|commit| &self.states[commit])
    }
}

#[tokio::test]
async fn a_damaged_log_leaves_what_an_acknowledged_commit_has_left() {
    let mut dice = Dice::seeded();
    let mut author = Author::new().await;
    for _ in 0..COMMITS {
        author.commit(&mut dice).await;
    }
    let grown = author.image(0);
    // The second log is written over the first one, so that its rest is older than its beginning.
    let restart = "PRAGMA wal_checkpoint(RESTART)";
    let restarted = author
        .store
        .on_writer(move |connection| connection.batch_execute(restart));
    restarted.await.unwrap().unwrap();
    let from = author.states.len() - 1;
    for _ in 0..COMMITS / 3 {
        author.commit(&mut dice).await;
    }
    let reused = author.image(from);
    assert_eq!(
        grown.log.len(),
        reused.log.len(),
        "the same file, used again"
    );

    for image in [&grown, &reused] {
        let left = image.check(&image.log, &author.subjects, "no damage").await;
        assert_eq!(
            image.states[left],
            image.states[image.states.len() - 1],
            "nothing acknowledged is lost where nothing is damaged"
        );
    }
    for place in 0..PLACES {
        let image = if place % 3 == 0 { &reused } else { &grown };
        let mut log = image.log.clone();
        let at = dice.below(log.len() as u64) as usize;
        let damage = if dice.below(2) == 0 {
            log.truncate(at);
            format!("place {place}, cut at {at}")
        } else {
            log[at] ^= 1 + dice.below(255) as u8;
            format!("place {place}, another byte at {at}")
        };
        let left = image.check(&log, &author.subjects, &damage).await;
        if let Some(expected) = image.left_by(at) {
            assert_eq!(
                &image.states[left], expected,
                "{damage}: everything is left that was whole before"
            );
        }
    }
}
