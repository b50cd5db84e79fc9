//! What projects leave, their members, their keys, and who is invited.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Trail, became_member, listed, someone, sorted, to_value};
use crate::identity::{KeyGrants, ProjectId, Role};
use crate::store::conformance::support::{
    account, done, hash, invite, key, later, own, project, race, reader, user,
};
use crate::store::{
    Action, Actor, EventQuery, KeyChange, NewApiKey, NewKeySecret, NewProject, NewUser,
    ProjectRole, Store,
};

/// Made, renamed, closed: for those who own it to read.
pub async fn a_project_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let mut trail = Trail::begin(&store).await;
    let new = NewProject {
        id: ProjectId::new(),
        name: "shared".to_owned(),
        owner: ada.id,
        author: someone(1),
    };
    let made = done(store.create_project(new).await).expect("there is such a user");
    let target = ("project", &made.id as &dyn ToString);
    let (event, beside) = trail
        .first(1, Action::ProjectCreated, target, Some(made.id))
        .await;
    became_member(&beside, 1, ada.id, made.id, "owner");
    assert_eq!(
        (event.before, event.after),
        (Value::Null, to_value(&made)),
        "all of it is new"
    );
    done(
        store
            .rename_project(made.id, "other".to_owned(), someone(2))
            .await,
    );
    let event = trail
        .one(2, Action::ProjectChanged, target, Some(made.id))
        .await;
    assert_eq!(
        event.before,
        json!({"name": "shared"}),
        "what it was called"
    );
    assert_eq!(event.after, json!({"name": "other"}), "what it is called");
    done(store.archive_project(made.id, someone(3)).await);
    let event = trail
        .one(3, Action::ProjectArchived, target, Some(made.id))
        .await;
    assert_eq!(event.before, json!({"archived_at": null}), "it was open");
    assert_eq!(
        event.after,
        json!({"archived_at": later(3)}),
        "since when it is not"
    );
}

/// Added, changed, put out: about the user, in the project.
pub async fn a_member_leaves_events<S: Store>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = project(&store, &ada).await.id;
    let id = Some(project);
    let mut trail = Trail::begin(&store).await;
    let target = ("user", &bob.id as &dyn ToString);
    done(
        store
            .set_member(project, bob.id, ProjectRole::Member, someone(1))
            .await,
    );
    let event = trail.one(1, Action::MemberAdded, target, id).await;
    assert_eq!(event.before, Value::Null, "bob was none");
    let facts = json!({
        "user_id": bob.id, "kind": "person", "username": "bob", "email": null, "name": null, "role": "member",
        "since": later(1),
    });
    assert_eq!(
        event.after, facts,
        "and now is, with no more than members see"
    );
    done(
        store
            .set_member(project, bob.id, ProjectRole::Admin, someone(2))
            .await,
    );
    let event = trail.one(2, Action::MemberChanged, target, id).await;
    assert_eq!(event.before, json!({"role": "member"}), "what he was");
    assert_eq!(event.after, json!({"role": "admin"}), "what he is");
    done(store.remove_member(project, bob.id, someone(3)).await);
    let event = trail.one(3, Action::MemberRemoved, target, id).await;
    assert_eq!(event.before["role"], "admin", "what he was");
    assert_eq!(event.after, Value::Null, "and is no more");
}

/// Made, taken up, withdrawn; who comes in is told beside it.
pub async fn an_invite_leaves_events<S: Store>(store: S) {
    let bob = user(&store, "bob").await;
    let ada = reader(&store, "ada@example.org").await;
    let id = project(&store, &bob).await.id;
    // An invite is as good as who makes it.
    let root = NewUser {
        id: someone(0).actor.parts().1.expect("a user"),
        role: Role::Admin,
        ..account(None, Some("root"))
    };
    done(store.create_user(root).await);
    let make = async |token, project| {
        let mut new = invite("ada@example.org", project, hash(token));
        new.author = someone(0);
        done(store.create_invite(new).await).expect("there is such a project")
    };
    let mut trail = Trail::begin(&store).await;
    let first = make(1, None).await;
    let target = ("invite", &first.id as &dyn ToString);
    let event = trail.one(0, Action::InviteCreated, target, None).await;
    assert_eq!(
        (event.before, event.after),
        (Value::Null, to_value(&first)),
        "all of it is new"
    );
    done(store.accept_invite(hash(1), ada.id, someone(1)).await);
    let event = trail.one(1, Action::InviteAccepted, target, None).await;
    assert_eq!(event.before, json!({"accepted": null}), "it was open");
    assert_eq!(
        event.after,
        json!({"accepted": [later(1), ada.id]}),
        "by whom it was taken up"
    );
    let second = make(2, Some(id)).await;
    let target = ("invite", &second.id as &dyn ToString);
    trail.one(0, Action::InviteCreated, target, Some(id)).await;
    done(store.revoke_invite(Some(id), second.id, someone(2)).await);
    let event = trail.one(2, Action::InviteRevoked, target, Some(id)).await;
    assert_eq!(event.before, json!({"revoked_at": null}), "it was open");
    assert_eq!(
        event.after,
        json!({"revoked_at": later(2)}),
        "since when it is not"
    );
    let third = make(3, Some(id)).await;
    trail.left().await;
    done(store.accept_invite(hash(3), ada.id, someone(3)).await);
    let (accepted, added) = (Action::InviteAccepted, Action::MemberAdded);
    let expected = sorted([(accepted, &third.id), (added, &ada.id)]);
    assert_eq!(
        trail.several(3).await,
        expected,
        "the invite, and who came in"
    );
    let mut new = invite("ada@example.org", None, hash(5));
    new.role = Role::Admin;
    let admits = done(store.create_invite(new).await).expect("to the platform");
    trail.left().await;
    done(store.accept_invite(hash(5), ada.id, someone(5)).await);
    let target = ("invite", &admits.id as &dyn ToString);
    let (_, beside) = trail.first(5, accepted, target, None).await;
    let [event] = &*beside else {
        panic!("one event beside it: {beside:?}");
    };
    assert_eq!(event.action, Action::UserChanged, "what she may do");
    assert_eq!(event.target.id, ada.id.to_string(), "who");
    assert_eq!(event.before, json!({"role": "user"}));
    assert_eq!(event.after, json!({"role": "admin"}));
    let mut new = invite("eve@example.org", Some(id), hash(4));
    new.role = Role::Admin;
    let fourth = done(store.create_invite(new).await).expect("there is such a project");
    trail.left().await;
    let mut new = account(Some("eve@example.org"), None);
    (new.invite, new.token_limit, new.author) = (Some(hash(4)), None, someone(4));
    let eve = done(store.create_user(new).await);
    let made = Action::UserCreated;
    let expected = sorted([
        (made, &eve.id),
        (added, &eve.id),
        (accepted, &fourth.id),
        (added, &eve.id),
    ]);
    assert_eq!(
        trail.several(4).await,
        expected,
        "and who was made by it, in two projects"
    );
}

/// What tells of several projects is of none of them; what becomes of it in one is told there, and of no other.
pub async fn an_invite_to_several_projects_leaves_events<S: Store>(store: S) {
    let bob = user(&store, "bob").await;
    let ada = reader(&store, "ada@example.org").await;
    let mut projects = Vec::new();
    for _ in 0..3 {
        projects.push(project(&store, &bob).await.id);
    }
    let make = async |token| {
        let mut new = invite("ada@example.org", None, hash(token));
        let places = projects.iter().map(|id| (*id, ProjectRole::Member));
        (new.projects, new.author) = (places.collect(), someone(0));
        new.author.actor = Actor::Operator;
        done(store.create_invite(new).await).expect("there are such projects")
    };
    let mut trail = Trail::begin(&store).await;
    let all = make(1).await;
    let [created] = &*trail.left().await else {
        panic!("one event, however many they are");
    };
    assert_eq!(
        (created.action, created.project),
        (Action::InviteCreated, None)
    );
    assert_eq!(created.after, to_value(&all), "with all of them");
    let target = ("invite", &all.id as &dyn ToString);
    done(
        store
            .revoke_invite(Some(projects[0]), all.id, someone(1))
            .await,
    );
    let (changed, out) = (Action::InviteChanged, Some(projects[0]));
    let event = trail.one(1, changed, target, out).await;
    let places = |id: ProjectId| json!({ "projects": { id.to_string(): "member" } });
    assert_eq!(event.before, places(projects[0]), "what was taken out");
    assert_eq!(event.after, json!({ "projects": {} }), "and no other");
    done(
        store
            .revoke_invite(Some(projects[0]), all.id, someone(2))
            .await,
    );
    trail.nothing("it was out already").await;
    done(store.archive_project(projects[1], someone(3)).await);
    let archived = ("project", &projects[1] as &dyn ToString);
    let out = Some(projects[1]);
    let (_, beside) = trail.first(3, Action::ProjectArchived, archived, out).await;
    let [event] = &*beside else {
        panic!("one event beside it: {beside:?}");
    };
    assert_eq!((event.action, event.project), (changed, out), "told there");
    assert_eq!(event.before, places(projects[1]));
    let last = Some(projects[2]);
    done(store.accept_invite(hash(1), ada.id, someone(4)).await);
    let (_, beside) = trail.first(4, Action::InviteAccepted, target, last).await;
    became_member(&beside, 4, ada.id, projects[2], "member");

    projects[1] = project(&store, &bob).await.id;
    let make = async |token| {
        let mut new = invite("ada@example.org", Some(projects[0]), hash(token));
        new.projects.insert(projects[1], ProjectRole::Member);
        done(store.create_invite(new).await)
            .expect("there are such projects")
            .id
    };
    let (whole, parts) = (make(2).await, make(3).await);
    trail.left().await;
    done(store.revoke_invite(None, whole, someone(5)).await);
    let event = trail
        .one(5, Action::InviteRevoked, ("invite", &whole), None)
        .await;
    assert_eq!(event.before, json!({ "revoked_at": null }), "as a whole");
    for (number, (project, action)) in
        [(projects[0], changed), (projects[1], Action::InviteRevoked)]
            .into_iter()
            .enumerate()
    {
        let micros = 6 + i64::try_from(number).expect("a small number");
        done(
            store
                .revoke_invite(Some(project), parts, someone(micros))
                .await,
        );
        trail
            .one(micros, action, ("invite", &parts), Some(project))
            .await;
    }
}

/// Made, changed, rotated, revoked; not that it was used.
pub async fn a_key_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let project = Some(ada.personal_project);
    let mut trail = Trail::begin(&store).await;
    let new = NewApiKey {
        author: someone(1),
        ..key(&ada, "first")
    };
    let made = done(store.create_key(new).await);
    let (name, target) = (own(&made), ("key", &made.id as &dyn ToString));
    let event = trail.one(1, Action::KeyCreated, target, project).await;
    assert_eq!(
        (event.before, event.after),
        (Value::Null, to_value(&made)),
        "all of it is new"
    );
    done(store.touch_key(made.id, later(9)).await);
    trail.nothing("a use is no change").await;
    let grants = KeyGrants {
        clamps: true,
        ..KeyGrants::default()
    };
    let change = KeyChange {
        name: Some("desk".to_owned()),
        grants: Some(grants.clone()),
        ..KeyChange::default()
    };
    done(store.change_key(name, change, someone(2)).await);
    let event = trail.one(2, Action::KeyChanged, target, project).await;
    let before = json!({"name": "laptop", "grants": KeyGrants::default()});
    assert_eq!(event.before, before, "what was different");
    assert_eq!(
        event.after,
        json!({"name": "desk", "grants": grants}),
        "and nothing else"
    );
    let secret = NewKeySecret {
        public_id: "second".to_owned(),
        hash: hash(2),
        overlap_until: later(50),
        judged: None,
        author: someone(3),
    };
    done(store.rotate_key(name, secret).await);
    let event = trail.one(3, Action::KeyRotated, target, project).await;
    assert_eq!(
        event.before,
        json!({"public_id": "first", "overlap_until": null}),
        "the old one"
    );
    let after = json!({"public_id": "second", "overlap_until": later(50)});
    assert_eq!(event.after, after, "the new one, and how long both work");
    done(store.revoke_key(name, someone(4)).await);
    let event = trail.one(4, Action::KeyRevoked, target, project).await;
    assert_eq!(event.before, json!({"revoked_at": null}), "it worked");
    assert_eq!(
        event.after,
        json!({"revoked_at": later(4)}),
        "since when it does not"
    );
}

/// As many as there were changes, each on from the one before.
pub async fn racing_changes_leave_an_event_each<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let id = project(&store, &ada).await.id;
    let store = Arc::new(store);
    race(&store, 8, |store, number| async move {
        let name = format!("racer {number}");
        done(store.rename_project(id, name, someone(1)).await);
    })
    .await;
    let query = EventQuery {
        actions: vec![Action::ProjectChanged],
        ..EventQuery::default()
    };
    let mut events = listed(&*store, query).await;
    assert_eq!(events.len(), 8, "one for each");
    let mut names: Vec<(Value, Value)> = Vec::new();
    for event in &mut events {
        names.push((event.before["name"].take(), event.after["name"].take()));
    }
    let mut now = json!("shared");
    for _ in 0..8 {
        let next = names.iter().position(|(before, _)| *before == now);
        now = names
            .remove(next.expect("each begins where another ended"))
            .1;
    }
    let last = done(store.project(id).await).map(|project| project.name);
    assert_eq!(Some(now), last.map(Value::from), "to the name that it has");
}
