use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use llm_gate::clock::Timestamp;
use llm_gate::store::UsageSum;

use crate::error::Failure;

/// Sums as they are read.
#[derive(Queryable)]
pub(crate) struct SumRow {
    calls: i64,
    tokens: i64,
    prompt: i64,
    completion: i64,
    cached: i64,
    cost: i64,
    first: Option<i64>,
    last: Option<i64>,
}

type Sum = SqlLiteral<BigInt>;
type Moment = SqlLiteral<Nullable<BigInt>>;

/// The columns of a [`SumRow`].
pub(crate) type Sums = (Sum, Sum, Sum, Sum, Sum, Sum, Moment, Moment);

impl SumRow {
    /// Adds reservations up. A sum that the column cannot hold is an error on either database.
    pub(crate) fn columns() -> Sums {
        let sum = |of| sql(&format!("CAST(COALESCE(SUM({of}), 0) AS BIGINT)"));
        (
            sql("COUNT(*)"),
            sum("charged + overage"),
            sum("prompt"),
            sum("completion"),
            sum("cached"),
            sum("cost"),
            sql("MIN(created_at)"),
            sql("MAX(created_at)"),
        )
    }

    pub(crate) fn sum(&self) -> Result<UsageSum, Failure> {
        let figure = |figure: i64| {
            u64::try_from(figure).map_err(|_| Failure::corrupt("a sum is below zero"))
        };
        Ok(UsageSum {
            calls: figure(self.calls)?,
            tokens: figure(self.tokens)?,
            prompt: figure(self.prompt)?,
            completion: figure(self.completion)?,
            cached: figure(self.cached)?,
            cost: figure(self.cost)?,
            first: self.first.map(Timestamp::from_micros),
            last: self.last.map(Timestamp::from_micros),
        })
    }
}
