//! Everybody who asks, and what they come with.

use std::time::Duration;

use llm_gate::auth::OperatorSecret;
use llm_gate::identity::Scope;
use llm_gate_gateway::client::{Answer, Client};
use serde_json::json;

use super::access::Role;
use super::scene::{Name, Scene, made};

/// What somebody comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or nothing that is good.
    None,
    Login,
    /// A key with these scopes.
    Key(Vec<Scope>),
    Operator,
}

#[derive(Clone)]
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) client: Client,
    /// Where the credential stands, if not in `Authorization`.
    pub(super) header: Option<(&'static str, String)>,
    pub(super) kind: Kind,
    /// Whose credential it is; whose things are asked for, where it is nobody's.
    pub(super) person: Name,
    /// What it makes of its caller in the project of the scene.
    pub(super) role: Role,
    /// Whether it acts as an admin of the platform.
    pub(super) platform: bool,
}

impl Caller {
    fn new(name: &str, client: Client, kind: Kind, person: Name) -> Self {
        Self {
            name: name.to_owned(),
            client,
            header: None,
            role: person.role(),
            platform: person == Name::Root && kind == Kind::Login,
            kind,
            person,
        }
    }

    pub(super) fn has(&self, scope: Scope) -> bool {
        match &self.kind {
            Kind::Login => true,
            Kind::Key(scopes) => {
                // What admins may includes to manage, and that to read reports.
                let wider: &[Scope] = match scope {
                    Scope::Usage => &[Scope::Usage, Scope::Manage, Scope::Admin],
                    Scope::Manage => &[Scope::Manage, Scope::Admin],
                    _ => &[scope],
                };
                scopes.iter().any(|has| wider.contains(has))
            }
            _ => false,
        }
    }
}

/// All that keys of people may do who are no admins.
fn usual() -> Vec<Scope> {
    let all = Scope::ALL.iter().copied();
    all.filter(|scope| *scope != Scope::Admin).collect()
}

fn words(scopes: &[Scope]) -> Vec<&'static str> {
    scopes.iter().map(|scope| scope.as_str()).collect()
}

impl Scene {
    /// Makes a key of somebody.
    async fn issued(&self, person: Name, path: &str, scopes: &[Scope]) -> Answer {
        let wanted = json!({ "scopes": words(scopes) });
        let key = self.of(person).client.post(path, &wanted).await;
        made(key.expect("an answer"))
    }

    /// Makes a key of somebody in a project; returns its secret.
    async fn key(&self, person: Name, project: &str, scopes: &[Scope]) -> String {
        let path = format!("/api/v1/projects/{project}/api-keys");
        self.issued(person, &path, scopes).await.text("api_key")
    }

    /// Makes a key that is revoked at once.
    async fn revoked(&self, person: Name, project: &str, scopes: &[Scope]) -> String {
        let path = format!("/api/v1/projects/{project}/api-keys");
        let key = self.issued(person, &path, scopes).await;
        let path = format!("{path}/{}/revoke", key.text("id"));
        let revoked = self.of(person).client.post(&path, &json!({})).await;
        made(revoked.expect("an answer"));
        key.text("api_key")
    }

    /// Makes what has stopped being good by itself: a login, and a key. What is made before is too old afterwards.
    pub(super) async fn expired(&self) -> [Client; 2] {
        let ada = self.of(Name::Ada);
        let path = format!("/api/v1/projects/{}/api-keys", ada.project);
        let key = json!({
            "scopes": words(&usual()),
            "expires_at": "2026-01-01T00:01:00Z",
        });
        let key = made(ada.client.post(&path, &key).await.expect("an answer"));
        let both = [
            ada.client.clone(),
            self.gate.client.bearer(key.text("api_key")),
        ];
        self.gate.clock.advance(Duration::from_secs(700));
        both
    }

    /// Makes a credential of everybody.
    pub(super) async fn everybody(
        &self,
        operator: &OperatorSecret,
        expired: [Client; 2],
    ) -> Vec<Caller> {
        let people = usual();
        let bearer = |secret: String| self.gate.client.bearer(secret);
        let project = &*self.project;
        let home = |name| &*self.of(name).project;
        let mut all = Vec::new();

        let [login, key] = expired;
        let revoked = bearer(self.revoked(Name::Ada, project, &people).await);
        let admins = self.revoked(Name::Root, home(Name::Root), Scope::ALL);
        let admins = bearer(admins.await);
        for (name, client, person) in [
            ("nobody", self.gate.client.clone(), Name::Ada),
            (
                "wrong key",
                bearer("lg_000000000000_wrong".to_owned()),
                Name::Ada,
            ),
            ("owner's revoked key", revoked, Name::Ada),
            ("owner's expired key", key, Name::Ada),
            ("owner's expired login", login, Name::Ada),
            ("platform admin's revoked key", admins, Name::Root),
        ] {
            all.push(Caller::new(name, client, Kind::None, person));
        }

        for (name, person) in [
            ("user", Name::Ulla),
            ("stranger", Name::Eve),
            ("member", Name::Mia),
            ("project admin", Name::Adam),
            ("owner", Name::Ada),
            ("platform admin", Name::Root),
        ] {
            let client = self.of(person).client.clone();
            all.push(Caller::new(name, client, Kind::Login, person));
        }

        let mut keys: Vec<(&str, Name, &str, Vec<Scope>)> = vec![
            ("user's", Name::Ulla, home(Name::Ulla), people.clone()),
            ("stranger's", Name::Eve, home(Name::Eve), people.clone()),
            ("project admin's", Name::Adam, project, vec![Scope::Manage]),
            ("owner's", Name::Ada, project, people.clone()),
            (
                "platform admin's",
                Name::Root,
                home(Name::Root),
                Scope::ALL.to_vec(),
            ),
        ];
        for scope in Scope::ALL {
            let one = vec![*scope];
            keys.push((
                "platform admin's",
                Name::Root,
                home(Name::Root),
                one.clone(),
            ));
            if *scope != Scope::Admin {
                keys.push(("owner's", Name::Ada, project, one.clone()));
                keys.push(("member's", Name::Mia, project, one));
            }
        }
        for (whose, person, project, scopes) in keys {
            let client = bearer(self.key(person, project, &scopes).await);
            let name = format!("{whose} key {:?}", words(&scopes));
            let platform = scopes.contains(&Scope::Admin);
            let caller = Caller::new(&name, client, Kind::Key(scopes), person);
            all.push(Caller { platform, ..caller });
        }

        // It may not manage, so it shows nothing but the project that it is for.
        let secret = self.key(Name::Ada, home(Name::Ada), &[Scope::Usage]).await;
        let kind = Kind::Key(vec![Scope::Usage]);
        let elsewhere = Caller::new("owner's key elsewhere", bearer(secret), kind, Name::Ada);
        all.push(Caller {
            role: Role::Stranger,
            ..elsewhere
        });
        let secret = self.key(Name::Ada, project, &people).await;
        let client = self.gate.client.clone();
        let kind = Kind::Key(people);
        let beside = Caller::new("owner's key in X-API-Key", client, kind, Name::Ada);
        all.push(Caller {
            header: Some(("x-api-key", secret)),
            ..beside
        });
        let service = self.of(Name::Service).client.clone();
        let kind = Kind::Key(Name::SERVICE.to_vec());
        all.push(Caller::new("service's key", service, kind, Name::Service));
        let client = bearer(operator.expose().to_owned());
        let operator = Caller::new("operator", client, Kind::Operator, Name::Root);
        all.push(Caller {
            role: Role::Stranger,
            platform: true,
            ..operator
        });
        // Another gateway may remember a key as it was for a second.
        self.gate.told_everywhere();
        all
    }
}
