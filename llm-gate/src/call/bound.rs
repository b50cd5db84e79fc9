use crate::tokens::Tokens;

use super::parse::Request;
use super::read::Fault;
use super::{Model, Route};

/// What vLLM generates for `/v1/completions` when the request names no bound.
const COMPLETIONS_DEFAULT: u64 = 16;

/// The upper bound of what a call can use, worked out before anything is sent.
///
/// The prompt is bounded by the bytes of the body (for byte-level BPE a token covers at least one
/// byte) plus an allowance for the chat template, by the number of token ids, or where the bytes do not
/// show it, by the context length. Prompt and completion of one choice never exceed the context length
/// together, so with `a` the largest output of one choice the hold is
/// `min(prompt, prompts × (context - a)) + choices × a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    prompt: u64,
    choices: u64,
    output: Output,
    /// The output, all choices together.
    outputs: u64,
    hold: u64,
    least: u64,
    /// The smallest output of one choice that makes sense.
    least_output: u64,
    /// Whether an output bound that the client has named may be cut down.
    clamps: bool,
}

/// The output bound of one choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// As the client asked, or as the upstream does by itself: nothing to edit.
    Given,
    /// Larger than the model's cap: to be edited down to it.
    Capped(u64),
    /// Not named by the client: to be set to what is granted, at most this.
    Open(u64),
}

impl Bound {
    /// Bounds `request`, whose body has `bytes` bytes.
    pub(super) fn of(
        route: Route,
        request: &Request,
        model: &Model,
        context: u64,
        bytes: usize,
    ) -> Result<Self, Fault> {
        let prompts = request.prompts;
        let choices = prompts.saturating_mul(request.best_of);
        let full = context.saturating_mul(prompts);
        let shown = match request.token_ids {
            Some(ids) => ids,
            None => model.tokens_of(bytes as u64, prompts),
        };
        let prompt = if request.opaque {
            full
        } else {
            shown.min(full)
        };
        let cap = model.cap().unwrap_or(context).min(context);
        let fixed = |a: u64, output| {
            let hold = prompt
                .min(prompts.saturating_mul(context - a))
                .saturating_add(choices.saturating_mul(a));
            Self {
                prompt,
                choices,
                output,
                outputs: choices.saturating_mul(a),
                hold,
                least: hold,
                least_output: request.min_tokens.clamp(1, a.max(1)),
                clamps: false,
            }
        };
        let bound = match (route, request.asked) {
            (Route::Embeddings, _) => Self {
                prompt,
                choices: 0,
                output: Output::Given,
                outputs: 0,
                hold: prompt,
                least: prompt,
                least_output: 0,
                clamps: false,
            },
            (_, Some(asked)) if asked > cap && model.cap().is_some() => {
                fixed(cap, Output::Capped(cap))
            }
            // vLLM counts a token even when none is asked for.
            (_, Some(asked)) => fixed(asked.max(1).min(cap), Output::Given),
            (Route::Completions, None) if cap < COMPLETIONS_DEFAULT => {
                fixed(cap, Output::Capped(cap))
            }
            // A null is not the default: vLLM reads it as no bound at all.
            (Route::Completions, None) if request.places.max_tokens.is_some() => {
                fixed(COMPLETIONS_DEFAULT, Output::Capped(COMPLETIONS_DEFAULT))
            }
            (Route::Completions, None) => fixed(COMPLETIONS_DEFAULT, Output::Given),
            (Route::Chat, None) if prompt < context => {
                let each = (context - prompt).min(cap);
                Self {
                    prompt,
                    choices,
                    output: Output::Open(each),
                    outputs: choices.saturating_mul(each),
                    hold: prompt.saturating_add(choices.saturating_mul(each)),
                    least: prompt
                        .saturating_add(choices.saturating_mul(request.min_tokens.clamp(1, each))),
                    least_output: request.min_tokens.clamp(1, each),
                    clamps: false,
                }
            }
            // The byte bound says nothing; the upstream's own default, the rest of the context, is one.
            (Route::Chat, None) if model.cap().is_some() => fixed(cap, Output::Capped(cap)),
            (Route::Chat, None) => fixed(context, Output::Given),
        };
        if request.min_tokens > bound.output_limit(context) {
            return Err(Fault::of(
                "min_tokens",
                "min_tokens is larger than the output may be",
            ));
        }
        Ok(bound)
    }

    pub(super) const fn clamp(&mut self) {
        if !matches!(self.output, Output::Open(_)) && self.choices > 0 {
            let output = self.choices.saturating_mul(self.least_output);
            let least = self.prompt.saturating_add(output);
            if least < self.hold {
                self.least = least;
                self.clamps = true;
            }
        }
    }

    /// Returns whether `granted` is less than what the client has asked for, and will do all the same.
    #[must_use]
    pub const fn is_clamped(&self, granted: Tokens) -> bool {
        self.clamps && granted.get() < self.hold
    }

    const fn output_limit(&self, context: u64) -> u64 {
        match self.output {
            Output::Given => context,
            Output::Capped(each) | Output::Open(each) => each,
        }
    }

    /// Returns the bound of the prompt, all prompts together.
    #[must_use]
    pub const fn prompt(&self) -> Tokens {
        Tokens::new(self.prompt)
    }

    /// Returns the bound of the output, all choices together.
    #[must_use]
    pub const fn outputs(&self) -> Tokens {
        Tokens::new(self.outputs)
    }

    /// Returns what to hold.
    #[must_use]
    pub const fn hold(&self) -> Tokens {
        Tokens::new(self.hold)
    }

    /// Returns the smallest hold that will do: less than [`hold`](Self::hold) where the client left the
    /// output bound open, so that it can be set to what is left.
    #[must_use]
    pub const fn least(&self) -> Tokens {
        Tokens::new(self.least)
    }

    /// Returns the output bound to write into the request when `granted` is held, `None` to leave it.
    #[must_use]
    pub const fn output(&self, granted: Tokens) -> Option<u64> {
        if self.is_clamped(granted) {
            return granted
                .get()
                .saturating_sub(self.prompt)
                .checked_div(self.choices);
        }
        match self.output {
            Output::Given => None,
            Output::Capped(each) => Some(each),
            Output::Open(each) => {
                let left = granted.get().saturating_sub(self.prompt);
                match left.checked_div(self.choices) {
                    Some(fits) if fits < each => Some(fits),
                    _ => Some(each),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]"#;

    fn bound(rest: &str, model: &Model) -> Result<Bound, Fault> {
        let body = format!("{BODY}{rest}}}");
        let request = parse(Route::Chat, body.as_bytes(), 16)?;
        Bound::of(
            Route::Chat,
            &request,
            model,
            model.context().expect("set"),
            body.len(),
        )
    }

    fn model() -> Model {
        Model::new("m").context_length(4096)
    }

    #[test]
    fn every_choice_is_held() {
        let one = bound(r#","max_tokens":10"#, &model()).expect("valid");
        let four = bound(r#","max_tokens":10,"n":4"#, &model()).expect("valid");
        // The body of the second is six bytes longer.
        assert_eq!(four.hold().get(), one.hold().get() + 6 + 30);
        assert_eq!(
            one.least(),
            one.hold(),
            "a bound that was asked for is not shortened"
        );
        assert_eq!(one.output(one.hold()), None, "nor edited");
    }

    #[test]
    fn an_open_bound_is_filled_with_what_is_granted() {
        let open = bound("", &model()).expect("valid");
        assert_eq!(
            open.hold().get(),
            4096,
            "prompt and the rest of the context"
        );
        assert_eq!(open.least().get(), open.prompt().get() + 1);
        assert_eq!(open.output(open.hold()), Some(4096 - open.prompt().get()));
        assert_eq!(open.output(Tokens::new(open.prompt().get() + 7)), Some(7));
    }

    #[test]
    fn a_filled_bound_never_costs_more_than_was_granted() {
        let open = bound(r#","n":3"#, &model()).expect("valid");
        for granted in open.least().get()..open.hold().get() {
            let each = open.output(Tokens::new(granted)).expect("open");
            assert!(open.prompt().get() + 3 * each <= granted, "{granted}");
            assert!(each >= 1);
        }
    }

    #[test]
    fn nothing_exceeds_the_context() {
        assert_eq!(
            bound(r#","max_tokens":5000"#, &model())
                .expect("valid")
                .hold()
                .get(),
            4096
        );
        let image = r#","messages_":0,"chat_template":"x","max_tokens":96"#;
        assert_eq!(
            bound(image, &model()).expect("valid").hold().get(),
            4096,
            "an opaque prompt may fill it"
        );
        let small = model().context_length(16);
        assert_eq!(
            bound("", &small).expect("valid").hold().get(),
            16,
            "a prompt that may not fit"
        );
        assert_eq!(
            bound("", &small).expect("valid").output(Tokens::new(16)),
            None
        );
    }

    #[test]
    fn a_cap_is_written_into_the_request() {
        let capped = model().output_cap(8);
        let asked = bound(r#","max_tokens":100"#, &capped).expect("valid");
        assert_eq!(asked.output(asked.hold()), Some(8));
        let open = bound("", &capped).expect("valid");
        assert_eq!(open.output(open.hold()), Some(8));
        assert!(
            bound(r#","min_tokens":9"#, &capped).is_err(),
            "min_tokens above the cap"
        );
    }

    #[test]
    fn completions_hold_at_least_a_token_and_sixteen_by_default() {
        let hold = |rest: &str| {
            let body = format!(r#"{{"model":"m","prompt":[1,2]{rest}}}"#);
            let request = parse(Route::Completions, body.as_bytes(), 16).expect("valid");
            Bound::of(Route::Completions, &request, &model(), 4096, body.len())
                .expect("valid")
                .hold()
                .get()
        };
        assert_eq!(hold(r#","max_tokens":0,"echo":true"#), 3);
        assert_eq!(hold(""), 18);
        assert_eq!(hold(r#","best_of":2"#), 34);
    }

    #[test]
    fn a_null_bound_of_completions_is_written_down() {
        let body = br#"{"model":"m","prompt":[1,2],"max_tokens":null}"#;
        let request = parse(Route::Completions, body, 16).expect("valid");
        let bound = Bound::of(Route::Completions, &request, &model(), 4096, body.len());
        let bound = bound.expect("valid");
        assert_eq!(bound.hold().get(), 18);
        assert_eq!(
            bound.output(bound.hold()),
            Some(16),
            "the upstream would fill the context"
        );
    }

    #[test]
    fn a_list_of_prompts_is_bounded_prompt_by_prompt() {
        let body = br#"{"model":"m","input":["a","b"]}"#;
        let request = parse(Route::Embeddings, body, 16).expect("valid");
        let bound =
            Bound::of(Route::Embeddings, &request, &model(), 4096, body.len()).expect("valid");
        assert_eq!(bound.hold().get(), body.len() as u64 + 128);
        let tiny = Bound::of(Route::Embeddings, &request, &model(), 8, body.len()).expect("valid");
        assert_eq!(tiny.hold().get(), 16);
    }
}
