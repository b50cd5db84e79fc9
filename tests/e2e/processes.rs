//! Four gateway processes on one PostgreSQL, asked by many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::header::RETRY_AFTER;
use llm_gate::clock::{Clock, SystemClock};
use llm_gate::identity::{KeyId, Subject};
use llm_gate::store::{Author, LedgerStore, Limit, LimitChange, LimitKey, Period, Unit, Zone};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::test_db::postgres;
use llm_gate_diesel::{PgConfig, PgStore};
use llm_gate_gateway::client::Answer;
use scripted_vllm::{Figure, ScriptedVllm, UsageMode};
use serde_json::json;
use support::{Ask, Person, Server, chat, in_time};
use tempfile::TempDir;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

const GATEWAYS: usize = 4;
/// What the gate adds to the bytes of a body for the chat template.
const ALLOWANCE: u64 = 64;
const OUTPUT: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Calls of equal length, each with a name of its own. They use all of their bounds.
fn ask(kind: &str, number: u64) -> Ask {
    let name = format!("{kind}-{number:06}");
    chat("everything at once")
        .max_tokens(OUTPUT)
        .with("user", name)
}

/// The most that a call can cost, which is what each costs.
fn bound() -> u64 {
    ask("call", 0).json().to_string().len() as u64 + ALLOWANCE + OUTPUT
}

/// The processes, what is in front of them and behind them.
struct Fleet {
    _vllm: ScriptedVllm,
    gateways: Vec<(Server, TempDir)>,
    store: PgStore,
}

impl Fleet {
    /// Starts four of them; `None`, said loudly, where there is no PostgreSQL.
    async fn start() -> Option<Self> {
        if !postgres::installed() {
            eprintln!("SKIPPED: no PostgreSQL on this machine (Debian: `apt install postgresql`)");
            assert!(std::env::var_os("CI").is_none(), "CI installs it");
            return None;
        }
        let database = postgres::config().await;
        let mut model = scripted_vllm::Config::default();
        model.keep_requests = usize::MAX;
        model.usage = UsageMode::WholeBound {
            prompt: Figure::new(|asked| asked.body.len() as u64 + ALLOWANCE),
            completion: Figure::max_tokens(),
        };
        let vllm = ScriptedVllm::start(model).await.expect("a free port");
        let settings = [
            ("DATABASE_URL", database.url()),
            ("JWT_SECRET_KEY", "one secret for all, thirty-two bytes"),
            ("API_KEY_PEPPER", "one pepper for all, thirty-two bytes"),
            ("WEB_URL", "http://gate.example"),
        ];
        let mut gateways = Vec::new();
        for _ in 0..GATEWAYS {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let server = Server::start_with(folder.path(), &vllm.url(), &settings).await;
            gateways.push((server, folder));
        }
        let patient = PgConfig::new(database.url()).connect_timeout(MINUTE);
        let store = PgStore::open(patient).await;
        Some(Self {
            _vllm: vllm,
            gateways,
            store: store.expect("a database"),
        })
    }

    /// Registers somebody without a limit, and returns them with a key of their own and the key's id.
    async fn register(&self, name: &str) -> (Person, KeyId) {
        let owner = Person::register(self.gateways[0].0.address, name).await;
        self.limit(owner.subject(), None).await;
        let (key, user) = owner.another_key().await;
        (user, key)
    }

    /// Returns the same person at each of the gateways.
    fn everywhere(&self, person: &Person) -> Vec<Person> {
        let addresses = self.gateways.iter().map(|(server, _)| server.address);
        addresses.map(|address| person.at(address)).collect()
    }

    async fn limit(&self, subject: Subject, limit: Option<u64>) {
        let set = self.store.set_limit(subject, limit.map(Tokens::new));
        set.await.expect("the database is there");
    }

    /// What is used and held of a subject.
    async fn taken(&self, subject: Subject) -> u64 {
        let standing = self.store.standing(subject).await;
        let standing = standing.expect("the database is there");
        standing.used.get() + standing.reserved.get()
    }

    /// Waits until everything is settled, checks the books as a whole, and returns what each of the subjects
    /// has used.
    async fn used<const N: usize>(&self, subjects: [Subject; N]) -> [u64; N] {
        let totals = in_time("everything is settled", async {
            loop {
                let totals = self.store.totals().await.expect("the database is there");
                if totals.pending == 0 {
                    return totals;
                }
            }
        })
        .await;
        assert!(totals.balance(), "{totals:?}");
        let mut used = [0; N];
        for (used, subject) in used.iter_mut().zip(subjects) {
            let standing = self.store.standing(subject).await;
            let standing = standing.expect("the database is there");
            assert_eq!(standing.reserved.get(), 0, "{subject}: nothing stays held");
            *used = standing.used.get();
        }
        used
    }
}

/// What an answer says was used; nothing if it is a refusal.
fn delivered(answer: &Answer) -> u64 {
    let usage = &answer.json()["usage"]["total_tokens"];
    usage.as_u64().unwrap_or(0)
}

/// Sends `count` calls at once, spread over the gateways, and returns how many were answered with 200, and what they
/// say was used; all others must have been answered with 429.
async fn at_once(people: &[Person], count: usize) -> (usize, u64) {
    let start = Arc::new(Barrier::new(count));
    let mut calls = JoinSet::new();
    for number in 0..count {
        let (person, start) = (people[number % people.len()].clone(), Arc::clone(&start));
        calls.spawn(async move {
            start.wait().await;
            let answer = person.chat(&ask("call", number as u64)).await;
            assert!(
                [200, 429].contains(&answer.status.as_u16()),
                "{}: {:?}",
                answer.status,
                answer.json()
            );
            delivered(&answer)
        });
    }
    let mut used = calls.join_all().await;
    used.retain(|used| *used > 0);
    (used.len(), used.iter().sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_calls_at_four_processes_spend_a_budget_for_one_hundred_exactly() {
    const CALLS: usize = 400;
    const FIT: u64 = 100;
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    for tight in 0..3 {
        let (person, key) = fleet.register(&format!("person-{tight}")).await;
        let project = Subject::Project(person.project().await);
        let subjects = [person.subject(), project, Subject::Key(key)];
        for (level, subject) in subjects.into_iter().enumerate() {
            let fit = if level == tight { FIT } else { FIT + 50 };
            fleet.limit(subject, Some(fit * bound())).await;
        }
        let (served, delivered) = at_once(&fleet.everywhere(&person), CALLS).await;
        assert_eq!(served, 100, "{:?} is tight", subjects[tight]);
        assert_eq!(
            fleet.used(subjects).await,
            [FIT * bound(); 3],
            "every level has all of it, and the tight one is spent to the last token"
        );
        // The upstream may have begun with more, which was aborted when the commit refused it.
        assert_eq!(delivered, FIT * bound(), "as the clients were told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_minute_grants_its_limit_and_no_more_over_all_processes() {
    const CALLS: u64 = 200;
    const FIT: u64 = 100;
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    let (person, _) = fleet.register("ada").await;
    let limit = Limit {
        key: LimitKey {
            subject: person.subject(),
            model: None,
            unit: Unit::Tokens,
            period: Period::Minute,
        },
        zone: Zone::UTC,
        amount: Tokens::new(FIT * bound()),
        voluntary: false,
    };
    let begin = SystemClock.now();
    let set = fleet
        .store
        .change_limit(LimitChange::set(limit, Author::system(begin)))
        .await;
    set.expect("the database is there");
    let people = fleet.everywhere(&person);
    let start = Arc::new(Barrier::new(CALLS as usize));
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let person = people[number as usize % people.len()].clone();
        let start = Arc::clone(&start);
        calls.spawn(async move {
            start.wait().await;
            loop {
                let answer = person.chat(&ask("call", number)).await;
                if answer.status == 200 {
                    return;
                }
                assert_eq!(answer.status, 429);
                // As the OpenAI packages do: they wait as long as they are told to.
                let wait = answer.headers[RETRY_AFTER].to_str().expect("a number");
                let wait = wait.parse().expect("a number of seconds");
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
        });
    }
    calls.join_all().await;
    assert_eq!(
        fleet.used([person.subject()]).await,
        [CALLS * bound()],
        "whoever waits is served"
    );
    let (mut total, mut minute) = (0, begin);
    while minute <= SystemClock.now().after(MINUTE) {
        let standings = fleet.store.standings(person.subject(), minute).await;
        for (limit, standing) in standings.expect("the database is there") {
            if limit.key.period == Period::Minute {
                let used = standing.used.get();
                assert!(used <= FIT * bound(), "{used} in one minute");
                total += used;
            }
        }
        minute = minute.after(MINUTE);
    }
    assert_eq!(total, CALLS * bound(), "every call counts in one minute");
}

/// Calls at all gateways, for as long as something is under way, and then a few more.
struct Crowd {
    /// The event everybody has heard of. Calls that begin after it are named `late`.
    late: Arc<AtomicBool>,
    /// How many were served.
    served: watch::Receiver<usize>,
    callers: JoinSet<Vec<(bool, u16, u64)>>,
}

/// The answers to a crowd.
struct Crowded {
    /// The statuses of the calls that began before anybody could know of the event.
    soon: Vec<u16>,
    /// Those of the calls that began behind it.
    late: Vec<u16>,
    /// What all of them say was used.
    delivered: u64,
}

impl Crowd {
    const CALLERS: usize = 40;
    /// Calls of each caller behind the event.
    const MORE: usize = 5;

    fn gather(people: &[Person]) -> Self {
        let (late, numbers) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (count, served) = watch::channel(0);
        let mut callers = JoinSet::new();
        for caller in 0..Self::CALLERS {
            let count = count.clone();
            let person = people[caller % people.len()].clone();
            let (told, numbers) = (Arc::clone(&late), Arc::clone(&numbers));
            callers.spawn(async move {
                let (mut answers, mut more) = (Vec::new(), Self::MORE);
                while more > 0 {
                    let late = told.load(Ordering::SeqCst);
                    more -= usize::from(late);
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    let ask = ask(if late { "late" } else { "soon" }, number);
                    let answer = person.chat(&ask).await;
                    answers.push((late, answer.status.as_u16(), delivered(&answer)));
                    count.send_modify(|count| *count += usize::from(answer.status == 200));
                }
                answers
            });
        }
        Self {
            late,
            served,
            callers,
        }
    }

    /// Waits until so many were served.
    async fn served(&mut self, count: usize) {
        let served = self.served.wait_for(|served| *served >= count);
        in_time("some are served", served).await.expect("they call");
    }

    /// Tells everybody of the event.
    async fn go_home(self) -> Crowded {
        self.late.store(true, Ordering::SeqCst);
        let answers = in_time("the crowd", self.callers.join_all()).await.concat();
        let with = |wanted| {
            let chosen = answers.iter().filter(move |(late, ..)| *late == wanted);
            chosen.map(|(_, status, _)| *status).collect()
        };
        Crowded {
            soon: with(false),
            late: with(true),
            delivered: answers.iter().map(|(_, _, delivered)| delivered).sum(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_grants_beyond_a_limit_that_another_one_has_lowered() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    for (name, room) in [("ada", Some(100)), ("grace", None)] {
        let (person, _) = fleet.register(name).await;
        let subject = person.subject();
        let people = fleet.everywhere(&person);
        let session = people[1].session().await;
        let mut crowd = Crowd::gather(&people);
        crowd.served(50).await;

        // Above what is taken by now, or far below.
        let limit = match room {
            Some(calls) => fleet.taken(subject).await + calls * bound(),
            None => 20 * bound(),
        };
        let path = "/api/v1/users/me/token-limit";
        let body = json!({ "token_limit": limit });
        let set = in_time("a lower limit", session.put(path, &body)).await;
        let set = set.expect("an answer");
        assert_eq!(set.status, 200, "{:?}", set.json());
        let taken = fleet.taken(subject).await;
        let Crowded {
            late, delivered, ..
        } = crowd.go_home().await;
        let [used] = fleet.used([subject]).await;
        // Every call uses all of its hold, so nothing that was granted comes back.
        assert_eq!(
            used,
            taken.max(limit),
            "{name}: no grant behind the answer exceeds the lower limit, and none that fits is refused"
        );
        assert_eq!(used, delivered, "{name}: as the clients were told");
        let served = late.iter().filter(|status| **status == 200).count() as u64;
        assert!(
            served * bound() <= limit.saturating_sub(taken),
            "{name}: {served} served with {taken} of {limit} taken"
        );
        assert!(
            late.iter().all(|status| [200, 429].contains(status)),
            "{name}: {late:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_serves_a_key_that_another_one_has_revoked() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    let (person, key) = fleet.register("ada").await;
    let (_, other) = person.another_key().await;
    let people = fleet.everywhere(&person);
    let session = people[3].session().await;
    let project = person.project().await;
    let mut crowd = Crowd::gather(&people);
    crowd.served(50).await;

    let path = format!("/api/v1/projects/{project}/api-keys/{key}/revoke");
    let revoked = in_time("revocation", session.post(&path, &json!({}))).await;
    let revoked = revoked.expect("an answer");
    assert_eq!(revoked.status, 200, "{:?}", revoked.json());
    let Crowded {
        soon,
        late,
        delivered,
    } = crowd.go_home().await;
    assert!(soon.iter().filter(|status| **status == 200).count() >= 50);
    assert_eq!(late.len(), Crowd::CALLERS * Crowd::MORE);
    assert!(
        late.iter().all(|status| [401, 429].contains(status)),
        "a call that begins behind the answer is admitted nowhere: {late:?}"
    );

    for user in fleet.everywhere(&other) {
        let answer = user.chat(&ask("soon", 0)).await;
        assert_eq!(answer.status, 200, "the other key is none of this");
    }
    let key = Subject::Key(key);
    let [user, of_key] = fleet.used([person.subject(), key]).await;
    assert_eq!(of_key, delivered, "as the clients were told");
    assert_eq!(user - of_key, GATEWAYS as u64 * bound());
    let standing = fleet.store.standing(key).await;
    assert!(standing.expect("the database is there").frozen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_answers_a_revoked_key_anything_a_second_later() {
    let Some(fleet) = Fleet::start().await else {
        return;
    };
    let (person, _) = fleet.register("ada").await;
    let people = fleet.everywhere(&person);
    let session = people[3].session().await;
    let keys = format!("/api/v1/projects/{}/api-keys", person.project().await);
    let wanted = json!({ "scopes": ["models", "usage", "manage"] });
    let made = session.post(&keys, &wanted).await.expect("an answer");
    assert_eq!(made.status, 201, "{:?}", made.json());
    let secret = made.text("api_key");
    let paths = ["/v1/models", "/api/v1/projects", "/api/v1/usage/calls"];
    let clients: Vec<_> = people
        .iter()
        .map(|person| person.client.bearer(&secret))
        .collect();
    for client in &clients {
        for path in paths {
            let answer = in_time(path, client.get(path)).await.expect("an answer");
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
    }
    let revoke = format!("{keys}/{}/revoke", made.text("id"));
    let revoked = in_time("revocation", session.post(&revoke, &json!({}))).await;
    let revoked = revoked.expect("an answer");
    // The promise is a time, so this is no measurement: however slow the machine is, what is asked a second behind the
    // answer is refused.
    let answered = std::time::Instant::now();
    assert_eq!(revoked.status, 200, "{:?}", revoked.json());
    for (number, client) in clients.iter().enumerate() {
        for path in paths {
            in_time("refusal", async {
                loop {
                    let asked = answered.elapsed();
                    let answer = client.get(path).await.expect("an answer");
                    if answer.status == 401 {
                        return;
                    }
                    assert_eq!(answer.status, 200, "{path}: {answer:?}");
                    assert!(
                        asked < Duration::from_secs(1),
                        "process {number} knew a revoked key for {asked:?}: {path}"
                    );
                }
            })
            .await;
        }
    }
}
