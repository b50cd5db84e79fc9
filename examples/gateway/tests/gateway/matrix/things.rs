//! What requests name: each thing is there, and is whose the row says.

use http::{Method, StatusCode};
use llm_gate::auth::{ApiKeySecret, RefreshToken};
use llm_gate::identity::{KeyGrants, KeyId, Role as PlatformRole, Scope, UserId};
use llm_gate::store::{Identity, Linking, NewApiKey, ProjectRole, UserChange};
use serde_json::{Map, Value, json};

use super::access::{Role, Row};
use super::scene::{Name, Scene, made};
use crate::ledger::presume;
use crate::support::send;
use crate::usage::Call;
use test_support::browser::Browser;

/// What a request names. Without another word it is the caller's, or in the project of the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// This, which is there anyway.
    Word(&'static str),
    /// A name that nobody has.
    NewName,
    /// An address that nobody has.
    NewAddress,
    /// The caller itself.
    Me,
    /// The caller's own project.
    Home,
    /// The project of the scene.
    Project,
    /// One with the same people in it, to be closed or left.
    SpareProject,
    /// An account.
    Somebody,
    /// An account's address.
    Address,
    Member,
    OtherOwner,
    /// Who is in the project, and not the caller.
    Olga,
    Service,
    /// A key that the caller may do anything with: its own, or of a service account where it is no member.
    OwnKey,
    /// The same, with a limit.
    LimitedKey,
    OthersKey,
    ServiceKey,
    /// A key in another project.
    KeyElsewhere,
    AdminKey,
    OthersAdminKey,
    Session,
    OthersSession,
    RefreshToken,
    Conversation,
    OthersConversation,
    /// The caller's, in the project.
    ProjectConversation,
    /// The caller's, in another project.
    ConversationElsewhere,
    Identity,
    OthersIdentity,
    /// To the platform.
    Invite,
    ProjectInvite,
    InviteElsewhere,
    /// The secret of one for the caller.
    InviteForMe,
    /// What makes the caller's address one that is not confirmed.
    Unconfirmed,
    /// The secret of a letter that confirms it.
    VerifyToken,
    ResetToken,
    /// What a browser comes back with from a provider: `query` and `cookie`.
    Arrival,
    Presumed,
    /// A model that has a price.
    Price,
    OwnLimit,
    OlgasLimit,
    ProjectLimit,
    PlatformLimit,
}

impl Scene {
    /// Makes all that a row names, for a person; what there still is from before does.
    pub(super) async fn give(&mut self, row: &Row, person: Name) -> Value {
        let mut given = Map::new();
        for (name, thing) in &row.given {
            let kept = self.stock.get(&(*thing, person)).cloned();
            let value = match kept {
                Some(value) => value,
                None => self.make(*thing, person).await,
            };
            self.stock.insert((*thing, person), value.clone());
            given.insert((*name).to_owned(), value);
        }
        given.into()
    }

    async fn make(&mut self, thing: Thing, person: Name) -> Value {
        let other = match person {
            Name::Eve => Name::Ada,
            _ => Name::Eve,
        };
        // Only who logs in has these.
        let login = match person {
            Name::Service => Name::Ada,
            other => other,
        };
        let project = self.project.clone();
        let elsewhere = self.of(Name::Eve).project.clone();
        match thing {
            Thing::Word(word) => json!(word),
            Thing::NewName => json!(self.fresh()),
            Thing::NewAddress => json!(self.address()),
            Thing::Me => json!(self.of(person).id),
            Thing::Home => json!(self.of(person).project),
            Thing::Project => json!(project),
            Thing::SpareProject => json!(self.project_like_that(self.olga).await),
            Thing::Somebody => json!(self.somebody(PlatformRole::User).await),
            Thing::Address => json!(self.reachable(true).await.1),
            Thing::Member => self.joined(ProjectRole::Member).await,
            Thing::OtherOwner => self.joined(ProjectRole::Owner).await,
            Thing::Olga => json!(self.olga),
            Thing::Service => json!(self.service().await),
            Thing::OwnKey => self.own_key(person).await,
            Thing::LimitedKey => {
                let key = self.own_key(person).await;
                self.limit(json!({ "subject": "key", "id": key })).await;
                key
            }
            Thing::OthersKey => self.key_of(self.olga, &project, Scope::Inference).await,
            Thing::ServiceKey => {
                let service = self.service().await;
                self.key_of(service, &project, Scope::Usage).await
            }
            Thing::KeyElsewhere => {
                let place = if person == Name::Eve {
                    project
                } else {
                    elsewhere
                };
                let owner = if person == Name::Eve {
                    self.olga
                } else {
                    self.of(Name::Eve).id
                };
                self.key_of(owner, &place, Scope::Manage).await
            }
            Thing::AdminKey => self.admin_key(self.of(Name::Root).id).await,
            Thing::OthersAdminKey => self.admin_key(self.vera).await,
            Thing::Session => json!(self.session(self.of(login).id).await.0),
            Thing::OthersSession => json!(self.session(self.of(other).id).await.0),
            Thing::RefreshToken => json!(self.session(self.of(login).id).await.1.expose()),
            Thing::Conversation => self.conversation(person).await,
            Thing::OthersConversation => self.conversation(other).await,
            Thing::ProjectConversation => self.conversation_in(&project, person).await,
            Thing::ConversationElsewhere => self.conversation_in(&elsewhere, person).await,
            Thing::Identity => self.identity(login).await,
            Thing::OthersIdentity => self.identity(other).await,
            Thing::Invite => self.invite("/api/v1/invites").await["id"].clone(),
            Thing::ProjectInvite => self.invited_to(&project).await,
            Thing::InviteElsewhere if person == Name::Eve => self.invited_to(&project).await,
            Thing::InviteElsewhere => self.invited_to(&elsewhere).await,
            Thing::InviteForMe => self.invite_for(person).await,
            Thing::Unconfirmed => json!(self.unconfirmed(person).await),
            Thing::VerifyToken => self.verify_token(login).await,
            Thing::ResetToken => self.reset_token().await,
            Thing::Arrival => self.arrival().await,
            Thing::Presumed => {
                let user = self.somebody(PlatformRole::User).await;
                json!(presume(&*self.books, user).await)
            }
            Thing::Price => {
                let price = json!({ "model": self.fresh(), "prompt": 1, "completion": 2 });
                self.put("/api/v1/prices", &price).await;
                price["model"].clone()
            }
            Thing::OwnLimit => {
                let id = self.of(person).id;
                self.limit(json!({ "subject": "user", "id": id })).await
            }
            Thing::OlgasLimit => {
                let id = self.olga;
                self.limit(json!({ "subject": "user", "id": id })).await
            }
            Thing::ProjectLimit => {
                self.limit(json!({ "subject": "project", "id": project }))
                    .await
            }
            Thing::PlatformLimit => self.limit(json!({ "subject": "platform" })).await,
        }
    }

    fn address(&mut self) -> String {
        format!("{}@example.org", self.fresh())
    }

    async fn joined(&mut self, role: ProjectRole) -> Value {
        let user = self.somebody(PlatformRole::User).await;
        self.join(&self.project, user, role).await;
        json!(user)
    }

    /// Does something as an admin of the platform.
    async fn put(&self, path: &str, body: &Value) {
        let root = &self.of(Name::Root).client;
        made(root.put(path, body).await.expect("an answer"));
    }

    async fn post(&self, person: Name, path: &str, body: &Value) -> Value {
        let client = &self.of(person).client;
        made(client.post(path, body).await.expect("an answer")).json()
    }

    async fn service(&self) -> UserId {
        let path = format!("/api/v1/projects/{}/services", self.project);
        let service = self
            .post(Name::Ada, &path, &json!({ "name": "nightly" }))
            .await;
        let id = service["id"].as_str().expect("an id");
        id.parse().expect("an id")
    }

    /// Makes a key whose secret nobody has.
    async fn key_of(&self, owner: UserId, project: &str, scope: Scope) -> Value {
        let key = NewApiKey {
            id: KeyId::new(),
            public_id: ApiKeySecret::generate().public_id().to_owned(),
            hash: RefreshToken::generate().hash(),
            name: "laptop".to_owned(),
            user: owner,
            project: project.parse().expect("an id"),
            grants: KeyGrants {
                scopes: vec![scope],
                ..KeyGrants::default()
            },
            expires_at: None,
            at_most: None,
            author: self.author(),
        };
        json!(self.books.create_key(key).await.expect("a store").id)
    }

    async fn own_key(&self, person: Name) -> Value {
        let project = &self.project;
        match person.role() {
            Role::Stranger => {
                let service = self.service().await;
                self.key_of(service, project, Scope::Usage).await
            }
            _ => {
                let owner = self.of(person).id;
                self.key_of(owner, project, Scope::Manage).await
            }
        }
    }

    async fn admin_key(&self, owner: UserId) -> Value {
        let user = self.books.user(owner).await.expect("a store");
        let home = user.expect("an admin").personal_project.to_string();
        self.key_of(owner, &home, Scope::Admin).await
    }

    /// Sets a limit that stops nobody; returns whose.
    async fn limit(&self, whose: Value) -> Value {
        let mut limit = whose.clone();
        limit["unit"] = "tokens".into();
        limit["period"] = "month".into();
        limit["amount"] = 1_000_000_000.into();
        self.put("/api/v1/limits", &limit).await;
        whose["id"].clone()
    }

    /// Lets somebody have a conversation through the gate; returns what it is called.
    async fn conversation(&mut self, person: Name) -> Value {
        let session = self.fresh();
        let client = &self.of(person).client;
        let headers = [
            ("content-type", "application/json"),
            ("x-session-id", &*session),
        ];
        let path = "/v1/chat/completions";
        let call = super::rows::chat(&Value::Null).to_string();
        made(send(client, Method::POST, path, &headers, call).await);
        let path = "/users/usage";
        while client.get(path).await.expect("an answer").json()["reserved"] != 0 {
            tokio::task::yield_now().await;
        }
        json!(session)
    }

    /// Has somebody have had a conversation for a project; returns what it is called.
    async fn conversation_in(&mut self, project: &str, person: Name) -> Value {
        let session = self.fresh();
        let call = Call {
            user: &self.of(person).id.to_string(),
            project,
            session: Some(&session),
            ..Call::default()
        };
        call.happen(&*self.books).await;
        json!(session)
    }

    /// Links a login with another provider; returns what it is called here.
    async fn identity(&mut self, person: Name) -> Value {
        let identity = Identity {
            issuer: self.provider.url.clone(),
            subject: self.fresh(),
        };
        let (user, subject) = (self.of(person).id, identity.subject.clone());
        let linked = self
            .books
            .link_identity(user, identity, None, self.author());
        let linked = linked.await.expect("a store");
        assert_eq!(linked, Linking::Done, "the account is there");
        let listed = self.of(person).client.get("/api/v1/users/me/identities");
        let listed = made(listed.await.expect("an answer")).json();
        let mut listed = listed["identities"].as_array().expect("a list").iter();
        let found = listed.find(|identity| identity["subject"] == *subject);
        found.expect("it is listed")["id"].clone()
    }

    async fn invite(&mut self, path: &str) -> Value {
        let body = json!({ "email": self.address() });
        self.post(Name::Root, path, &body).await
    }

    async fn invited_to(&mut self, project: &str) -> Value {
        let path = format!("/api/v1/projects/{project}/invites");
        self.invite(&path).await["id"].clone()
    }

    /// Gives somebody another address.
    async fn readdressed(&mut self, user: UserId, confirmed: bool) -> String {
        let email = self.address();
        let change = UserChange {
            email: Some(Some(email.clone())),
            email_verified: Some(confirmed),
            ..UserChange::default()
        };
        let changed = self.books.change_user(user, change, self.author());
        changed.await.expect("a store");
        email
    }

    async fn invite_for(&mut self, person: Name) -> Value {
        let email = self.readdressed(self.of(person).id, true).await;
        let project = self.project_of(self.olga).await;
        let path = format!("/api/v1/projects/{project}/invites");
        let invite = self
            .post(Name::Root, &path, &json!({ "email": email }))
            .await;
        invite["token"].clone()
    }

    async fn unconfirmed(&mut self, person: Name) -> String {
        self.readdressed(self.of(person).id, false).await
    }

    /// Makes an account with an address.
    async fn reachable(&mut self, confirmed: bool) -> (UserId, String) {
        let user = self.somebody(PlatformRole::User).await;
        (user, self.readdressed(user, confirmed).await)
    }

    /// Waits for the secret that is mailed to an address.
    async fn mailed(&mut self, to: &str) -> Value {
        loop {
            let letter = self.sink.next().await;
            if letter.to == to {
                return json!(letter.token());
            }
        }
    }

    async fn verify_token(&mut self, person: Name) -> Value {
        let email = self.unconfirmed(person).await;
        let path = "/api/v1/users/me/email/verification";
        self.post(person, path, &Value::Null).await;
        self.mailed(&email).await
    }

    async fn reset_token(&mut self) -> Value {
        let (_, email) = self.reachable(true).await;
        let path = "/api/v1/auth/password/forgot";
        let asked = self.gate.post(path, json!({ "email": email })).await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
        self.mailed(&email).await
    }

    async fn arrival(&self) -> Value {
        let mut browser = Browser::new(&self.gate.client);
        let url = browser.depart("google").await;
        let back = browser.agree(&url).await;
        let (_, query) = back.split_once('?').expect("a query");
        let cookies = browser.cookies.iter();
        let cookies = cookies.map(|(name, value)| format!("{name}={value}"));
        json!({ "query": query, "cookie": cookies.collect::<Vec<_>>().join("; ") })
    }
}
