//! What is told to everybody.

use super::*;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    let open = |operation| row(operation, Door::Everybody);
    vec![
        open("GET /"),
        open("GET /.well-known/jwks.json"),
        open("GET /api/v1/health/live"),
        open("GET /api/v1/health/ready"),
        open("GET /docs"),
        open("GET /docs/page.css"),
        open("GET /docs/page.js"),
        open("GET /openapi.json"),
    ]
}
