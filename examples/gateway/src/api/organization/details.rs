//! What the API calls what was done, and what it tells of it.

use llm_gate::identity::Role;
use llm_gate::store::{Action, Event, EventQuery, LimitKey, ProjectRole, UserKind};
use serde_json::{Map, Value, json};

use super::never::NEVER;
use super::rates;

/// Where an action has its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Wherever.
    All,
    /// Only where it concerns a project: what is done to service accounts.
    InProjects,
    /// Only where it concerns none: what is done to persons.
    BesideProjects,
}

/// What has a name in the API, and which. Some names are those of several actions. What is not here is none of what the
/// API lists: that a letter was asked for, that a project was taken out of an invite, that usage was taken off, that a
/// charge was given back.
const NAMES: [(&str, Action, Where); 30] = [
    ("user.added", Action::UserCreated, Where::BesideProjects),
    ("user.updated", Action::UserChanged, Where::BesideProjects),
    ("user.updated", Action::PasswordChanged, Where::All),
    ("user.updated", Action::EmailVerified, Where::All),
    ("user.updated", Action::IdentityLinked, Where::All),
    ("user.updated", Action::IdentityUnlinked, Where::All),
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
    ("logout.succeeded", Action::SessionReused, Where::All),
    ("organization.updated", Action::PriceChanged, Where::All),
    ("project.created", Action::ProjectCreated, Where::All),
    ("project.updated", Action::ProjectChanged, Where::All),
    ("project.archived", Action::ProjectArchived, Where::All),
    ("role.assignment.created", Action::MemberAdded, Where::All),
    // Who has another role has received it: the API has no word for one in place of another.
    ("role.assignment.created", Action::MemberChanged, Where::All),
    ("role.assignment.deleted", Action::MemberRemoved, Where::All),
    ("api_key.created", Action::KeyCreated, Where::All),
    ("api_key.updated", Action::KeyChanged, Where::All),
    ("api_key.updated", Action::KeyRotated, Where::All),
    ("api_key.deleted", Action::KeyRevoked, Where::All),
    ("invite.sent", Action::InviteCreated, Where::All),
    ("invite.accepted", Action::InviteAccepted, Where::All),
    ("invite.deleted", Action::InviteRevoked, Where::All),
    ("rate_limit.updated", Action::LimitChanged, Where::All),
    ("rate_limit.deleted", Action::LimitRemoved, Where::All),
];

/// Returns what the API calls an event, if it has a name for it.
pub(super) fn name(event: &Event) -> Option<&'static str> {
    let fits = |place| match place {
        Where::All => true,
        Where::InProjects => event.project.is_some(),
        Where::BesideProjects => event.project.is_none(),
    };
    let named = NAMES
        .iter()
        .find(|(_, action, place)| *action == event.action && fits(*place));
    named.map(|(name, _, _)| *name)
}

/// Lists the names that events can have.
pub(super) fn all() -> Vec<&'static str> {
    let mut names: Vec<_> = NAMES.iter().map(|(name, _, _)| *name).collect();
    // Those of one name stand together.
    names.dedup();
    names
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

/// Asks for events with one of some names, or with any where there are none; returns whether there can be some.
pub(super) fn ask(query: &mut EventQuery, names: &[&'static str]) -> bool {
    let mut some = false;
    for (name, action, place) in NAMES {
        if !(names.is_empty() || names.contains(&name)) {
            continue;
        }
        some = true;
        match place {
            Where::All => query.actions.push(action),
            Where::InProjects => query.in_projects.push(action),
            Where::BesideProjects => query.beside_projects.push(action),
        }
    }
    some
}

/// Puts together what is known: the API leaves out what is not, and has no null there.
pub(super) fn told<const N: usize>(members: [(&str, Value); N]) -> Value {
    members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
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
        Action::UserCreated => json!({ "id": id, "data": role(after) }),
        Action::UserChanged => json!({ "id": id, "changes_requested": role(after) }),
        Action::PasswordChanged
        | Action::EmailVerified
        | Action::IdentityLinked
        | Action::IdentityUnlinked => json!({ "id": id, "changes_requested": {} }),
        Action::ProjectCreated => {
            let name = || after["name"].clone();
            json!({ "id": id, "data": told([("name", name()), ("title", name())]) })
        }
        Action::ProjectChanged => {
            let title = told([("title", after["name"].clone())]);
            json!({ "id": id, "changes_requested": title })
        }
        Action::MemberAdded | Action::MemberChanged | Action::MemberRemoved => assignment(event),
        Action::KeyCreated => {
            let scopes = told([("scopes", after["grants"]["scopes"].clone())]);
            json!({ "id": id, "data": scopes })
        }
        Action::KeyChanged | Action::KeyRotated => {
            json!({ "id": id, "changes_requested": of_key(event) })
        }
        Action::LimitChanged => limit(event, after, true),
        Action::LimitRemoved => limit(event, before, false),
        Action::InviteCreated => {
            let email = after["email"].clone();
            let data = told([("email", email), ("role", member_role(&after["role"]))]);
            json!({ "id": id, "data": data })
        }
        Action::LoginFailed => json!({ "error_code": "invalid_credentials" }),
        Action::SessionCreated | Action::SessionRevoked | Action::SessionReused => json!({}),
        // The organization has no id here, and what a model costs is no setting that the API has.
        Action::PriceChanged => json!({ "changes_requested": {} }),
        _ => json!({ "id": id }),
    }
}

/// Tells what of a key is different: only what changed is known of an event.
fn of_key(event: &Event) -> Value {
    let (before, after) = (&event.before, &event.after);
    let scopes = &after["grants"]["scopes"];
    let scopes = Some(scopes).filter(|scopes| **scopes != before["grants"]["scopes"]);
    let left = after["expires_at"].as_i64().map(|end| {
        let left = end.saturating_sub(event.author.at.as_micros());
        left / 1_000_000
    });
    told([
        ("scopes", scopes.cloned().unwrap_or_default()),
        ("expires_in_seconds", json!(left)),
    ])
}

/// Tells of a limit. One of a project on a model has the id of that rate limit, others have none; of those that the API
/// has the amount is told where there is one.
fn limit(event: &Event, facts: &Value, changed: bool) -> Value {
    let key: Option<LimitKey> = serde_json::from_value(facts["key"].clone()).ok();
    // That of each project is of none by itself.
    let of_project = event.target.kind == "project" && event.project.is_some();
    let key = key.filter(|_| of_project);
    let model = key.as_ref().and_then(|key| key.model.as_deref());
    let id = json!(model.map(rates::id));
    if !changed {
        return told([("id", id)]);
    }
    let word = key.and_then(|key| rates::word(key.unit, key.period));
    let changes = word.map(|word| (word.to_owned(), facts["amount"].clone()));
    let changes = Value::Object(Map::from_iter(changes));
    told([("id", id), ("changes_requested", changes)])
}

/// Tells the role on the platform, if it is told.
fn role(facts: &Value) -> Value {
    told([("role", member_role(&facts["role"]))])
}

/// Returns the word that events of the API have for a role on the platform, which is not that of its accounts; null where
/// there is none, as for a service account, or it stays.
fn member_role(word: &Value) -> Value {
    match serde_json::from_value(word.clone()) {
        Ok(Role::Admin) => "owner".into(),
        Ok(_) => "member".into(),
        Err(_) => Value::Null,
    }
}

/// Tells of a role in a project. There is one for each member, so the two are its identifier.
fn assignment(event: &Event) -> Value {
    let user = &event.target.id;
    let id = event.project.map(|project| format!("{project}/{user}"));
    told([
        ("id", json!(id)),
        ("principal_id", json!(user)),
        // The API has users and groups there; a service account is no group.
        ("principal_type", json!("user")),
        ("resource_id", json!(event.project)),
        ("resource_type", json!("project")),
    ])
}

/// Tells what is known of an event beyond the API's own words. Of a member who has another role the event does not say
/// what it is: `kind` does, where it is known.
pub(super) fn own(event: &Event, kind: Option<UserKind>) -> Map<String, Value> {
    let (actor, _, _) = event.author.actor.parts();
    let kind = kind.map(|kind| ("kind".to_owned(), json!(kind)));
    let own = [
        ("actor".to_owned(), json!(actor)),
        ("action".to_owned(), json!(event.action)),
        ("target".to_owned(), json!(event.target)),
        ("before".to_owned(), event.before.clone()),
        ("after".to_owned(), event.after.clone()),
        ("request_id".to_owned(), json!(event.author.request)),
    ];
    own.into_iter().chain(kind).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use llm_gate::identity::ProjectId;
    use llm_gate::store::{Author, Target};

    use super::*;

    /// Makes an event of each action, in a project and beside all.
    fn events() -> Vec<Event> {
        let of = |action: &Action| {
            let event = Event::new(&Author::default(), *action, Target::new("user", "1"));
            [None, Some(ProjectId::new())].map(|project| event.clone().of(project))
        };
        Action::ALL.iter().flat_map(of).collect()
    }

    fn asking(names: &[&'static str]) -> EventQuery {
        let mut query = EventQuery::default();
        ask(&mut query, names);
        query
    }

    #[test]
    fn every_event_is_found_by_the_name_it_is_shown_with_and_by_no_other() {
        for event in events() {
            let shown = name(&event);
            for asked in all() {
                let found = asking(&[asked]).matches(&event);
                assert_eq!(found, shown == Some(asked), "{asked}: {event:?}");
            }
            let rest: Vec<_> = all()
                .into_iter()
                .filter(|one| Some(*one) != shown)
                .collect();
            assert!(!asking(&rest).matches(&event), "{rest:?}: {event:?}");
            let found = asking(&[]).matches(&event);
            assert_eq!(found, shown.is_some(), "only what has a name: {event:?}");
        }
    }

    #[test]
    fn only_what_the_api_has_no_word_for_has_no_name() {
        let nameless = events().into_iter().filter(|event| name(event).is_none());
        let nameless: BTreeSet<_> = nameless.map(|event| event.action).collect();
        let expected = BTreeSet::from([
            Action::PasswordResetRequested,
            Action::EmailVerificationRequested,
            Action::InviteChanged,
            Action::UsageReset,
            Action::ChargeRefunded,
        ]);
        assert_eq!(nameless, expected);
    }

    #[test]
    fn each_name_can_be_asked_for_once_and_no_other() {
        let names: BTreeSet<_> = askable().into_iter().collect();
        assert_eq!(names.len(), askable().len(), "each name once");
        for name in all() {
            assert_eq!(known(name), Some(name));
        }
        for name in ["certificate.invented", Action::MemberChanged.as_str()] {
            assert_eq!(known(name), None);
        }
    }

    #[test]
    fn what_is_not_known_is_left_out_and_never_null() {
        for event in events() {
            let told = of(&event).to_string();
            assert!(!told.contains("null"), "{told}: {event:?}");
        }
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
