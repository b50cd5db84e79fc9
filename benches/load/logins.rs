//! Whether the time of a refused login tells if there is such a user: medians of many with a wrong password, for a user
//! that there is and for one that there is not, and once more for a user whose password was set with stronger parameters
//! than today's.
//!
//! ```text
//! cargo run --release -p llm-gate-benches --bin logins
//! ```
//!
//! Wall time over loopback, by one client on a kept connection, on SQLite, with the parameters that the gateway ships for
//! Argon2id. The kinds take turns within each of the two runs.

use std::path::Path;
use std::time::{Duration, Instant};

use llm_gate_gateway::client::Client;
use llm_gate_gateway::config::{Config, RateLimitConfig};
use llm_gate_gateway::{Gateway, Running};
use serde_json::json;

/// Logins of each kind.
const LOGINS: usize = 500;
const PASSWORD: &str = "correct horse battery";

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let config = config(folder.path());
    let (running, client) = start(&config).await?;
    register(&client, "ada").await?;
    compare(&client, ["ada", "nobody"]).await?;
    running.shutdown().await;

    println!(
        "\nafter the passes were lowered from 4 to {}:",
        config.passwords.iterations
    );
    let mut before = config.clone();
    before.passwords.iterations = 4;
    let (running, client) = start(&before).await?;
    register(&client, "bea").await?;
    running.shutdown().await;
    let (running, client) = start(&config).await?;
    compare(&client, ["ada", "bea", "nobody"]).await?;
    running.shutdown().await;
    Ok(())
}

fn config(folder: &Path) -> Config {
    let mut config = Config {
        data_dir: folder.to_owned(),
        rate_limits: RateLimitConfig::off(),
        ..Config::default()
    };
    config.server.port = 0;
    config.metrics.port = 0;
    config
}

async fn start(config: &Config) -> Result<(Running, Client), Failure> {
    let running = Gateway::new(config.clone()).start().await?;
    let client = Client::new(running.address);
    Ok((running, client))
}

async fn register(client: &Client, name: &str) -> Result<(), Failure> {
    let body = json!({ "username": name, "password": PASSWORD });
    let registered = client.post("/api/v1/auth/register", &body).await?;
    if registered.status.is_success() {
        Ok(())
    } else {
        Err(format!("not registered: {}", registered.status).into())
    }
}

/// Refuses logins of each of them, the last of whom does not exist, and prints how long that takes.
async fn compare<const N: usize>(client: &Client, names: [&str; N]) -> Result<(), Failure> {
    let mut times = names.map(|_| Vec::new());
    for number in 0..LOGINS {
        // Who comes first takes turns too.
        for turn in 0..N {
            let who = (number + turn) % N;
            times[who].push(refused(client, names[who]).await?);
        }
    }
    let spreads = times.map(spread);
    let nobody = spreads[N - 1][1].as_secs_f64();
    println!("refused logins, {LOGINS} of each      p10      p50      p90   p50 / nobody's");
    for (name, [low, middle, high]) in names.iter().zip(spreads) {
        let ratio = middle.as_secs_f64() / nobody;
        println!("  {name:<24} {low:>10.2?} {middle:>8.2?} {high:>8.2?} {ratio:>10.3}");
    }
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
