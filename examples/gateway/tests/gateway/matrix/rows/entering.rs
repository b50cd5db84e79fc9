//! How people come in, and go: whoever sends the right thing, whatever else they are.

use super::*;
use crate::support::PASSWORD;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    let open = |operation| row(operation, Door::Everybody);
    let refresh = |is: &Value| json!({ "refresh_token": is["token"] });
    vec![
        row("GET /api/v1/auth/check", Door::Anybody),
        open("POST /api/v1/auth/register")
            .with("name", Thing::NewName)
            .body(|is| json!({ "username": is["name"], "password": PASSWORD })),
        open("POST /api/v1/auth/login")
            .body(|_| json!({ "username": "ada", "password": PASSWORD })),
        open("POST /api/v1/auth/token")
            .form("grant_type=password&username=ada&password=correct+horse+battery"),
        open("POST /api/v1/auth/refresh")
            .with("token", Thing::RefreshToken)
            .body(refresh),
        open("POST /api/v1/auth/logout")
            .with("token", Thing::RefreshToken)
            .body(refresh),
        open("POST /api/v1/auth/password/forgot")
            .with("email", Thing::Address)
            .body(|is| json!({ "email": is["email"] })),
        open("POST /api/v1/auth/password/reset")
            .with("token", Thing::ResetToken)
            .body(|is| json!({ "token": is["token"], "password": "battery horse correct" })),
        open("GET /api/v1/auth/{provider}/login")
            .with("provider", Thing::Word("google"))
            .answers(302),
        open("GET /api/v1/auth/{provider}/callback")
            .with("provider", Thing::Word("google"))
            .with("arrival", Thing::Arrival)
            .query(|is| text(&is["arrival"]["query"]).to_owned())
            .header("cookie", |is| text(&is["arrival"]["cookie"]).to_owned())
            .answers(200),
    ]
}
