//! The scripted vLLM as a program, for tests that are not written in Rust: says where it listens in one
//! line, and ends with its standard input, so that it never outlives who started it.

use std::io;

use scripted_vllm::{Config, ScriptedVllm};

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let vllm = ScriptedVllm::start(Config::default()).await?;
        println!("{}", vllm.url());
        let input = || io::copy(&mut io::stdin().lock(), &mut io::sink());
        tokio::task::spawn_blocking(input)
            .await
            .map_err(io::Error::other)??;
        vllm.stop().await;
        Ok(())
    })
}
