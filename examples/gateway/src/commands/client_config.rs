use clap::{Args, ValueEnum};

use super::error::{CommandError, say};
use crate::config::Loaded;

/// Where the snippets take the key from, so that none is written into a file. Not `LLM_GATE_…`: those are
/// settings of the gateway, and unknown ones are refused.
const KEY_VARIABLE: &str = "GATE_API_KEY";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The client
    client: Client,
    /// The model to ask for
    #[arg(long)]
    model: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Client {
    /// opencode.json
    Opencode,
    /// The OpenAI package for Python
    OpenaiPython,
    /// The OpenAI package for Node.js
    OpenaiNode,
    /// A command line
    Curl,
}

pub(super) fn run(loaded: &Loaded, arguments: &Arguments) -> Result<(), CommandError> {
    let config = &loaded.config;
    let web_url = config.web_url((config.server.host, config.server.port).into());
    let base = format!("{}/v1", web_url.trim_end_matches('/'));
    let model = arguments.model.as_ref().or(config.upstream.model.as_ref());
    let model = model.map_or("your-model", String::as_str);
    say!("{}", snippet(arguments.client, &base, model))?;
    Ok(())
}

fn snippet(client: Client, base: &str, model: &str) -> String {
    match client {
        Client::Opencode => opencode(base, model),
        Client::OpenaiPython => format!(
            "import os\n\
             from openai import OpenAI\n\n\
             client = OpenAI(base_url={base:?}, api_key=os.environ[\"{KEY_VARIABLE}\"])\n\
             answer = client.chat.completions.create(\n    \
                 model={model:?},\n    \
                 messages=[{{\"role\": \"user\", \"content\": \"Hello!\"}}],\n\
             )\n\
             print(answer.choices[0].message.content, answer.usage)"
        ),
        Client::OpenaiNode => format!(
            "import OpenAI from \"openai\";\n\n\
             const client = new OpenAI({{ baseURL: {base:?}, apiKey: process.env.{KEY_VARIABLE} }});\n\
             const answer = await client.chat.completions.create({{\n  \
               model: {model:?},\n  \
               messages: [{{ role: \"user\", content: \"Hello!\" }}],\n\
             }});\n\
             console.log(answer.choices[0].message.content, answer.usage);"
        ),
        Client::Curl => format!(
            "curl -N {base}/chat/completions \\\n  \
               -H \"Authorization: Bearer ${KEY_VARIABLE}\" \\\n  \
               -H 'Content-Type: application/json' \\\n  \
               -d '{{\"model\": {model:?}, \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello!\"}}]}}'"
        ),
    }
}

fn opencode(base: &str, model: &str) -> String {
    let config = serde_json::json!({
        "$schema": "https://opencode.ai/config.json",
        "provider": {
            "llm-gate": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "llm-gate",
                "options": {
                    "baseURL": base,
                    "apiKey": format!("{{env:{KEY_VARIABLE}}}"),
                },
                "models": { model: { "name": model } },
            },
        },
        "model": format!("llm-gate/{model}"),
    });
    format!("{config:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_gets_address_model_and_the_name_of_the_key() {
        for client in Client::value_variants() {
            let snippet = snippet(*client, "http://gate.example/v1", "tiny");
            for part in ["http://gate.example/v1", "tiny", KEY_VARIABLE] {
                assert!(snippet.contains(part), "{client:?} lacks {part}: {snippet}");
            }
        }
    }
}
