//! Invites to several projects.

use super::*;

on_both! {
    who_manages_one_of_several_projects_takes_that_out_and_learns_of_no_other;
}

/// Invites somebody to several projects, as the packages of OpenAI do.
async fn invited_to(admin: &Person, email: &str, projects: &[&String]) -> Answer {
    let places = projects.iter();
    let places: Vec<Value> = places
        .map(|id| json!({ "id": id, "role": "member" }))
        .collect();
    let body = json!({ "email": email, "role": "reader", "projects": places });
    let made = admin.post("/v1/organization/invites", body).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    made
}

async fn who_manages_one_of_several_projects_takes_that_out_and_learns_of_no_other(gate: Gate) {
    let root = gate.admin().await;
    let owners = [
        gate.person("ada").await,
        gate.person("bob").await,
        gate.person("cat").await,
    ];
    let mut projects = Vec::new();
    for owner in &owners {
        projects.push(owner.make_project().await);
    }
    let [ada, bob, cat] = &owners;
    let made = invited_to(&root, EVE, &Vec::from_iter(&projects)).await;
    let id = made.text("id");
    let at = |number: usize| format!("/api/v1/projects/{}", projects[number]);
    let own = async |number: usize| {
        let listed = owners[number].get(&format!("{}/invites", at(number))).await;
        let text = String::from_utf8_lossy(&listed.body).into_owned();
        for (other, project) in projects.iter().enumerate() {
            assert_eq!(text.contains(project), other == number, "{number}: {text}");
        }
        listed.json()["invites"][0].clone()
    };
    for (number, project) in projects.iter().enumerate() {
        let seen = own(number).await;
        assert_eq!(seen["project_id"], *project, "as one to that project");
        assert_eq!(seen["project_role"], "member");
        assert_eq!(
            seen["projects"],
            json!([{ "project_id": project, "role": "member" }])
        );
    }
    let all = root.get(INVITES).await.json()["invites"][0].clone();
    assert_eq!(all["project_id"], Value::Null, "they are several");
    assert_eq!(all["projects"].as_array().map(Vec::len), Some(3));

    for again in [false, true] {
        let out = bob.delete(&format!("{}/invites/{id}", at(1))).await;
        assert_eq!(out.status, StatusCode::NO_CONTENT, "{again}: {out:?}");
    }
    assert_eq!(cat.delete(&at(2)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(own(1).await["revoked"], true, "for bob it is over");
    assert_eq!(own(0).await["revoked"], false, "for ada it is not");
    let path = format!("/api/v1/audit?project_id={}&target_id={id}", projects[1]);
    let told = bob.get(&path).await.json()["events"].clone();
    assert_eq!(told.as_array().map(Vec::len), Some(1), "once: {told}");
    assert_eq!(told[0]["action"], "invite.changed");
    let before = json!({ "projects": { &*projects[1]: "member" } });
    assert_eq!(told[0]["before"], before, "and of no other");
    let shown = root
        .get(&format!("/v1/organization/invites/{id}"))
        .await
        .json();
    assert_eq!(shown["status"], "pending", "it goes on into the rest");
    assert_eq!(
        shown["projects"],
        json!([{ "id": projects[0], "role": "member" }])
    );

    let account = gate.register("eve", None, &made.text("token")).await;
    assert_eq!(account.status, StatusCode::CREATED, "{account:?}");
    let eve = gate.enter("eve").await;
    assert_eq!(eve.role_in(&projects[0]).await.as_deref(), Some("member"));
    for out in [1, 2] {
        assert_eq!(eve.role_in(&projects[out]).await, None, "{out}");
    }
    assert_ne!(
        own(0).await["accepted_at"],
        Value::Null,
        "ada sees who came"
    );
    assert_eq!(own(1).await["accepted_at"], Value::Null, "bob sees nothing");
    let members = ada.get(&format!("{}/members", at(0))).await.json();
    assert_eq!(members["members"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn an_invite_to_several_projects_needs_whoever_may_give_all_of_it() {
    let gate = start().await;
    let (root, bob) = (gate.admin().await, gate.person("bob").await);
    let max = gate.person("max").await;
    let account = format!("/api/v1/users/{}", max.id);
    root.patch(&account, json!({ "role": "admin" })).await;
    let (one, two) = (max.make_project().await, max.make_project().await);
    let token = invited_to(&max, EVE, &[&one, &two]).await.text("token");
    root.patch(&account, json!({ "role": "user" })).await;
    let members = format!("/api/v1/projects/{two}/members");
    let owner = json!({ "user_id": bob.id, "role": "owner" });
    root.post(&members, owner).await;
    root.delete(&format!("{members}/{}", max.id)).await;
    let refused = gate.register("eve", None, &token).await;
    assert_eq!(
        refused.status,
        StatusCode::FORBIDDEN,
        "max has lost one of them: {refused:?}"
    );
    let back = json!({ "user_id": max.id, "role": "admin" });
    root.post(&members, back).await;
    let made = gate.register("eve", None, &token).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let eve = gate.enter("eve").await;
    for project in [&one, &two] {
        assert_eq!(eve.role_in(project).await.as_deref(), Some("member"));
    }
}

#[tokio::test]
async fn a_letter_names_every_project_it_leads_into() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let root = gate.admin().await;
    let mut projects = Vec::new();
    for name in ["Alpha", "Beta", "Gamma"] {
        let made = root.post("/api/v1/projects", json!({ "name": name })).await;
        projects.push(made.text("id"));
    }
    for (count, words) in [
        (0, "invited to http"),
        (1, "to the project \"Alpha\" at"),
        (2, "to the projects \"Alpha\" and \"Beta\" at"),
        (3, "to the projects \"Alpha\", \"Beta\" and \"Gamma\" at"),
    ] {
        let some: Vec<&String> = projects.iter().take(count).collect();
        invited_to(&root, EVE, &some).await;
        let letter = sink.next().await;
        assert!(letter.text.contains(words), "{words}: {}", letter.text);
    }
}
