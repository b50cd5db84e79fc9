use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{RequestId, Subject};
use crate::store::{CallInfo, CounterKey, Served};
use crate::tokens::{Amount, Tokens, Usage};

use crate::words::words;

/// The most that a request can use: a bound for its prompt, one for what is generated, and one for both
/// together, which may be less than their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Prompt and completion together. What a subject without weights has held.
    pub total: Tokens,
    /// At most so much of it is prompt.
    pub prompt: Tokens,
    /// At most so much of it is generated.
    pub completion: Tokens,
}

impl Hold {
    /// Nothing.
    pub const ZERO: Self = Self {
        total: Tokens::ZERO,
        prompt: Tokens::ZERO,
        completion: Tokens::ZERO,
    };

    /// Returns the hold of which `total` was granted: what is generated has to fit beside the prompt.
    #[must_use]
    pub fn cut(self, total: Tokens) -> Self {
        if total >= self.total {
            return self;
        }
        Self {
            total,
            prompt: self.prompt.min(total),
            completion: self.completion.min(total.saturating_sub(self.prompt)),
        }
    }
}

impl From<Tokens> for Hold {
    /// Holds tokens of which nothing else is known: each may be of the prompt or generated.
    fn from(total: Tokens) -> Self {
        Self {
            total,
            prompt: total,
            completion: total,
        }
    }
}

/// A request to take a hold from every counter of its subjects, all or nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reserve {
    /// The request. Reserving twice under one id is the same as once.
    pub id: RequestId,
    /// When it was asked for.
    pub at: Timestamp,
    /// Whose counters it is taken from.
    pub subjects: Vec<Subject>,
    /// The hold that is wanted.
    pub hold: Hold,
    /// The smallest total that will do. Equal to that of `hold` unless the output bound can still be set.
    pub least: Tokens,
    /// What the call is, for the record.
    pub call: CallInfo,
    /// The process that will settle it, `None` where nobody watches over that.
    pub owner: Option<OwnerId>,
}

/// A request to set the hold of a pending reservation, up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extend {
    /// The request.
    pub id: RequestId,
    /// Which change of the hold it is, from 1 on; the reserve is 0. One that is not above the
    /// reservation's own is a repetition, or was overtaken, and changes nothing.
    pub version: u32,
    /// The hold that is wanted, not what is added to it. A larger one is granted only if every counter has
    /// the room, all or nothing; a smaller one always.
    pub hold: Hold,
}

/// A request to take back what was presumed of a request. It is final: a figure that comes to light later is
/// booked as overage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The request.
    pub id: RequestId,
    /// When it was decided.
    pub at: Timestamp,
}

/// The final word on a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The request.
    pub id: RequestId,
    /// When it ended.
    pub at: Timestamp,
    /// What is charged to each counter. The rest of the hold is given back. Not looked at where the source is
    /// [`Source::Nothing`] (nothing is charged) or [`Source::Presumed`] (the whole hold is).
    pub charge: Tokens,
    /// The figures behind the charge.
    pub usage: Usage,
    /// Where the figures come from.
    pub source: Source,
    /// How the request ended.
    pub ending: Ending,
    /// The HTTP status the client saw, 0 if it saw none.
    pub status: u16,
    /// How it was served; `None` where nobody knows any more. It decides nothing.
    pub served: Option<Served>,
}

impl Settle {
    /// Charges what the upstream reported, of an answer that was delivered to its end. Set what differs by the
    /// fields.
    #[must_use]
    pub const fn upstream(id: RequestId, at: Timestamp, usage: Usage) -> Self {
        Self {
            id,
            at,
            charge: usage.total(),
            usage,
            source: Source::Upstream,
            ending: Ending::Complete,
            status: 200,
            served: None,
        }
    }

    /// Charges the whole hold, because nobody knows what was used any more.
    #[must_use]
    pub fn presumed(id: RequestId, at: Timestamp, ending: Ending) -> Self {
        Self {
            source: Source::Presumed,
            ..Self::void(id, at, ending)
        }
    }

    /// Gives the whole hold back: nothing was served.
    #[must_use]
    pub const fn void(id: RequestId, at: Timestamp, ending: Ending) -> Self {
        Self {
            id,
            at,
            charge: Tokens::ZERO,
            usage: Usage {
                prompt: 0,
                completion: 0,
                cached: 0,
                reasoning: 0,
            },
            source: Source::Nothing,
            ending,
            status: 0,
            served: None,
        }
    }

    /// Returns whether the reservation ends as `void`: nothing was served and nothing is charged.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.source == Source::Nothing
    }
}

words! {
    /// Where the figures of a charge come from.
    Source {
        /// Nothing was served.
        Nothing = "nothing",
        /// The upstream's own usage.
        Upstream = "upstream",
        /// A bound of ours, because the upstream reported nothing.
        Estimated = "estimated",
        /// The whole hold, because nobody knows what was used any more.
        Presumed = "presumed",
    }
}

words! {
    /// How a request ended.
    Ending {
        /// The answer was delivered to its end.
        Complete = "complete",
        /// The client went away.
        ClientGone = "client_gone",
        /// The upstream stopped in the middle of its answer.
        UpstreamCut = "upstream_cut",
        /// The upstream refused the request, or its answer could not be used.
        Refused = "refused",
        /// No answer was had from the upstream.
        Lost = "lost",
        /// The caller went away before the request was sent.
        Abandoned = "abandoned",
        /// The process ended in the middle of it, and the journal told another one how far it had come.
        Recovered = "recovered",
        /// The gate ended it in the middle: there was no room for more, the books could not be reached, or its time
        /// was over.
        Cut = "cut",
        /// Its process was not heard of any more, and nothing tells how far it had come.
        Expired = "expired",
    }
}

/// A process as the owner of reservations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnerId(pub i64);

/// One change to the books.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Take a hold.
    Reserve(Reserve),
    /// Change a hold.
    Extend(Extend),
    /// Charge what was used and give the rest back. Of a reservation that was presumed, correct that.
    Settle(Settle),
    /// Take a presumed charge back.
    Refund(Refund),
}

impl Operation {
    /// Returns the request it is about.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        match self {
            Self::Reserve(reserve) => reserve.id,
            Self::Extend(extend) => extend.id,
            Self::Settle(settle) => settle.id,
            Self::Refund(refund) => refund.id,
        }
    }
}

/// What became of an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The hold is taken.
    Granted(Grant),
    /// The hold is changed.
    Extended(Grant),
    /// The hold does not fit, nothing is taken; of an extension, the hold stays as it was.
    Denied(Box<Denial>),
    /// The reservation is settled, by this operation or by an equal one before. An extension that comes
    /// too late changes nothing and is answered with this, as a repetition.
    Settled(Settlement),
    /// There is no reservation under that id, so there is nothing to settle or to extend.
    Unknown,
}

/// A hold that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How much is held: the total, in tokens.
    pub hold: Tokens,
    /// The tightest counter of tokens after the hold was taken.
    pub standing: Standing,
    /// The tightest counter of requests, where requests are limited.
    pub requests: Option<Standing>,
    /// When it was decided, by the clock that decides about windows; not known of an extension.
    pub at: Option<Timestamp>,
    /// Whether it had been taken before, and this call changed nothing. It may have been settled since.
    pub repeated: bool,
}

/// A hold that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The counter that refused it.
    pub counter: CounterKey,
    /// Why.
    pub reason: DenialReason,
    /// The least that would have had to fit, in the counter's unit.
    pub asked: Amount,
    /// That counter.
    pub standing: Standing,
    /// When it was decided, by the clock that decides about windows; not known of an extension.
    pub at: Option<Timestamp>,
    /// The largest total that would have been granted in place of what was asked for, on all counters.
    pub fits: Tokens,
}

/// Why a hold was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// It does not fit into what is left.
    Exhausted,
    /// The key was revoked, or the user disabled.
    Frozen,
    /// Money is limited, and the model has no price.
    Unpriced,
}

/// A reservation that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// How many tokens were charged within the limit, on the tightest counter.
    pub charged: Tokens,
    /// How many were used beyond hold and limit, on the tightest counter. Booked apart, never forgotten.
    pub overage: Tokens,
    /// What it cost, in micro-units of money, limited or not.
    pub cost: Amount,
    /// Whether it had been settled before, and this call changed nothing.
    pub repeated: bool,
}

/// How a counter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The limit in force, `None` for no limit.
    pub limit: Option<Amount>,
    /// What has been charged.
    pub used: Amount,
    /// What is held for requests under way.
    pub reserved: Amount,
    /// What was used beyond hold and limit.
    pub overage: Amount,
    /// Whether no hold is granted any more.
    pub frozen: bool,
    /// When it begins anew, `None` if never.
    pub resets: Option<Timestamp>,
}

impl Standing {
    /// Returns how much can still be held, `None` for no limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Amount> {
        self.limit.map(|limit| {
            limit
                .saturating_sub(self.used)
                .saturating_sub(self.reserved)
        })
    }
}
