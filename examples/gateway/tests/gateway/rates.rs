//! How often one may ask, from where, and who is not to suffer for others.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate::auth::ApiKeySecret;
use llm_gate_gateway::Running;
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::{Config, RateLimitConfig, RateSetting};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::support::{Gate, send, start, start_with};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn rate(text: &str) -> RateSetting {
    text.parse().expect("a rate")
}

impl Gate {
    /// A client from another address.
    fn there(&self) -> Client {
        self.client.clone().from(THERE)
    }
}

async fn get(client: &Client, path: &str) -> Answer {
    client.get(path).await.expect("an answer")
}

async fn login(client: &Client, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password });
    let answer = client.post("/api/v1/auth/login", &body).await;
    answer.expect("an answer")
}

fn wait(answer: &Answer) -> Duration {
    let wait = answer.headers["retry-after"].to_str().expect("text");
    Duration::from_secs(wait.parse().expect("seconds"))
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits_on_every_route_and_others_do_not() {
    let gate = start_with(|config| config.rate_limits.per_address = rate("8/minute")).await;
    let there = gate.there();
    for (path, status) in [
        ("/", 200),
        ("/health/live", 200),
        ("/nowhere", 404),
        ("/users/me", 401),
        ("/v1/models", 401),
        ("/v1/chat/completions", 401),
        ("/v1/nowhere", 401),
        ("/auth/login", 405),
    ] {
        for answer in gate.everywhere(async || get(&there, path).await).await {
            assert_eq!(answer.status.as_u16(), status, "{path}");
            assert_eq!(answer.headers["x-ratelimit-limit-requests"], "8", "{path}");
            assert_eq!(answer.headers["x-ratelimit-limit"], "8", "older clients");
        }
    }
    for (path, openai) in [
        ("/", false),
        ("/nowhere", false),
        ("/users/me", false),
        ("/v1/models", true),
        ("/v1/x", true),
    ] {
        for refused in gate.everywhere(async || get(&there, path).await).await {
            assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
            assert_eq!(
                refused.headers["retry-after"], "8",
                "an eighth of a minute, rounded up"
            );
            assert_eq!(refused.headers["x-ratelimit-remaining-requests"], "0");
            assert_eq!(refused.headers["x-ratelimit-reset-requests"], "60s");
            assert_eq!(
                refused.headers["x-frame-options"], "DENY",
                "hardened like any other"
            );
            let body = refused.json();
            if openai {
                assert_eq!(body["error"]["code"], "rate_limit_exceeded", "{path}");
            } else {
                assert!(body["detail"].is_string(), "{path}: {body}");
            }
        }
    }
    let root = async |client: &Client| gate.everywhere(async || get(client, "/").await).await;
    for answer in root(&gate.client).await {
        assert_eq!(answer.status, StatusCode::OK, "another address");
    }
    gate.clock.advance(Duration::from_secs(8));
    for answer in root(&there).await {
        assert_eq!(answer.status, StatusCode::OK, "waited as long as told");
    }
    for answer in root(&there).await {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    }
    for running in gate.all() {
        let operators = Client::new(running.metrics_address);
        let metrics = get(&operators, "/metrics").await;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        for endpoint in ["/", "unmatched", "/users/me", "/v1/models", "/v1/{*other}"] {
            let name = format!("rate_limit_exceeded_total{{endpoint=\"{endpoint}\"}}");
            assert!(metrics.contains(&name), "{name} is missing in {metrics}");
        }
    }
}

#[tokio::test]
async fn each_key_and_each_login_has_a_rate_of_its_own_on_all_routes_together() {
    let gate = start_with(|config| config.rate_limits.per_identity = rate("3/minute")).await;
    let ada = gate.person("ada").await;
    // Has asked who it is once.
    let (one, two) = (ada.key().await, ada.key().await);
    for _ in 3..3 * gate.gateways() {
        assert_eq!(ada.get("/users/me").await.status, StatusCode::OK);
    }
    for refused in gate.everywhere(async || ada.get("/users/me").await).await {
        assert_eq!(
            refused.status,
            StatusCode::TOO_MANY_REQUESTS,
            "the login has used its three at each gateway"
        );
        assert!(refused.json()["detail"].is_string());
    }
    let (one, two) = (
        gate.client.bearer(one.text("api_key")),
        gate.client.bearer(two.text("api_key")),
    );
    let ask = async |key: &Client, path: &'static str| {
        gate.everywhere(async || get(key, path).await).await
    };
    for path in ["/v1/models", "/api/v1/models", "/v1/nowhere"] {
        for answer in ask(&one, path).await {
            assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        }
    }
    for refused in ask(&one, "/v1/models").await {
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
        assert_eq!(refused.headers["retry-after"], "20");
    }
    let there = one.clone().from(THERE);
    for refused in ask(&there, "/v1/models").await {
        assert_eq!(
            refused.status,
            StatusCode::TOO_MANY_REQUESTS,
            "wherever it comes from"
        );
    }
    for answer in ask(&two, "/v1/models").await {
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "another key of the same user"
        );
    }
    let again = gate.enter("ada").await;
    let me = gate.everywhere(async || again.get("/users/me").await);
    for me in me.await {
        assert_eq!(me.status, StatusCode::OK, "another login of the same user");
    }
    gate.clock.advance(Duration::from_secs(20));
    for answer in ask(&one, "/v1/models").await {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
}

#[tokio::test]
async fn the_tightest_limit_of_requests_is_shown_once() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    let body = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    let shown = |answer: &Answer| {
        let names = [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-limit",
        ];
        names.map(|name| {
            let all: Vec<_> = answer.headers.get_all(name).iter().collect();
            assert_eq!(all.len(), 1, "{name}: {all:?}");
            all[0].to_str().expect("text").to_owned()
        })
    };
    let first = key
        .post("/v1/chat/completions", &body)
        .await
        .expect("an answer");
    assert_eq!(
        shown(&first),
        ["1200", "1199", "1200"],
        "of the key, not of the address"
    );
    let limit = json!({ "subject": "user", "id": ada.id, "unit": "requests", "period": "day", "amount": 1 });
    assert_eq!(
        root.put("/api/v1/limits", limit).await.status,
        StatusCode::OK
    );
    let second = key
        .post("/v1/chat/completions", &body)
        .await
        .expect("an answer");
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    assert_eq!(shown(&second), ["1", "0", "1"], "the quota is tighter");
    gate.settled(&ada).await;
    let third = key
        .post("/v1/chat/completions", &body)
        .await
        .expect("an answer");
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        third.json()["error"]["code"],
        "insufficient_quota",
        "nothing to wait for"
    );
    assert_eq!(shown(&third), ["1", "0", "1"]);
    assert_eq!(
        wait(&third),
        Duration::from_secs(24 * 3600),
        "but the truth for who does"
    );
}

#[tokio::test]
async fn a_proxy_is_believed_only_where_it_is_trusted() {
    let gate = start_with(|config| {
        config.rate_limits.per_address = rate("2/minute");
        config.server.trusted_proxies = vec!["127.0.0.2".parse().expect("an address")];
    })
    .await;
    let ask = async |client: &Client, via: &'static str| {
        let headers = [("x-forwarded-for", via)];
        let ask = async || send(client, Method::GET, "/", &headers, "").await;
        let answers = gate.everywhere(ask).await.into_iter();
        let statuses = answers.map(|answer| answer.status.as_u16());
        statuses.collect::<Vec<_>>()
    };
    let everywhere = |status: u16| vec![status; gate.gateways()];
    let proxy = gate.there();
    for (via, statuses) in [
        ("192.0.2.1", [200, 200, 429]),
        ("192.0.2.2", [200, 200, 429]),
        ("9.9.9.9, 192.0.2.1", [429, 429, 429]),
        ("2001:db8::1, 127.0.0.2", [200, 200, 429]),
        ("2001:db8::2", [429, 429, 429]),
    ] {
        for status in statuses {
            assert_eq!(ask(&proxy, via).await, everywhere(status), "{via}");
        }
    }
    // Not a proxy: whatever it says it is itself.
    for (via, status) in [("192.0.2.3", 200), ("192.0.2.4", 200), ("192.0.2.5", 429)] {
        assert_eq!(ask(&gate.client, via).await, everywhere(status), "{via}");
    }
    // What cannot be read: the proxy itself.
    for (via, status) in [("unknown", 200), ("192.0.2.6, ?", 200), ("", 429)] {
        assert_eq!(ask(&proxy, via).await, everywhere(status), "{via}");
    }
}

async fn connect(running: &Running, from: IpAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((from, 0).into())
        .expect("an address of this machine");
    socket.connect(running.address).await.expect("connected")
}

/// Asks on an open connection; `None` if that was closed.
async fn served(stream: &mut TcpStream) -> Option<()> {
    let request = b"GET /health/live HTTP/1.1\r\nhost: gate\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.ok()?;
    assert_eq!(&first, b"HTTP/1.1 200");
    Some(())
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let gate = start_with(|config| config.server.max_connections_per_address = 2).await;
    for running in gate.all() {
        let (mut one, mut two) = (connect(running, THERE).await, connect(running, THERE).await);
        assert!(served(&mut one).await.is_some() && served(&mut two).await.is_some());
        let mut three = connect(running, THERE).await;
        assert!(
            served(&mut three).await.is_none(),
            "closed without an answer"
        );
        let mut elsewhere = connect(running, HERE).await;
        assert!(served(&mut elsewhere).await.is_some(), "another address");
        drop(one);
        // The gateway notices by itself; until then it closes each new one.
        let again = async {
            loop {
                let mut stream = connect(running, THERE).await;
                if served(&mut stream).await.is_some() {
                    return;
                }
            }
        };
        let again = tokio::time::timeout(Duration::from_secs(30), again).await;
        assert!(again.is_ok(), "a place is free again");
        drop(two);
    }
}

#[tokio::test]
async fn wrong_refresh_tokens_are_limited_and_right_ones_are_not() {
    let gate = start_with(|config| config.rate_limits.failures_per_address = rate("5/hour")).await;
    // Her tokens are given out to another address than she comes from then.
    let ada = gate.person("ada").await;
    let there = gate.there();
    let send = |client: Client, path: &'static str, token: String| async move {
        let body = json!({ "refresh_token": token });
        client.post(path, &body).await.expect("an answer")
    };
    let (refresh, logout) = ("/auth/refresh", "/auth/logout");
    let everywhere = async |path: &'static str, token: &str| {
        let ask = async || send(there.clone(), path, token.to_owned()).await;
        gate.everywhere(ask).await
    };
    let wrong = |n| format!("lgr_{n:043}");
    for n in 0..5 {
        for answer in everywhere(refresh, &wrong(n)).await {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        }
    }
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    for refused in everywhere(refresh, &wrong(5)).await {
        assert_eq!(refused.status, too_many);
        assert_eq!(wait(&refused), Duration::from_secs(720));
    }
    for refused in everywhere(logout, &wrong(6)).await {
        assert_eq!(refused.status, too_many, "nor is it looked up there");
    }
    let made_up = ApiKeySecret::generate();
    for (bearer, why) in [
        ("a.b.c", "all kinds are counted together"),
        (made_up.expose(), "nobody has given it out"),
    ] {
        let ask = async || get(&there.bearer(bearer), "/users/me").await;
        for refused in gate.everywhere(ask).await {
            assert_eq!(refused.status, too_many, "{why}");
        }
    }

    // A gateway knows by themselves what it or another one has given out, to whomever.
    let key = there.bearer(ada.key().await.text("api_key"));
    let ask = async || get(&key, "/api/v1/auth/check").await;
    for known in gate.everywhere(ask).await {
        assert_eq!(known.status, StatusCode::OK, "sealed: {known:?}");
    }
    let mut token = ada.refresh.clone();
    for _ in 0..2 {
        for _ in gate.all() {
            let pair = send(there.clone(), refresh, token).await;
            assert_eq!(pair.status, StatusCode::OK, "sealed: {pair:?}");
            let session = there.bearer(pair.text("access_token"));
            for me in gate
                .everywhere(async || get(&session, "/users/me").await)
                .await
            {
                assert_eq!(me.status, StatusCode::OK, "signed: {me:?}");
            }
            token = pair.text("refresh_token");
        }
        // Each of them refreshes what the other has given out.
        gate.turn().await;
    }
    let spent = send(gate.client.clone(), refresh, ada.refresh.clone()).await;
    assert_eq!(spent.status, StatusCode::UNAUTHORIZED, "long since");
    for ended in everywhere(refresh, &token).await {
        assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "it was given out");
    }
    for nobody in gate
        .everywhere(async || get(&there, "/users/me").await)
        .await
    {
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "no guess");
    }
}

#[tokio::test]
async fn switched_off_nothing_is_limited_and_nothing_shown() {
    let gate = start_with(|config: &mut Config| config.rate_limits = RateLimitConfig::off()).await;
    let ada = gate.person("ada").await;
    for _ in 0..15 {
        let wrong = login(&gate.client, "ada", "wrong horse battery").await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    let me = ada.get("/users/me").await;
    assert_eq!(me.status, StatusCode::OK);
    assert!(!me.headers.contains_key("x-ratelimit-limit-requests"));
}

#[tokio::test]
async fn whoever_is_told_that_something_is_away_is_told_when_to_come_back() {
    // Nobody listens there.
    let gate = start_with(|config| config.upstream.url = "http://127.0.0.1:1".to_owned()).await;
    for ready in gate
        .everywhere(async || gate.get("/health/ready").await)
        .await
    {
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ready.headers["retry-after"], "5");
    }
    gate.shutdown().await;
}
