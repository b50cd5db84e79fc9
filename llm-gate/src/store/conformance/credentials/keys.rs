//! API keys as they are made, found and revoked.

use std::sync::Arc;

use super::secret;
use crate::identity::{KeyGrants, KeyId, ProjectId, Role, Scope};
use crate::store::conformance::support::{
    START, at, conflict, done, key, later, own, project, race, shared, user,
};
use crate::store::{
    ApiKey, CredentialStore, Judged, KeyChange, KeyName, NewApiKey, NewKeySecret, ProjectRole,
    ProjectStore, StoreError, StoreErrorKind, UserStore,
};

/// What was written is read back, hash and role with it.
pub async fn a_key_is_read_as_it_was_made<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let new = key(&ada, "public");
    let made = done(store.create_key(new.clone()).await);
    let found = done(store.key_by_public_id("public".to_owned()).await);
    let found = found.expect("a key is found by its public part");
    assert_eq!(found.key, made, "it reads as it was answered");
    assert_eq!(
        (made.id, made.user, made.project),
        (new.id, ada.id, ada.personal_project),
        "whose it is"
    );
    assert_eq!(
        (made.created_at, made.expires_at),
        (START, Some(later(1_000))),
        "from when to when"
    );
    assert_eq!(
        (made.last_used_at, made.revoked_at, made.overlap_until),
        (None, None, None),
        "neither used nor revoked nor rotated"
    );
    assert_eq!(found.hash, new.hash, "with the hash to check against");
    assert_eq!(found.until, made.expires_at, "until the key's own end");
    assert_eq!(
        (found.role, found.user_disabled),
        (Role::User, false),
        "and its user's rights"
    );
    let unknown = done(store.key_by_public_id("Public".to_owned()).await);
    assert_eq!(unknown, None, "no other spelling finds it");
}

/// One public part, one key.
pub async fn a_public_id_is_given_once<S: UserStore + CredentialStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    done(store.create_key(key(&ada, "public")).await);
    conflict(
        store.create_key(key(&bob, "public")).await,
        "a public part names one key",
    );
    let found = done(store.key_by_public_id("public".to_owned()).await);
    assert_eq!(
        found.map(|found| found.key.user),
        Some(ada.id),
        "the first owner keeps it"
    );
}

/// Authentication sees it with the same look-up.
pub async fn a_key_tells_that_its_user_is_disabled<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_key(key(&ada, "public")).await);
    for disabled in [true, false] {
        done(store.set_user_disabled(ada.id, disabled, at(1)).await);
        let found = done(store.key_by_public_id("public".to_owned()).await);
        assert_eq!(
            found.map(|found| found.user_disabled),
            Some(disabled),
            "as the user is now"
        );
    }
}

/// A list holds the keys of one project, of one user or of all, page by page.
pub async fn keys_are_listed_newest_first_in_their_scope<S>(store: S)
where
    S: UserStore + ProjectStore + CredentialStore,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = shared(&store, &ada, &bob).await.id;
    let mut made = Vec::new();
    for (public_id, user) in [
        ("one", &ada),
        ("two", &bob),
        ("three", &ada),
        ("four", &ada),
    ] {
        let mut new = key(user, public_id);
        new.project = project;
        made.push(done(store.create_key(new).await));
    }
    done(store.create_key(key(&ada, "other")).await);
    made.sort_by_key(|key| std::cmp::Reverse(key.id));
    let all = done(store.keys(project, None, None, 10).await);
    assert_eq!(all, made, "newest first, and none of another project");
    let first = done(store.keys(project, None, None, 2).await);
    assert_eq!(first, made[..2], "at most as many as asked");
    let rest = done(store.keys(project, None, Some(made[1].id), 10).await);
    assert_eq!(rest, made[2..], "and it goes on behind the last one");
    made.retain(|key| key.user == ada.id);
    let own = done(store.keys(project, Some(ada.id), None, 10).await);
    assert_eq!(own, made, "of one user when one is named");
    let rest = done(store.keys(project, Some(ada.id), Some(made[0].id), 1).await);
    assert_eq!(rest, made[1..2], "in pages, too");
    let foreign = store
        .keys(ada.personal_project, Some(bob.id), None, 10)
        .await;
    assert!(done(foreign).is_empty(), "bob has none in ada's project");
}

/// Somebody has so many keys in a project and no more, however many ask at once. What is revoked is history.
pub async fn there_is_room_for_as_many_keys_as_may_be<S>(store: S)
where
    S: UserStore + ProjectStore + CredentialStore,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = shared(&store, &ada, &bob).await.id;
    let wanted = |user, public_id: &str| NewApiKey {
        project,
        at_most: Some(2),
        ..key(user, public_id)
    };
    done(store.create_key(wanted(&bob, "of another")).await);
    done(store.create_key(key(&ada, "elsewhere")).await);
    let store = Arc::new(store);
    let made = race(&store, 8, |store, number| {
        let new = wanted(&ada, &format!("at once {number}"));
        async move { store.create_key(new).await }
    })
    .await;
    let kind = |made: Result<ApiKey, StoreError>| made.map_err(|error| error.kind());
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().map(kind).partition(Result::is_ok);
    assert_eq!(
        refused,
        [const { Err(StoreErrorKind::Full) }; 6],
        "two have room, beside those of others and elsewhere"
    );
    let made: Vec<ApiKey> = made.into_iter().filter_map(Result::ok).collect();
    done(store.revoke_key(own(&made[0]), at(5)).await);
    done(store.create_key(wanted(&ada, "in its place")).await);
    let more = kind(store.create_key(wanted(&ada, "one more")).await);
    assert_eq!(more, Err(StoreErrorKind::Full));
    let unbounded = NewApiKey {
        at_most: None,
        ..wanted(&ada, "unbounded")
    };
    done(store.create_key(unbounded).await);
}

/// Who looks after the own keys need not know in which projects they are.
pub async fn the_keys_of_a_user_are_listed_wherever_they_are<S>(store: S)
where
    S: UserStore + ProjectStore + CredentialStore,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let common = shared(&store, &ada, &bob).await.id;
    let mut made = Vec::new();
    for (public_id, project) in [
        ("one", ada.personal_project),
        ("two", common),
        ("three", common),
    ] {
        let new = NewApiKey {
            project,
            ..key(&ada, public_id)
        };
        made.push(done(store.create_key(new).await));
    }
    done(store.create_key(key(&bob, "bob's")).await);
    made.sort_by_key(|key| std::cmp::Reverse(key.id));
    assert_eq!(
        done(store.owned_keys(ada.id, None, 9).await),
        made,
        "newest first"
    );
    let first = done(store.owned_keys(ada.id, None, 2).await);
    let rest = done(store.owned_keys(ada.id, Some(first[1].id), 2).await);
    assert_eq!(
        (&first[..], &rest[..]),
        (&made[..2], &made[2..]),
        "in pages"
    );
    done(store.revoke_key(own(&made[1]), at(1)).await);
    made.remove(1);
    assert_eq!(
        done(store.owned_keys(ada.id, None, 9).await),
        made,
        "without what is revoked"
    );
}

/// Lists of what still works are as long as that, however much was revoked.
pub async fn a_revoked_key_is_not_among_the_valid_ones<S>(store: S)
where
    S: UserStore + ProjectStore + CredentialStore,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = shared(&store, &ada, &bob).await.id;
    let mut made = Vec::new();
    for (public_id, user) in [
        ("one", &ada),
        ("two", &bob),
        ("three", &ada),
        ("four", &ada),
    ] {
        let mut new = key(user, public_id);
        new.project = project;
        made.push(done(store.create_key(new).await));
    }
    done(store.create_key(key(&ada, "other")).await);
    made.sort_by_key(|key| std::cmp::Reverse(key.id));
    let all = done(store.unrevoked_keys(project, None, None, 10).await);
    assert_eq!(all, made, "newest first, and none of another project");
    let revoked = made.remove(1);
    done(store.revoke_key(own(&revoked), at(1)).await);
    let left = done(store.unrevoked_keys(project, None, None, 3).await);
    assert_eq!(left, made, "what is revoked takes nobody's place");
    let rest = done(
        store
            .unrevoked_keys(project, None, Some(made[0].id), 1)
            .await,
    );
    assert_eq!(rest, made[1..2], "in pages");
    made.retain(|key| key.user == ada.id);
    let own = done(store.unrevoked_keys(project, Some(ada.id), None, 10).await);
    assert_eq!(own, made, "of one user when one is named");
}

/// Who may not see a key cannot read, change, rotate or revoke it, and is told no more than that there is none.
pub async fn a_foreign_key_is_none<S: UserStore + CredentialStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let made = done(store.create_key(key(&ada, "public")).await);
    let name = own(&made);
    let owner = Some(bob.id);
    let project = bob.personal_project;
    let id = KeyId::new();
    for (name, reason) in [
        (KeyName { owner, ..name }, "a user who does not own it"),
        (KeyName { project, ..name }, "a project it is not in"),
        (
            KeyName {
                project,
                owner: None,
                ..name
            },
            "nor for those who manage that project",
        ),
        (KeyName { id, ..name }, "a key that does not exist"),
    ] {
        assert_eq!(done(store.key(name).await), None, "read by {reason}");
        let change = KeyChange {
            name: Some("mine".to_owned()),
            ..KeyChange::default()
        };
        let changed = done(store.change_key(name, change, at(1)).await);
        assert_eq!(changed, None, "changed by {reason}");
        let rotated = done(store.rotate_key(name, secret("new", 1, 50)).await);
        assert_eq!(rotated, None, "rotated by {reason}");
        let revoked = done(store.revoke_key(name, at(1)).await);
        assert_eq!(revoked, None, "revoked by {reason}");
    }
    assert_eq!(
        done(store.key(name).await),
        Some(made.clone()),
        "its owner sees it as it was"
    );
    let nobodys = done(store.key_of_member(id, ada.id).await);
    assert_eq!(nobodys, None, "an identifier that was never given");
    for (user, sees) in [(&ada, true), (&bob, false)] {
        let seen = done(store.key_of_member(made.id, user.id).await);
        assert_eq!(seen.is_some(), sees, "by members alone");
    }
    let managed = KeyName {
        owner: None,
        ..name
    };
    assert_eq!(
        done(store.key(managed).await),
        Some(made),
        "and so do those who manage all keys"
    );
    let new = done(store.key_by_public_id("new".to_owned()).await);
    assert_eq!(new, None, "no refused secret is left");
}

/// A key makes calls in the name of a member, or there is no key.
pub async fn a_key_belongs_to_a_member<S>(store: S)
where
    S: UserStore + ProjectStore + CredentialStore,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = project(&store, &ada).await.id;
    let wanted = |public_id| NewApiKey {
        project,
        ..key(&bob, public_id)
    };
    let foreign = store.create_key(wanted("one")).await;
    conflict(foreign, "bob is no member");
    let role = ProjectRole::Member;
    done(store.set_member(project, bob.id, role, at(1)).await);
    done(store.create_key(wanted("one")).await);
    done(store.remove_member(project, bob.id, at(2)).await);
    let former = store.create_key(wanted("two")).await;
    conflict(former, "bob is no member any more");
    done(store.set_member(project, bob.id, role, at(3)).await);
    done(store.archive_project(project, at(4)).await);
    let late = store.create_key(wanted("three")).await;
    conflict(late, "the project is archived");
    let nowhere = NewApiKey {
        project: ProjectId::new(),
        ..key(&bob, "four")
    };
    conflict(store.create_key(nowhere).await, "there is no such project");
    for public_id in ["two", "three", "four"] {
        let found = done(store.key_by_public_id(public_id.to_owned()).await);
        assert_eq!(found, None, "no refused key is left");
    }
}

/// What a key may do is read back to the last network, and decides nothing here.
pub async fn what_a_key_may_do_is_kept<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let network = |text: &str| text.parse().expect("a network");
    let wide = KeyGrants {
        scopes: vec![Scope::Inference, Scope::Models, Scope::Usage, Scope::Manage],
        models: None,
        networks: None,
        clamps: true,
    };
    let narrow = KeyGrants {
        scopes: vec![Scope::Usage],
        models: Some(vec!["a,b \"c\"".to_owned(), "größer".to_owned()]),
        networks: Some(vec![network("192.0.2.0/24"), network("2001:db8::/32")]),
        clamps: false,
    };
    let nothing = KeyGrants {
        scopes: vec![],
        models: Some(vec![]),
        networks: Some(vec![]),
        clamps: false,
    };
    let all = [KeyGrants::default(), wide, narrow, nothing];
    for (number, grants) in all.into_iter().enumerate() {
        let public_id = number.to_string();
        let mut new = key(&ada, &public_id);
        new.grants = grants.clone();
        let made = done(store.create_key(new).await);
        assert_eq!(made.grants, grants, "as it was asked for");
        let read = done(store.key(own(&made)).await);
        assert_eq!(read, Some(made.clone()), "in a list and alone");
        let by_id = done(store.key_of_member(made.id, ada.id).await);
        assert_eq!(by_id, Some(made.clone()), "in whichever project");
        let found = done(store.key_by_public_id(public_id).await);
        assert_eq!(
            found.map(|found| found.key),
            Some(made),
            "and where it counts"
        );
    }
}

/// A change, and what it does.
type Step = (KeyChange, fn(&mut ApiKey));

/// Name, grants and end of a key change, each by itself, and nothing else does.
pub async fn a_key_is_changed_in_parts<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let made = done(store.create_key(key(&ada, "public")).await);
    let name = own(&made);
    let mut expected = made;
    let steps: [Step; 4] = [
        (
            KeyChange {
                name: Some("desk".to_owned()),
                ..KeyChange::default()
            },
            |key| key.name = "desk".to_owned(),
        ),
        (
            KeyChange {
                grants: Some(KeyGrants {
                    models: Some(vec!["small".to_owned()]),
                    ..KeyGrants::default()
                }),
                ..KeyChange::default()
            },
            |key| key.grants.models = Some(vec!["small".to_owned()]),
        ),
        (
            KeyChange {
                expires_at: Some(Some(later(2_000))),
                ..KeyChange::default()
            },
            |key| key.expires_at = Some(later(2_000)),
        ),
        (
            KeyChange {
                expires_at: Some(None),
                ..KeyChange::default()
            },
            |key| key.expires_at = None,
        ),
    ];
    for (change, expect) in steps {
        expect(&mut expected);
        let changed = done(store.change_key(name, change, at(1)).await);
        assert_eq!(changed.as_ref(), Some(&expected), "this and no more");
        let found = done(store.key_by_public_id("public".to_owned()).await);
        let found = found.map(|found| (found.until, found.key));
        assert_eq!(
            found,
            Some((expected.expires_at, expected.clone())),
            "in force at once"
        );
    }
    done(store.revoke_key(name, at(2)).await);
    let change = KeyChange {
        name: Some("again".to_owned()),
        ..KeyChange::default()
    };
    let late = done(store.change_key(name, change, at(3)).await);
    assert_eq!(late, None, "a revoked key stays as it was");
}

/// Whoever decides by what a key was writes only while it is that, its name aside.
pub async fn a_key_is_changed_as_it_was_judged_or_not_at_all<S>(store: S)
where
    S: UserStore + CredentialStore,
{
    let ada = user(&store, "ada").await;
    let read = done(store.create_key(key(&ada, "public")).await);
    let (name, judged) = (own(&read), Some(Judged::from(&read)));
    let only = |model: &str| KeyGrants {
        models: Some(vec![model.to_owned()]),
        ..KeyGrants::default()
    };
    let narrowed = KeyChange {
        grants: Some(only("small")),
        judged: judged.clone(),
        ..KeyChange::default()
    };
    let named = KeyChange {
        name: Some("desk".to_owned()),
        judged: judged.clone(),
        ..KeyChange::default()
    };
    assert!(done(store.change_key(name, named.clone(), at(1)).await).is_some());
    assert!(done(store.change_key(name, narrowed.clone(), at(2)).await).is_some());
    let rotation = |judged: &Option<Judged>, public_id: &str| NewKeySecret {
        judged: judged.clone(),
        ..secret(public_id, 9, 500)
    };
    conflict(
        store.change_key(name, narrowed, at(3)).await,
        "it may do something else by now",
    );
    conflict(
        store.rotate_key(name, rotation(&judged, "second")).await,
        "so whoever gets the secret could, too",
    );
    let found = done(store.key(name).await).expect("it is there");
    assert_eq!(
        (found.public_id.as_str(), &found.grants),
        ("public", &only("small"))
    );
    let judged = Some(Judged::from(&found));
    let longer = KeyChange {
        expires_at: Some(None),
        judged: judged.clone(),
        ..KeyChange::default()
    };
    assert!(done(store.change_key(name, longer, at(4)).await).is_some());
    conflict(
        store.rotate_key(name, rotation(&judged, "third")).await,
        "it works longer by now",
    );
    let found = done(store.key(name).await).expect("it is there");
    let rotated = store.rotate_key(name, rotation(&Some(Judged::from(&found)), "fourth"));
    assert!(done(rotated.await).is_some(), "it is what was judged");
}

/// The moment a key was revoked is a fact.
pub async fn revoking_again_keeps_the_first_moment<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let name = own(&done(store.create_key(key(&ada, "public")).await));
    for moment in [5, 9] {
        let revoked = done(store.revoke_key(name, at(moment)).await);
        let at = revoked.and_then(|key| key.revoked_at);
        assert_eq!(at, Some(later(5)), "the first moment stands");
    }
    let found = done(store.key_by_public_id("public".to_owned()).await);
    let at = found.and_then(|found| found.key.revoked_at);
    assert_eq!(
        at,
        Some(later(5)),
        "a revoked key is still found, and says so"
    );
}

/// Notes may come late, out of order and often.
pub async fn a_use_is_noted_once_a_minute_and_never_goes_back<S: UserStore + CredentialStore>(
    store: S,
) {
    let ada = user(&store, "ada").await;
    let id = done(store.create_key(key(&ada, "public")).await).id;
    let later = |seconds: i64| later(seconds * 1_000_000);
    for (at, expected) in [
        (later(5), later(5)),
        (later(3), later(5)),
        (later(64), later(5)),
        (later(65), later(65)),
        (later(4), later(65)),
        (later(300), later(300)),
    ] {
        done(store.touch_key(id, at).await);
        let found = done(store.key_by_public_id("public".to_owned()).await);
        let noted = found.and_then(|found| found.key.last_used_at);
        assert_eq!(noted, Some(expected), "at {at:?}");
    }
    done(store.touch_key(KeyId::new(), later(1)).await);
}
