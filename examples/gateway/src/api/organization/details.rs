//! What the API calls what was done, and what it tells of it.

use llm_gate::identity::Role;
use llm_gate::store::{Action, Event, EventQuery, LimitKey, ProjectRole};
use serde_json::{Map, Value, json};

use super::never::NEVER;
use super::{names, rates};

/// Where an action has its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Wherever.
    All,
    /// Only where it concerns a project: what is done to service accounts and to a project's limits.
    InProjects,
    /// Only where it concerns none: what is done to persons and to the limits of persons and of the platform.
    BesideProjects,
}

/// What has a name in the API. What is not here goes by the word that it has everywhere else.
const NAMES: [(&str, Action, Where); 24] = [
    ("user.added", Action::UserCreated, Where::BesideProjects),
    ("user.updated", Action::UserChanged, Where::BesideProjects),
    ("user.deleted", Action::UserDeleted, Where::BesideProjects),
    (
        "service_account.created",
        Action::UserCreated,
        Where::InProjects,
    ),
    (
        "service_account.updated",
        Action::UserChanged,
        Where::InProjects,
    ),
    (
        "service_account.deleted",
        Action::UserDeleted,
        Where::InProjects,
    ),
    ("login.succeeded", Action::SessionCreated, Where::All),
    ("login.failed", Action::LoginFailed, Where::All),
    ("logout.succeeded", Action::SessionRevoked, Where::All),
    ("project.created", Action::ProjectCreated, Where::All),
    ("project.updated", Action::ProjectChanged, Where::All),
    ("project.archived", Action::ProjectArchived, Where::All),
    ("role.assignment.created", Action::MemberAdded, Where::All),
    ("role.assignment.deleted", Action::MemberRemoved, Where::All),
    ("api_key.created", Action::KeyCreated, Where::All),
    ("api_key.updated", Action::KeyChanged, Where::All),
    ("api_key.deleted", Action::KeyRevoked, Where::All),
    ("invite.sent", Action::InviteCreated, Where::All),
    ("invite.accepted", Action::InviteAccepted, Where::All),
    ("invite.deleted", Action::InviteRevoked, Where::All),
    (
        "rate_limit.updated",
        Action::LimitChanged,
        Where::InProjects,
    ),
    (
        "rate_limit.deleted",
        Action::LimitRemoved,
        Where::InProjects,
    ),
    ("limit.changed", Action::LimitChanged, Where::BesideProjects),
    ("limit.removed", Action::LimitRemoved, Where::BesideProjects),
];

/// Returns what the API calls an event.
pub(super) fn name(event: &Event) -> &'static str {
    let fits = |place| match place {
        Where::All => true,
        Where::InProjects => event.project.is_some(),
        Where::BesideProjects => event.project.is_none(),
    };
    let named = NAMES
        .iter()
        .find(|(_, action, place)| *action == event.action && fits(*place));
    named.map_or(event.action.as_str(), |(name, _, _)| name)
}

/// Lists the names that events can have.
pub(super) fn all() -> Vec<&'static str> {
    let others = Action::ALL.iter().filter(|action| !named(**action));
    let named = NAMES.iter().map(|(name, _, _)| *name);
    named.chain(others.map(|action| action.as_str())).collect()
}

fn named(action: Action) -> bool {
    NAMES.iter().any(|(_, known, _)| *known == action)
}

/// Lists the names that can be asked for.
pub(super) fn askable() -> Vec<&'static str> {
    let mut names = all();
    names.extend(NEVER);
    names
}

/// Finds the name that somebody asks for.
pub(super) fn known(name: &str) -> Option<&'static str> {
    askable().into_iter().find(|known| *known == name)
}

/// Asks for events with one of some names; returns whether there can be any.
pub(super) fn ask(query: &mut EventQuery, names: &[&'static str]) -> bool {
    let mut some = false;
    for name in names {
        let named = NAMES.iter().find(|(known, _, _)| known == name);
        let (action, place) = match named {
            Some((_, action, place)) => (*action, *place),
            None => match Action::from_word(name) {
                Some(action) => (action, Where::All),
                None => continue,
            },
        };
        some = true;
        match place {
            Where::All => query.actions.push(action),
            Where::InProjects => query.in_projects.push(action),
            Where::BesideProjects => query.beside_projects.push(action),
        }
    }
    some
}

/// Tells what the API tells of an event, under its name.
pub(super) fn of(event: &Event) -> Value {
    let id = &event.target.id;
    let (before, after) = (&event.before, &event.after);
    match event.action {
        // A service account is a member from the start; what else it becomes is an event of its own.
        Action::UserCreated if event.project.is_some() => {
            json!({ "id": id, "data": { "role": ProjectRole::Member.as_str() } })
        }
        Action::UserCreated => {
            json!({ "id": id, "data": { "role": platform_role(&after["role"]) } })
        }
        Action::UserChanged => {
            json!({ "id": id, "changes_requested": { "role": platform_role(&after["role"]) } })
        }
        Action::ProjectCreated => {
            let name = &after["name"];
            json!({ "id": id, "data": { "name": name, "title": name } })
        }
        Action::ProjectChanged => {
            json!({ "id": id, "changes_requested": { "title": after["name"] } })
        }
        Action::MemberAdded => assignment(event, after),
        Action::MemberRemoved => assignment(event, before),
        Action::KeyCreated => json!({ "id": id, "data": { "scopes": after["grants"]["scopes"] } }),
        Action::KeyChanged => json!({ "id": id, "changes_requested": of_key(event) }),
        Action::LimitChanged => limit(event, after, true),
        Action::LimitRemoved => limit(event, before, false),
        Action::InviteCreated => {
            let role = platform_role(&after["role"]);
            json!({ "id": id, "data": { "email": after["email"], "role": role } })
        }
        Action::LoginFailed => {
            json!({ "error_code": "invalid_credentials", "error_message": null })
        }
        Action::SessionCreated | Action::SessionRevoked => json!({}),
        _ => json!({ "id": id }),
    }
}

/// Tells what of a key is different: only what changed is known of an event.
fn of_key(event: &Event) -> Value {
    let (before, after) = (&event.before, &event.after);
    let mut changes = Map::new();
    let scopes = &after["grants"]["scopes"];
    if *scopes != before["grants"]["scopes"] {
        changes.insert("scopes".to_owned(), scopes.clone());
    }
    if let Some(end) = after["expires_at"].as_i64() {
        let left = end.saturating_sub(event.author.at.as_micros());
        changes.insert("expires_in_seconds".to_owned(), json!(left / 1_000_000));
    }
    changes.into()
}

/// Tells of a limit. One that is a project's on a model has the id of that rate limit, others have none; of those that the
/// API has the amount is told where there is one.
fn limit(event: &Event, facts: &Value, told: bool) -> Value {
    let key: Option<LimitKey> = serde_json::from_value(facts["key"].clone()).ok();
    let of_project = key.filter(|_| event.target.kind == "project");
    let id = of_project
        .as_ref()
        .and_then(|key| key.model.as_deref())
        .map(rates::id);
    if !told {
        return json!({ "id": id });
    }
    let word = of_project.and_then(|key| rates::word(key.unit, key.period));
    let changes = word.map(|word| (word.to_owned(), facts["amount"].clone()));
    json!({ "id": id, "changes_requested": Map::from_iter(changes) })
}

/// Tells of a role on the platform; null where there is none, as for a service account, or it stays.
fn platform_role(word: &Value) -> Value {
    let role = [Role::Admin, Role::User]
        .into_iter()
        .find(|role| json!(role) == *word);
    role.map_or(Value::Null, |role| names::role(role).into())
}

fn assignment(event: &Event, member: &Value) -> Value {
    let project = event.project.map(|project| project.to_string());
    let kind = match member["kind"].as_str() {
        Some("service") => "service_account",
        _ => "user",
    };
    json!({
        "id": member["role"],
        "principal_id": event.target.id,
        "principal_type": kind,
        "resource_id": project,
        "resource_type": "project",
    })
}

/// Tells what is known of an event beyond the API's own words.
pub(super) fn own(event: &Event) -> Map<String, Value> {
    let (actor, _, _) = event.author.actor.parts();
    Map::from_iter([
        ("actor".to_owned(), json!(actor)),
        ("action".to_owned(), json!(event.action)),
        ("target".to_owned(), json!(event.target)),
        ("before".to_owned(), event.before.clone()),
        ("after".to_owned(), event.after.clone()),
        ("request_id".to_owned(), json!(event.author.request)),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use llm_gate::identity::ProjectId;
    use llm_gate::store::{Author, Target};

    use super::*;

    #[test]
    fn every_event_is_found_by_the_name_it_is_shown_with() {
        for action in Action::ALL {
            for project in [None, Some(ProjectId::new())] {
                let target = Target::new("user", "1");
                let event = Event::new(&Author::default(), *action, target).of(project);
                let shown = known(name(&event)).expect("it can be asked for");
                let mut query = EventQuery::default();
                assert!(ask(&mut query, &[shown]), "{shown} happens");
                assert!(query.matches(&event), "{shown}");
                let mut others = EventQuery::default();
                let rest: Vec<_> = all().into_iter().filter(|other| *other != shown).collect();
                ask(&mut others, &rest);
                assert!(!others.matches(&event), "{shown} is no other's");
            }
        }
        let names: BTreeSet<_> = askable().into_iter().collect();
        assert_eq!(names.len(), askable().len(), "each name once");
        assert_eq!(known("certificate.invented"), None);
    }

    #[test]
    fn what_is_never_done_can_be_asked_for_and_is_no_event() {
        for name in NEVER {
            let asked = known(name).expect("it can be asked for");
            let mut query = EventQuery::default();
            assert!(!ask(&mut query, &[asked]), "{name}");
            assert!(ask(&mut query, &[asked, "user.added"]), "beside others");
        }
    }
}
