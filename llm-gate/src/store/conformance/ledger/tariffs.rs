//! Weights and prices.

use crate::identity::Subject;
use crate::store::conformance::support::{
    START, at, balances, denied, done, granted, reserve, settle, settled, somebody, stands, tokens,
};
use crate::store::{
    DenialReason, Hold, LedgerStore, Limit, LimitChange, LimitKey, Period, Price, Rates, Reserve,
    Settle, Source, Tariff, Unit, WEIGHT_SCALE, Zone,
};
use crate::tokens::{Amount, Tokens, Usage};

/// Half a cent and two cents a thousand, in millionths a million.
const PRICE: Rates = Rates {
    prompt: 5_000_000,
    completion: 20_000_000,
    cached: 500_000,
};

async fn priced<S: LedgerStore>(store: &S, model: &str, weights: Rates, price: Option<Rates>) {
    let tariff = Tariff {
        id: None,
        weights,
        price,
    };
    let model = model.to_owned();
    done(store.set_price(Price { model, tariff }, at(0)).await);
}

async fn limit_money<S: LedgerStore>(store: &S, subject: Subject, amount: u64) {
    let limit = Limit {
        key: LimitKey {
            subject,
            model: None,
            unit: Unit::Money,
            period: Period::Total,
        },
        zone: Zone::UTC,
        amount: Amount::new(amount),
        voluntary: false,
    };
    done(store.change_limit(LimitChange::set(limit, at(0))).await);
}

fn call(subject: Subject, model: &str, prompt: u64, completion: u64) -> Reserve {
    let mut call = reserve(&[subject], prompt + completion);
    call.hold = Hold {
        total: tokens(prompt + completion),
        prompt: tokens(prompt),
        completion: tokens(completion),
    };
    call.call.model = model.to_owned();
    call
}

fn used(call: &Reserve, prompt: u64, completion: u64, cached: u64) -> Settle {
    let usage = Usage {
        prompt,
        completion,
        cached,
        reasoning: 0,
    };
    Settle {
        charge: usage.total(),
        usage,
        ..settle(call.id, 0)
    }
}

/// Spent and held, in money.
async fn money<S: LedgerStore>(store: &S, subject: Subject) -> (u64, u64, u64) {
    let all = done(store.standings(subject, START).await);
    let money = all.iter().find(|(limit, _)| limit.key.unit == Unit::Money);
    let standing = money.expect("money is limited").1;
    (
        standing.used.get(),
        standing.reserved.get(),
        standing.overage.get(),
    )
}

/// What is held is the most it can cost; what is charged is what it did, rounded up once.
pub async fn money_is_held_and_charged_by_the_price<S: LedgerStore>(store: S) {
    let subject = somebody();
    priced(&store, "priced", Rates::even(WEIGHT_SCALE), Some(PRICE)).await;
    limit_money(&store, subject, 10_000).await;
    let first = call(subject, "priced", 100, 300);
    granted(&store, &first).await;
    assert_eq!(
        money(&store, subject).await,
        (0, 500 + 6_000, 0),
        "100 × 5 + 300 × 20"
    );
    let denial = denied(&store, &call(subject, "priced", 101, 150)).await;
    assert_eq!(
        denial.counter.unit,
        Unit::Money,
        "money is short, tokens are not limited"
    );
    assert_eq!(
        (denial.asked, denial.standing.room()),
        (Amount::new(3_505), Amount::new(3_500))
    );
    let settlement = settled(&store, &used(&first, 90, 33, 41)).await;
    // 49 × 5 + 41 × 0.5 + 33 × 20 = 925.5
    assert_eq!(
        settlement.cost,
        Amount::new(926),
        "cached tokens have a price of their own"
    );
    assert_eq!(money(&store, subject).await, (926, 0, 0));
    stands(&store, subject, (123, 0, 0)).await;
    balances(&store).await;
}

/// Nobody knows what it would cost.
pub async fn a_model_without_a_price_is_refused_where_money_is_limited<S: LedgerStore>(store: S) {
    let (limited, free) = (somebody(), somebody());
    limit_money(&store, limited, 10_000).await;
    let denial = denied(&store, &call(limited, "unpriced", 1, 1)).await;
    assert_eq!(denial.reason, DenialReason::Unpriced);
    let served = call(free, "unpriced", 10, 10);
    granted(&store, &served).await;
    let settlement = settled(&store, &used(&served, 10, 10, 0)).await;
    assert_eq!(
        settlement.cost,
        Amount::ZERO,
        "without a price it costs nothing"
    );
}

/// A request is settled by the tariff it was admitted under.
pub async fn a_new_price_holds_for_what_comes_after_it<S: LedgerStore>(store: S) {
    let subject = somebody();
    limit_money(&store, subject, 1_000_000).await;
    priced(&store, "priced", Rates::even(WEIGHT_SCALE), Some(PRICE)).await;
    let before = call(subject, "priced", 10, 10);
    granted(&store, &before).await;
    let dear = Rates::even(100_000_000);
    priced(&store, "priced", Rates::even(WEIGHT_SCALE), Some(dear)).await;
    let after = call(subject, "priced", 10, 10);
    granted(&store, &after).await;
    assert_eq!(money(&store, subject).await.1, 250 + 2_000);
    settled(&store, &used(&before, 10, 10, 0)).await;
    assert_eq!(
        money(&store, subject).await,
        (250, 2_000, 0),
        "the old price"
    );
    settled(&store, &used(&after, 10, 10, 0)).await;
    assert_eq!(money(&store, subject).await, (2_250, 0, 0), "the new one");
    assert_eq!(done(store.prices().await).len(), 1, "one is in force");
    priced(&store, "priced", Rates::even(WEIGHT_SCALE), None).await;
    assert!(done(store.prices().await).is_empty(), "and then none");
    denied(&store, &call(subject, "priced", 1, 1)).await;
    balances(&store).await;
}

/// A limit of tokens counts weighted ones, where the model has weights.
pub async fn weights_count_tokens_for_more_or_less<S: LedgerStore>(store: S) {
    let subject = somebody();
    done(store.set_limit(subject, Some(tokens(1_000))).await);
    let weights = Rates {
        prompt: 500,
        completion: 4_000,
        cached: 0,
    };
    priced(&store, "heavy", weights, None).await;
    let first = call(subject, "heavy", 101, 100);
    let grant = granted(&store, &first).await;
    assert_eq!(
        grant.hold,
        tokens(201),
        "granted is counted in tokens of the model"
    );
    stands(&store, subject, (0, 451, 0)).await;
    let denial = denied(&store, &call(subject, "heavy", 100, 125)).await;
    assert_eq!(denial.asked, tokens(550), "50 and 500, of 549");
    assert_eq!(denial.fits, tokens(224), "a token less would have fitted");
    settled(&store, &used(&first, 101, 10, 50)).await;
    // 51 halves and 10 × 4, rounded up.
    stands(&store, subject, (66, 0, 0)).await;
    balances(&store).await;
}

/// What can still be set is set to what fits, in whichever unit it is short.
pub async fn an_open_hold_is_cut_to_what_fits_in_every_unit<S: LedgerStore>(store: S) {
    let subject = somebody();
    priced(&store, "priced", Rates::even(WEIGHT_SCALE), Some(PRICE)).await;
    limit_money(&store, subject, 1_000).await;
    let mut open = call(subject, "priced", 100, 900);
    open.least = tokens(101);
    let grant = granted(&store, &open).await;
    assert_eq!(
        grant.hold,
        tokens(125),
        "500 for the prompt, 25 × 20 for the rest"
    );
    assert_eq!(money(&store, subject).await, (0, 1_000, 0));
    let estimated = Settle {
        charge: tokens(110),
        source: Source::Estimated,
        ..settle(open.id, 0)
    };
    let settlement = settled(&store, &estimated).await;
    assert_eq!(
        settlement.cost,
        Amount::new(100 * 5 + 10 * 20),
        "the prompt's bound, and what is beyond it was generated"
    );
    assert_eq!(settlement.overage, Tokens::ZERO);
    balances(&store).await;
}
