//! A gateway with people in it, who are something to one another.

use std::collections::BTreeMap;
use std::time::Duration;

use llm_gate::auth::{OperatorSecret, RefreshToken};
use llm_gate::clock::Clock;
use llm_gate::identity::{ProjectId, Role as PlatformRole, Scope, SessionId, UserId};
use llm_gate::store::{Actor, Author, NewProject, NewSession, ProjectRole, Store};
use llm_gate_gateway::accounts::Names;
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::Config;
use serde_json::{Value, json};

use super::access::Role;
use super::callers::{Caller, Kind};
use super::things::Thing;
use crate::operations::plenty;
use crate::smtp::Sink;
use crate::support::{Gate, start_on_postgres_with, start_with};
use test_support::provider::Provider;

/// Somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// An admin of the platform, and in nobody's project.
    Root,
    /// The owner of the project.
    Ada,
    /// An admin of it.
    Adam,
    /// A member of it.
    Mia,
    /// The owner of another one.
    Eve,
    /// Somebody in no project but the own.
    Ulla,
    /// A service account of the project.
    Service,
}

impl Name {
    /// What a service account's key may do at most.
    pub(super) const SERVICE: [Scope; 3] = [Scope::Inference, Scope::Models, Scope::Usage];

    /// Returns what that is in the project.
    pub(super) const fn role(self) -> Role {
        match self {
            Self::Ada => Role::Owner,
            Self::Adam => Role::Admin,
            Self::Mia | Self::Service => Role::Member,
            Self::Root | Self::Eve | Self::Ulla => Role::Stranger,
        }
    }
}

pub(super) struct Somebody {
    pub(super) id: UserId,
    /// The own project; of a service account, the one it is in.
    pub(super) project: String,
    pub(super) client: Client,
}

pub(super) struct Scene {
    pub(super) gate: Gate,
    pub(super) sink: Sink,
    pub(super) provider: Provider,
    pub(super) books: Box<dyn Store>,
    people: BTreeMap<Name, Somebody>,
    /// A hash of everybody's password.
    hash: String,
    /// The project, of Ada, Adam, Mia and Olga.
    pub(super) project: String,
    /// Another member, who never asks: what is hers is somebody else's to everybody.
    pub(super) olga: UserId,
    /// Another admin of the platform, who never asks.
    pub(super) vera: UserId,
    /// What was made for a row and is still there.
    pub(super) stock: BTreeMap<(Thing, Name), Value>,
    /// How many names were made up.
    names: u32,
    pub(super) callers: Vec<Caller>,
}

pub(super) fn made(answer: Answer) -> Answer {
    assert!(answer.status.is_success(), "{answer:?}");
    answer
}

impl Scene {
    pub(super) async fn set(on_postgres: bool) -> Self {
        let operator = OperatorSecret::generate();
        let (sink, provider) = (Sink::start().await, Provider::start().await);
        let (mail, known) = (sink.url(), provider.known());
        let settings = |config: &mut Config| {
            known(config);
            config.mail.url = Some(mail.as_str().into());
            config.rate_limits = plenty();
            config.auth.api_token_hash = Some(operator.hash().to_string().into());
        };
        let gate = if on_postgres {
            start_on_postgres_with(settings).await
        } else {
            start_with(settings).await
        };
        let books = gate.books().await;
        // The only password that is hashed: all others have the same.
        let ada = gate.person("ada").await;
        let record = books.user_by_login("ada".to_owned()).await;
        let hash = record.expect("a store").and_then(|record| record.hash);
        let mut scene = Self {
            gate,
            sink,
            provider,
            books,
            people: BTreeMap::new(),
            hash: hash.expect("a hash"),
            project: String::new(),
            olga: UserId::new(),
            vera: UserId::new(),
            stock: BTreeMap::new(),
            names: 0,
            callers: Vec::new(),
        };
        let somebody = Somebody {
            id: ada.id.parse().expect("an id"),
            project: ada.project,
            client: ada.session,
        };
        scene.people.insert(Name::Ada, somebody);
        let expired = scene.expired().await;
        scene.peopled().await;
        scene.callers = scene.everybody(&operator, expired).await;
        scene
    }

    /// Makes people and projects.
    async fn peopled(&mut self) {
        let ada = self.of(Name::Ada).id;
        let ada = self.entered(ada).await;
        self.people.insert(Name::Ada, ada);
        for name in [Name::Root, Name::Adam, Name::Mia, Name::Eve, Name::Ulla] {
            let role = match name {
                Name::Root => PlatformRole::Admin,
                _ => PlatformRole::User,
            };
            let somebody = self.somebody(role).await;
            let somebody = self.entered(somebody).await;
            self.people.insert(name, somebody);
        }
        self.olga = self.somebody(PlatformRole::User).await;
        self.vera = self.somebody(PlatformRole::Admin).await;
        self.project = self.project_like_that(self.of(Name::Ada).id).await;

        self.gate.allow_services(&self.project).await;
        let ada = &self.of(Name::Ada).client;
        let path = format!("/api/v1/projects/{}", self.project);
        let wanted = json!({ "name": "ci" });
        let service = ada.post(&format!("{path}/services"), &wanted).await;
        let service = made(service.expect("an answer")).text("id");
        let scopes = Name::SERVICE.map(Scope::as_str);
        let key = json!({ "service_id": service, "scopes": scopes });
        let key = ada.post(&format!("{path}/api-keys"), &key).await;
        let service = Somebody {
            id: service.parse().expect("an id"),
            project: self.project.clone(),
            client: self
                .gate
                .client
                .bearer(made(key.expect("an answer")).text("api_key")),
        };
        self.people.insert(Name::Service, service);
    }

    pub(super) fn of(&self, name: Name) -> &Somebody {
        &self.people[&name]
    }

    pub(super) fn author(&self) -> Author {
        Author::system(self.gate.clock.now())
    }

    /// Makes a name up that nobody and nothing has.
    pub(super) fn fresh(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// Makes an account, whose password is everybody's.
    pub(super) async fn somebody(&mut self, role: PlatformRole) -> UserId {
        let names = Names {
            email: None,
            username: Some(self.fresh()),
        };
        let account = names.account(self.hash.clone(), role, None, self.author());
        self.books.create_user(account).await.expect("a store").id
    }

    /// Opens a session of somebody; returns it and its refresh token.
    pub(super) async fn session(&self, user: UserId) -> (SessionId, RefreshToken) {
        let (id, token) = (SessionId::new(), RefreshToken::generate());
        let now = self.gate.clock.now();
        let session = NewSession {
            id,
            user,
            token: token.hash(),
            idle_until: now.after(Duration::from_secs(86_400)),
            ends_at: now.after(Duration::from_secs(864_000)),
            agent: None,
            author: Author::new(Actor::User(user), now),
        };
        self.books.create_session(session).await.expect("a store");
        (id, token)
    }

    /// Lets somebody in.
    async fn entered(&self, user: UserId) -> Somebody {
        let (_, token) = self.session(user).await;
        let body = json!({ "refresh_token": token.expose() });
        let pair = made(self.gate.post("/api/v1/auth/refresh", body).await);
        let account = self.books.user(user).await.expect("a store");
        Somebody {
            id: user,
            project: account.expect("an account").personal_project.to_string(),
            client: self.gate.client.bearer(pair.text("access_token")),
        }
    }

    /// Makes a project.
    pub(super) async fn project_of(&self, owner: UserId) -> String {
        let new = NewProject {
            id: ProjectId::new(),
            name: "Research".to_owned(),
            owner,
            author: self.author(),
        };
        let project = self.books.create_project(new).await.expect("a store");
        project.expect("its owner is there").id.to_string()
    }

    /// Makes a project in which everybody is what they are in the project of the scene.
    pub(super) async fn project_like_that(&self, owner: UserId) -> String {
        let project = self.project_of(owner).await;
        for (user, role) in [
            (self.of(Name::Ada).id, ProjectRole::Owner),
            (self.of(Name::Adam).id, ProjectRole::Admin),
            (self.of(Name::Mia).id, ProjectRole::Member),
        ] {
            self.join(&project, user, role).await;
        }
        if owner != self.olga {
            self.join(&project, self.olga, ProjectRole::Member).await;
        }
        project
    }

    pub(super) async fn join(&self, project: &str, user: UserId, role: ProjectRole) {
        let project = project.parse().expect("an id");
        let author = self.author();
        let joined = self.books.set_member(project, user, role, author).await;
        joined.expect("a store");
    }

    /// Lets somebody in who is what a caller is, and whom nobody misses.
    pub(super) async fn double(&mut self, caller: &Caller) -> Client {
        assert_eq!(caller.kind, Kind::Login, "keys have no double");
        let role = if caller.platform {
            PlatformRole::Admin
        } else {
            PlatformRole::User
        };
        let user = self.somebody(role).await;
        let role = match caller.role {
            Role::Member => Some(ProjectRole::Member),
            Role::Admin => Some(ProjectRole::Admin),
            Role::Owner => Some(ProjectRole::Owner),
            Role::Stranger | Role::Platform => None,
        };
        if let Some(role) = role {
            self.join(&self.project, user, role).await;
        }
        self.entered(user).await.client
    }
}
