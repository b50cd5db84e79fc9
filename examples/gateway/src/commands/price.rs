use clap::{Args, Subcommand};
use llm_gate::store::{Author, MAX_RATE, Price, Rates, Tariff, WEIGHT_SCALE};

use super::error::{CommandError, say};
use super::user;
use crate::accounts;
use crate::config::Loaded;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what the tokens of models cost and count
    List,
    /// Set what the tokens of a model cost and count, as a whole; for requests from now on
    Set(Rated),
    /// Remove what was set for a model
    Remove {
        /// The model, as clients name it
        model: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Rated {
    /// The model, as clients name it
    #[arg(value_parser = accounts::model_name)]
    model: String,
    /// What a million tokens of prompts cost, in millionths of money
    #[arg(long, value_name = "MICROS", value_parser = rate, requires = "completion")]
    prompt: Option<u64>,
    /// What a million generated tokens cost
    #[arg(long, value_name = "MICROS", value_parser = rate, requires = "prompt")]
    completion: Option<u64>,
    /// What a million cached tokens of prompts cost; as the others unless said
    #[arg(long, value_name = "MICROS", value_parser = rate, requires = "prompt")]
    cached: Option<u64>,
    /// What a token of a prompt counts against limits of tokens, in thousandths
    #[arg(long, value_name = "THOUSANDTHS", value_parser = rate, default_value_t = WEIGHT_SCALE)]
    weight_prompt: u64,
    /// What a generated token counts
    #[arg(long, value_name = "THOUSANDTHS", value_parser = rate, default_value_t = WEIGHT_SCALE)]
    weight_completion: u64,
    /// What a cached token of a prompt counts
    #[arg(long, value_name = "THOUSANDTHS", value_parser = rate, default_value_t = WEIGHT_SCALE)]
    weight_cached: u64,
}

fn rate(text: &str) -> Result<u64, String> {
    let rate = text.parse().ok().filter(|rate| *rate <= MAX_RATE);
    rate.ok_or_else(|| format!("must be a whole number up to {MAX_RATE}"))
}

impl Rated {
    fn price(self) -> Result<Price, CommandError> {
        let price = self.prompt.zip(self.completion);
        let price = price.map(|(prompt, completion)| Rates {
            prompt,
            completion,
            cached: self.cached.unwrap_or(prompt),
        });
        let weights = Rates {
            prompt: self.weight_prompt,
            completion: self.weight_completion,
            cached: self.weight_cached,
        };
        let tariff = Tariff {
            id: None,
            weights,
            price,
        };
        if tariff.is_default() {
            return Err(CommandError::wrong(
                "a price or a weight is needed; `price remove` removes both",
            ));
        }
        let model = self.model;
        Ok(Price { model, tariff })
    }
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let store = user::open(&loaded.config).await?;
    match command {
        Command::List => {
            say!("MODEL\tPROMPT\tCOMPLETION\tCACHED\tWEIGHTS")?;
            for price in store.prices().await? {
                say!("{}", shown(&price))?;
            }
            Ok(())
        }
        Command::Set(rated) => {
            let price = store.set_price(rated.price()?, Author::now()).await?;
            say!("{}", shown(&price))
        }
        Command::Remove { model } => {
            let prices = store.prices().await?;
            if !prices.iter().any(|price| price.model == model) {
                let words = format!("{model:?} has no price and no weights");
                return Err(CommandError::failed(words));
            }
            let tariff = Tariff::default();
            let name = model.clone();
            let removed = Price { model, tariff };
            store.set_price(removed, Author::now()).await?;
            say!("{name}: no price")
        }
    }
}

fn shown(Price { model, tariff }: &Price) -> String {
    let rates = tariff
        .price
        .map(|rates| [rates.prompt, rates.completion, rates.cached]);
    let rates = match rates {
        Some(rates) => rates.map(|rate| rate.to_string()),
        None => ["none", "none", "none"].map(str::to_owned),
    };
    let Rates {
        prompt,
        completion,
        cached,
    } = tariff.weights;
    let rates = rates.join("\t");
    format!("{model}\t{rates}\t{prompt}/{completion}/{cached}")
}
