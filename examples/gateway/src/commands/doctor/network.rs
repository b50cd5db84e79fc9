//! The model server, the mail relay, and the gateway itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::StatusCode;
use llm_gate::proxy::{UpstreamModel, VllmProxyService, upstream_models};
use tokio::time::timeout;

use super::Findings;
use crate::client::Client;
use crate::commands::error::{CommandError, chain};
use crate::config::Config;
use crate::gateway;
use crate::mail::Relay;
use crate::oauth::http::{Answer, Http};

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn upstream(found: &mut Findings, config: &Config) -> Result<(), CommandError> {
    const CHECK: &str = "upstream";
    let url = &config.upstream.url;
    let proxy = match gateway::upstream(config) {
        Ok(upstream) => VllmProxyService::new(upstream),
        Err(error) => return found.fail(CHECK, chain(&error)),
    };
    match timeout(PATIENCE, upstream_models(&proxy)).await {
        Ok(Ok(list)) => models(found, config, &list),
        Ok(Err(error)) => found.fail(
            CHECK,
            format_args!(
                "{url} does not list its models: {}; is it up, and are VLLM_ENDPOINT and VLLM_API_KEY right?",
                chain(&error)
            ),
        ),
        Err(_) => found.fail(
            CHECK,
            format_args!("{url} did not list its models within {PATIENCE:?}; is it up, and is VLLM_ENDPOINT right?"),
        ),
    }
}

fn models(
    found: &mut Findings,
    config: &Config,
    list: &[UpstreamModel],
) -> Result<(), CommandError> {
    const CHECK: &str = "models";
    let url = &config.upstream.url;
    if list.is_empty() {
        return found.fail(CHECK, format_args!("{url} serves none"));
    }
    for listed in list {
        let refined = config.models.get(&listed.id);
        let context = refined.and_then(|model| model.context_length);
        match context.or(listed.max_model_len) {
            Some(context) => found.good(
                CHECK,
                format_args!("{:?} with a context of {context} tokens", listed.id),
            )?,
            None => found.fail(
                CHECK,
                format_args!(
                    "the context length of {0:?} is not known, and calls of it are answered 503; set context_length below [models.{0:?}]",
                    listed.id
                ),
            )?,
        }
    }
    let served = |name: &str| list.iter().any(|listed| listed.id == name);
    for name in config.models.keys().filter(|name| !served(name)) {
        found.warn(
            CHECK,
            format_args!("{name:?} has settings and is not served; is the name right?"),
        )?;
    }
    match config.upstream.model.as_deref() {
        Some(name) if !served(name) => found.fail(
            CHECK,
            format_args!(
                "{name:?} is the model of calls that name none (MODEL_NAME), and is not served"
            ),
        ),
        _ => Ok(()),
    }
}

pub(super) async fn mail(found: &mut Findings, config: &Config) -> Result<(), CommandError> {
    const CHECK: &str = "mail";
    let Some(url) = &config.mail.url else {
        if config.oauth.is_empty() {
            return found.warn(
                CHECK,
                "neither a relay nor another login provider is set: no address is confirmed, and users whom guessers keep out \
                 on a new device come back only by `llm-gate user reset-link`",
            );
        }
        return found.good(
            CHECK,
            "no relay is set: no address is confirmed, and passwords are reset by command",
        );
    };
    let relay = match Relay::new(url, &config.mail.from) {
        Ok(relay) => relay,
        Err(error) => return found.fail(CHECK, chain(&error)),
    };
    match timeout(PATIENCE, relay.greet()).await {
        Ok(Ok(())) => found.good(CHECK, "the relay lets us in"),
        Ok(Err(error)) => found.fail(
            CHECK,
            format_args!("{}; is mail.url (LLM_GATE_MAIL__URL) right?", chain(&error)),
        ),
        Err(_) => found.fail(
            CHECK,
            format_args!("the relay did not answer within {PATIENCE:?}; is mail.url (LLM_GATE_MAIL__URL) right?"),
        ),
    }
}

/// Asks the gateway how it is. Returns whether one runs.
pub(super) async fn gateway(found: &mut Findings, config: &Config) -> Result<bool, CommandError> {
    const CHECK: &str = "gateway";
    let listener = listener(config);
    let client = Client::new(listener);
    let asked = timeout(PATIENCE, client.get("/api/v1/health/ready")).await;
    match asked {
        Ok(Ok(health)) if health.json()["code"].is_u64() => {
            if health.status.is_success() {
                found.good(CHECK, format_args!("ready on {listener}"))?;
            } else {
                let words = health.text("message");
                found.fail(
                    CHECK,
                    format_args!("on {listener}, and not ready: {words:?}"),
                )?;
            }
            return Ok(true);
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            found.good(
                CHECK,
                format_args!("not running on {listener}; start it with: llm-gate serve"),
            )?;
        }
        _ => found.fail(
            CHECK,
            format_args!(
                "something else listens on {listener}; stop it, or set another port (PORT)"
            ),
        )?,
    }
    Ok(false)
}

/// Returns where the gateway is found from here.
fn listener(config: &Config) -> SocketAddr {
    let host = match config.server.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    (host, config.server.port).into()
}

/// Goes the way of the clients: to the base URL that `llm-gate client-config` prints, where nobody is let in without a key.
pub(super) async fn clients(
    found: &mut Findings,
    config: &Config,
    runs: bool,
) -> Result<(), CommandError> {
    const CHECK: &str = "clients";
    let web_url = config.web_url(listener(config));
    let base = format!("{}/v1", web_url.trim_end_matches('/'));
    if !runs {
        return found.good(
            CHECK,
            format_args!("not tried, because no gateway runs; their base URL is {base}"),
        );
    }
    let wrong = match format!("{base}/models").parse() {
        Ok(url) => match Http::new().get(&url, None).await {
            Ok(answer) if refuses(&answer) => None,
            Ok(answer) => Some(format!("it answers {} to who has no key", answer.status)),
            Err(error) => Some(chain(&error)),
        },
        Err(error) => Some(chain(&error)),
    };
    match wrong {
        None => found.good(
            CHECK,
            format_args!(
                "their base URL {base} leads to a gateway; `llm-gate client-config` prints the rest"
            ),
        ),
        Some(wrong) => found.fail(
            CHECK,
            format_args!(
                "their base URL {base} leads to no gateway: {wrong}; is WEB_URL right, and what stands in front?"
            ),
        ),
    }
}

/// Returns whether that is how a gateway refuses who has no key.
fn refuses(answer: &Answer) -> bool {
    let said: Option<serde_json::Value> = answer.read();
    let said = said.unwrap_or_default();
    answer.status == StatusCode::UNAUTHORIZED && said["error"]["code"] == "invalid_api_key"
}
