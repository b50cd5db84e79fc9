use std::borrow::Cow;
use std::fmt;

use crate::clock::Timestamp;
use crate::identity::{ProjectId, RequestId, Subject, UserId};
use crate::store::StoreFuture;
use crate::tokens::{Tokens, Usage};

/// A request to take a hold from every counter of its subjects, all or nothing.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// The request. Reserving twice under one id is the same as once.
    pub id: RequestId,
    /// When it was asked for.
    pub at: Timestamp,
    /// Whose counters it is taken from.
    pub subjects: Vec<Subject>,
    /// The hold that is wanted.
    pub hold: Tokens,
    /// The smallest hold that will do. Equal to `hold` unless the output bound can still be set.
    pub least: Tokens,
    /// What the call is, for the record.
    pub call: CallInfo,
}

/// A request to set the hold of a pending reservation, up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extend {
    /// The request.
    pub id: RequestId,
    /// Which change of the hold it is, from 1 on; the reserve is 0. One that is not above the
    /// reservation's own is a repetition, or was overtaken, and changes nothing.
    pub version: u32,
    /// The hold that is wanted, not what is added to it. A larger one is granted only if every counter has
    /// the room, all or nothing; a smaller one always.
    pub hold: Tokens,
}

/// What a call is, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallInfo {
    /// Whose call it is.
    pub user: UserId,
    /// The project it is made for.
    pub project: ProjectId,
    /// The route as a word, such as `chat`.
    pub route: Cow<'static, str>,
    /// The model as asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
}

/// The final word on a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Settle {
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
        }
    }

    /// Returns whether the reservation ends as `void`: nothing was served and nothing is charged.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.source == Source::Nothing
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// Returns the word that stores and metrics use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// Reads the word back.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
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
    }
}

/// One change to the books.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Take a hold.
    Reserve(Reserve),
    /// Change a hold.
    Extend(Extend),
    /// Charge what was used and give the rest back.
    Settle(Settle),
}

impl Operation {
    /// Returns the request it is about.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        match self {
            Self::Reserve(reserve) => reserve.id,
            Self::Extend(extend) => extend.id,
            Self::Settle(settle) => settle.id,
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
    Denied(Denial),
    /// The reservation is settled, by this operation or by an equal one before. An extension that comes
    /// too late changes nothing and is answered with this, as a repetition.
    Settled(Settlement),
    /// There is no reservation under that id, so there is nothing to settle or to extend.
    Unknown,
}

/// A hold that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How much is held on every counter.
    pub hold: Tokens,
    /// The tightest counter after the hold was taken.
    pub standing: Standing,
    /// Whether it had been taken before, and this call changed nothing. It may have been settled since.
    pub repeated: bool,
}

/// A hold that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whose counter refused it.
    pub subject: Subject,
    /// Why.
    pub reason: DenialReason,
    /// That counter.
    pub standing: Standing,
}

/// Why a hold was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// It does not fit into what is left.
    Exhausted,
    /// The key was revoked, or the user disabled.
    Frozen,
}

/// A reservation that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// What was charged within the limit, on the tightest counter.
    pub charged: Tokens,
    /// What was used beyond hold and limit, on the tightest counter. Booked apart, never forgotten.
    pub overage: Tokens,
    /// Whether it had been settled before, and this call changed nothing.
    pub repeated: bool,
}

/// How a counter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The limit in force, `None` for no limit.
    pub limit: Option<Tokens>,
    /// What has been charged.
    pub used: Tokens,
    /// What is held for requests under way.
    pub reserved: Tokens,
    /// What was used beyond hold and limit.
    pub overage: Tokens,
    /// Whether no hold is granted any more.
    pub frozen: bool,
}

impl Standing {
    /// Returns how much can still be held, `None` for no limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Tokens> {
        self.limit.map(|limit| {
            limit
                .saturating_sub(self.used)
                .saturating_sub(self.reserved)
        })
    }
}

/// The books added up two ways, which must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The sum of the counters' `used`.
    pub counters_used: u64,
    /// The sum of the ledger's charges.
    pub ledger_charges: u64,
    /// The sum of the counters' `overage`.
    pub counters_overage: u64,
    /// The sum of the ledger's overages.
    pub ledger_overages: u64,
    /// The sum of the counters' `reserved`.
    pub counters_reserved: u64,
    /// The sum of the holds of pending reservations over their counters.
    pub pending_holds: u64,
    /// How many reservations are pending.
    pub pending: u64,
    /// How many reservations are settled, void ones not counted.
    pub settled: u64,
}

impl Totals {
    /// Returns whether ledger and counters agree.
    #[must_use]
    pub const fn balance(&self) -> bool {
        self.counters_used == self.ledger_charges
            && self.counters_overage == self.ledger_overages
            && self.counters_reserved == self.pending_holds
    }
}

/// Keeps the books: counters, reservations and the append-only ledger.
///
/// What an operation does is defined by [`rules`](crate::store::rules), which every backend applies to
/// the rows it has read in the same transaction.
pub trait LedgerStore: Send + Sync + 'static {
    /// Applies a batch in its order, in one transaction, durable before it answers.
    ///
    /// Returns one outcome an operation, in the same order. A refused or unknown operation does not
    /// keep the others from happening.
    ///
    /// # Errors
    ///
    /// Fails as a whole. With [`Unavailable`](crate::store::StoreErrorKind::Unavailable) it may have
    /// been committed all the same; repeating it gives the outcomes of the first time.
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>>;

    /// Applies one operation at once, where that takes no waiting; `None` where it would.
    ///
    /// A store in memory decides here, without a queue and without a task switch.
    fn apply_now(&self, operation: &Operation) -> Option<Outcome> {
        let _ = operation;
        None
    }

    /// Reads how a subject stands; zeros and no limit for one never heard of.
    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing>;

    /// Sets the total token limit of a subject, `None` for no limit. May lie below what is spent:
    /// then nothing more is granted.
    fn set_limit(&self, subject: Subject, limit: Option<Tokens>) -> StoreFuture<'_, Standing>;

    /// Sets the total token limit of a subject unless that would raise it, in one step; returns `None`, with
    /// nothing changed, where it would. No limit is above every limit.
    fn lower_limit(&self, subject: Subject, limit: Tokens) -> StoreFuture<'_, Option<Standing>>;

    /// Adds up the books.
    fn totals(&self) -> StoreFuture<'_, Totals>;
}
