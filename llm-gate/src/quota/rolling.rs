//! The hold of a stream that tells what it has used: taken step by step while it runs.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::call::{Bound, Call};
use crate::ledger::{Charge, ExtendError, Extending, Reservation};
use crate::store::{DenialReason, Hold, Source};
use crate::tokens::Tokens;

/// How much more than what is used is held.
const STEP: Tokens = Tokens::new(256);
/// How much of it is left when the next one is asked for.
const LOW: Tokens = Tokens::new(STEP.get() / 2);

/// Returns what to hold at first, and the least that will do: the prompt and a token.
pub(super) fn first(bound: &Bound) -> (Tokens, Tokens) {
    let with = |output: Tokens| bound.prompt().saturating_add(output).min(bound.hold());
    (with(STEP.min(bound.outputs())), with(Tokens::new(1)))
}

/// Returns all that a call can use.
pub(super) const fn whole(bound: &Bound) -> Hold {
    Hold {
        total: bound.hold(),
        prompt: bound.prompt(),
        completion: bound.outputs(),
    }
}

/// Why an event is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room for it, or its subject is frozen.
    Room,
    /// The books do not answer, or know the reservation as ended.
    Away,
}

/// What may be delivered so far, and the extension that is on its way.
#[derive(Debug)]
pub(super) struct Rolling {
    /// The bound of the whole call, which is never exceeded.
    whole: Hold,
    /// Whether the first usage tells the whole prompt.
    single: bool,
    /// What is certainly held, of prompt, of completion and in all: tokens of one kind may count for more than those
    /// of the other.
    hold: Hold,
    /// A charge up to this needs no decision.
    quiet: Tokens,
    asking: Option<Asking>,
    /// Whether the true prompt was seen.
    seen: bool,
    /// Whether to ask before it is needed: not after a refusal.
    ahead: bool,
}

#[derive(Debug)]
struct Asking {
    hold: Hold,
    answer: Extending,
    /// Whether an event has waited for it.
    needed: bool,
}

impl Rolling {
    /// Starts from what was granted. `output` is the bound that the request names for each choice, where it
    /// was made smaller than its own.
    pub(super) fn new(call: &Call, granted: Tokens, output: Option<u64>) -> Self {
        let bound = call.bound();
        let outputs = output.map_or(Tokens::MAX, |each| {
            Tokens::new(each).saturating_mul(call.choices())
        });
        let outputs = bound.outputs().min(outputs);
        Self {
            whole: Hold {
                total: bound.prompt().saturating_add(outputs).min(bound.hold()),
                prompt: bound.prompt(),
                completion: outputs,
            },
            single: call.choices() <= call.choices_per_prompt(),
            hold: whole(bound).cut(granted),
            quiet: Tokens::ZERO,
            asking: None,
            seen: false,
            ahead: true,
        }
    }

    /// Returns the most that is ever held.
    pub(super) const fn whole(&self) -> Tokens {
        self.whole.total
    }

    /// Returns the charge up to which events may be delivered, with nothing else to do.
    pub(super) const fn quiet(&self) -> Tokens {
        self.quiet
    }

    /// Holds what the event at hand needs, which brings the charge from `delivered` to `charge`. Ready when it
    /// may be delivered, or never may be.
    pub(super) fn poll_hold(
        &mut self,
        charge: &Charge,
        delivered: Tokens,
        reservation: &mut Reservation,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            let covered = self.covers(charge);
            let Some(asking) = &mut self.asking else {
                let target = self.target(charge);
                if !covered {
                    self.ask(target, true, reservation);
                } else if self.asks_ahead(charge, &target) {
                    self.ask(target, false, reservation);
                } else {
                    self.rest(charge);
                    return Poll::Ready(Ok(()));
                }
                continue;
            };
            let Poll::Ready(answer) = Pin::new(&mut asking.answer).poll(cx) else {
                asking.needed |= !covered;
                return if covered {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            };
            // What nobody waited for may be an old refusal: then it is asked again.
            let (fresh, asked) = (asking.needed, asking.hold);
            self.asking = None;
            match answer {
                Ok(_) => {
                    self.hold = asked;
                    self.ahead = true;
                }
                Err(ExtendError::Denied(denial)) => {
                    self.ahead = false;
                    if denial.reason != DenialReason::Exhausted {
                        // Nothing more, though some is held.
                        self.hold.total = self.hold.total.min(delivered);
                        if charge.tokens > delivered {
                            return Poll::Ready(Err(Refusal::Room));
                        }
                        continue;
                    }
                    if !covered && fresh {
                        // Not a whole step: then whatever is left, which is less each time.
                        let rest = rest(charge, &asked, denial.fits);
                        if !covers(&rest, charge) {
                            return Poll::Ready(Err(Refusal::Room));
                        }
                        self.ask(rest, true, reservation);
                    }
                }
                Err(error) => {
                    self.ahead = false;
                    if !covered && fresh {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "a stream ends: its hold cannot be extended"
                        );
                        return Poll::Ready(Err(Refusal::Away));
                    }
                }
            }
        }
    }

    /// What exceeds the whole bound is no matter of the hold: it is debited, or booked as overage.
    fn covers(&self, charge: &Charge) -> bool {
        covers(&self.hold, charge) || self.is_whole()
    }

    fn is_whole(&self) -> bool {
        self.hold.total >= self.whole.total && self.hold.completion >= self.whole.completion
    }

    /// Returns what to hold while `charge` is delivered: what is used and a step.
    fn target(&self, charge: &Charge) -> Hold {
        if charge.source != Source::Upstream {
            // Nothing runs that could tell when more is needed.
            return self.whole;
        }
        let prompt = self.prompt(charge);
        if charge.tokens > prompt.saturating_add(self.whole.completion) {
            // An upstream that ignores its bound: nothing is known of what else it brings.
            return self.whole;
        }
        let output = Tokens::new(charge.usage.completion).saturating_add(STEP);
        let completion = output.min(self.whole.completion);
        Hold {
            total: prompt.saturating_add(completion).min(self.whole.total),
            prompt,
            completion,
        }
    }

    /// Returns the prompt, as far as it is known.
    fn prompt(&self, charge: &Charge) -> Tokens {
        let prompt = Tokens::new(charge.usage.prompt);
        if self.single {
            prompt
        } else {
            prompt.max(self.whole.prompt)
        }
    }

    fn asks_ahead(&mut self, charge: &Charge, target: &Hold) -> bool {
        if charge.source == Source::Nothing {
            return false;
        }
        let first = charge.source == Source::Upstream && !std::mem::replace(&mut self.seen, true);
        if first {
            return *target != self.hold;
        }
        let more = target.total > self.hold.total || target.completion > self.hold.completion;
        let completion = Tokens::new(charge.usage.completion);
        let left = self.hold.total.saturating_sub(charge.tokens);
        let left = left.min(self.hold.completion.saturating_sub(completion));
        self.ahead && more && left < LOW
    }

    fn ask(&mut self, hold: Hold, needed: bool, reservation: &mut Reservation) {
        self.quiet = Tokens::ZERO;
        // Of either kind the smaller hold is in force at any moment from now on.
        self.hold = Hold {
            total: self.hold.total.min(hold.total),
            prompt: self.hold.prompt.min(hold.prompt),
            completion: self.hold.completion.min(hold.completion),
        };
        self.asking = Some(Asking {
            hold,
            answer: reservation.extend(hold),
            needed,
        });
    }

    /// Works out up to where nothing is to be done.
    fn rest(&mut self, charge: &Charge) {
        // The prompt only grows, so that of more tokens at most so many are generated.
        let prompt = Tokens::new(charge.usage.prompt);
        let most = prompt.saturating_add(self.hold.completion);
        let most = most.min(self.hold.total);
        // While the upstream keeps to its bound, no more is needed than the prompt and all of the output.
        let all = self.prompt(charge).saturating_add(self.whole.completion);
        let enough = self.hold.completion >= self.whole.completion && self.hold.total >= all;
        self.quiet = if !self.seen {
            Tokens::ZERO
        } else if self.is_whole() {
            Tokens::MAX
        } else if self.ahead && !enough {
            most.saturating_sub(LOW)
        } else {
            most
        };
    }
}

/// Tells whether all that is charged is held, of either kind.
fn covers(hold: &Hold, charge: &Charge) -> bool {
    let known = charge.source == Source::Upstream;
    let prompt = Tokens::new(charge.usage.prompt);
    let completion = Tokens::new(charge.usage.completion);
    charge.tokens <= hold.total
        && (!known || (prompt <= hold.prompt && completion <= hold.completion))
}

/// Returns the hold of which `fits` was said to fit: the prompt that was seen, and the rest for what is generated.
fn rest(charge: &Charge, asked: &Hold, fits: Tokens) -> Hold {
    if charge.source != Source::Upstream {
        return asked.cut(fits);
    }
    let prompt = Tokens::new(charge.usage.prompt).min(fits);
    Hold {
        total: fits,
        prompt,
        completion: fits.saturating_sub(prompt),
    }
}
