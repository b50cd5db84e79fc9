//! What stands in letters, or is handed over: each secret is used once, as it is meant to be, and then once more.

use llm_gate_gateway::client::Client;
use serde_json::json;
use support::in_time;
use support::smtp::Sink;

use super::scene::Scene;
use super::{PASSWORD, RESET_PASSWORD};

const ADA: &str = "ada@example.com";
const GRACE: &str = "grace@example.com";

/// Waits for the next letter, and remembers what stands in its link.
async fn token(scene: &mut Scene, sink: &mut Sink, what: &str, to: &str) -> String {
    let letter = in_time("a letter", sink.next()).await;
    assert_eq!(letter.to, to, "{}", letter.text);
    let token = letter.token();
    scene.canaries.add(what, token);
    token.to_owned()
}

/// Confirms the address that ada was registered with.
pub(super) async fn confirm(scene: &mut Scene, sink: &mut Sink, ada: &Client) {
    let token = token(scene, sink, "token that confirms an address", ADA).await;
    let path = "/api/v1/auth/email/verify";
    for status in [204, 403] {
        let body = json!({ "token": token });
        scene.post(ada, path, body, status).await;
    }
}

/// Chooses a new password for ada, who has forgotten hers, and asks for another letter, which the relay does not take.
pub(super) async fn reset(scene: &mut Scene, sink: &mut Sink) {
    let nobody = scene.client.clone();
    let forgotten = || json!({ "email": ADA });
    let path = "/api/v1/auth/password/forgot";
    scene.post(&nobody, path, forgotten(), 202).await;
    let token = token(scene, sink, "token that resets a password", ADA).await;
    choose(scene, sink, &token).await;
    sink.refuse("550 no such mailbox");
    scene.post(&nobody, path, forgotten(), 202).await;
}

/// Sets ada's password with the secret of a link, which works once. That it was changed is a letter without one.
async fn choose(scene: &mut Scene, sink: &mut Sink, token: &str) {
    let nobody = scene.client.clone();
    for status in [204, 403] {
        let body = json!({ "token": token, "password": RESET_PASSWORD });
        let path = "/api/v1/auth/password/reset";
        scene.post(&nobody, path, body, status).await;
    }
    let changed = in_time("a letter", sink.next()).await;
    assert!(!changed.text.contains("?token="), "{}", changed.text);
}

/// Lets ada choose a password with what an admin hands over, and with what a command prints.
pub(super) async fn hand_over(scene: &mut Scene, sink: &mut Sink, root: &Client, ada: &str) {
    let path = format!("/api/v1/users/{ada}/reset-link");
    let made = scene.post(root, &path, json!({}), 201).await;
    scene.canaries.add("link of an admin", made.text("link"));
    choose(scene, sink, &made.text("token")).await;
    let (arguments, shown) = (["user", "reset-link", "ada"], "link, shown this once: ");
    let link = scene.run("link of a command", &arguments, shown).await;
    let (_, token) = link.split_once("?token=").expect("a secret");
    scene.canaries.add("token of a command", token);
    choose(scene, sink, token).await;
}

/// Invites grace to the platform, and to a project; she comes.
pub(super) async fn invite(scene: &mut Scene, sink: &mut Sink, root: &Client, ada: &Client) {
    let nobody = scene.client.clone();
    let invite = || json!({ "email": GRACE });
    scene.post(root, "/api/v1/invites", invite(), 201).await;
    let token_of_platform = token(scene, sink, "token of an invite", GRACE).await;
    for (name, status) in [("grace", 201), ("eve", 403)] {
        let body = json!({
            "username": name, "email": if name == "grace" { GRACE } else { "eve@example.com" },
            "password": PASSWORD, "invite": token_of_platform,
        });
        let path = "/api/v1/auth/register";
        scene.post(&nobody, path, body, status).await;
    }
    let grace = scene.enter("grace", PASSWORD).await;
    let project = json!({ "name": "Research" });
    let project = scene.post(ada, "/api/v1/projects", project, 201).await;
    let path = format!("/api/v1/projects/{}/invites", project.text("id"));
    scene.post(ada, &path, invite(), 201).await;
    let token = token(scene, sink, "token of an invite to a project", GRACE).await;
    for status in [200, 403] {
        let body = json!({ "token": token });
        scene
            .post(&grace, "/api/v1/invites/accept", body, status)
            .await;
    }
}
