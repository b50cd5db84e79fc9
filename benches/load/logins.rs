//! Whether the time of a refused login tells if there is such a user: medians of many with a wrong password, for a user
//! that there is and for one that there is not.
//!
//! ```text
//! cargo run --release -p llm-gate-benches --bin logins
//! ```
//!
//! Wall time over loopback, by one client on a kept connection, on SQLite in memory, with the parameters that the gateway
//! ships for Argon2id. The two kinds take turns within the run.

use std::time::{Duration, Instant};

use llm_gate_gateway::Gateway;
use llm_gate_gateway::client::Client;
use llm_gate_gateway::config::{Config, RateLimitConfig};
use serde_json::json;

/// Logins of each kind.
const LOGINS: usize = 500;
const PASSWORD: &str = "correct horse battery";

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let mut config = Config {
        data_dir: folder.path().to_owned(),
        rate_limits: RateLimitConfig::off(),
        ..Config::default()
    };
    config.server.port = 0;
    config.metrics.port = 0;
    let running = Gateway::new(config).start().await?;
    let client = Client::new(running.address);
    let registered = json!({ "username": "ada", "password": PASSWORD });
    let registered = client.post("/api/v1/auth/register", &registered).await?;
    if !registered.status.is_success() {
        return Err(format!("not registered: {}", registered.status).into());
    }
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for number in 0..LOGINS {
        // Who comes first takes turns too.
        let mut pair = [("ada", &mut known), ("bea", &mut unknown)];
        if number % 2 == 1 {
            pair.reverse();
        }
        for (name, times) in pair {
            times.push(refused(&client, name).await?);
        }
    }
    running.shutdown().await;
    let (known, unknown) = (spread(known), spread(unknown));
    println!("refused logins, {LOGINS} of each kind      p10      p50      p90");
    for (name, [low, middle, high]) in [
        ("user that there is", known),
        ("user that there is not", unknown),
    ] {
        println!("  {name:<34} {low:>7.2?} {middle:>8.2?} {high:>8.2?}");
    }
    let ratio = known[1].as_secs_f64() / unknown[1].as_secs_f64();
    println!("  p50 of the first over that of the second: {ratio:.3}");
    Ok(())
}

/// Logs in with a wrong password, and says how long the refusal took.
async fn refused(client: &Client, name: &str) -> Result<Duration, Failure> {
    let body = json!({ "username": name, "password": "battery horse correct" });
    let begun = Instant::now();
    let answer = client.post("/api/v1/auth/login", &body).await?;
    let took = begun.elapsed();
    if answer.status != 401 {
        return Err(format!("a wrong password is answered {}", answer.status).into());
    }
    Ok(took)
}

/// Returns the 10th, 50th and 90th percentile.
fn spread(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    [10, 50, 90].map(|percent| times[times.len() * percent / 100])
}
