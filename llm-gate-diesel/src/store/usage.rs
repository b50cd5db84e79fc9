use llm_gate::clock::Timestamp;
use llm_gate::identity::ConversationId;
use llm_gate::store::{
    BucketKey, BucketQuery, BucketRow, CallCursor, CallFilter, CallPage, CallQuery, CallRecord,
    Conversation, ConversationPage, ConversationQuery, OutOfRange, StoreFuture, Stretch,
    UsageGroup, UsageKey, UsagePeriod, UsageQuery, UsageRow, UsageScope, UsageStatistics,
    UsageStore, UsageSum, UsageTable,
};

use super::queries::usage;
use super::{Connection, Store, report};
use crate::error::Failure;
use crate::models::{Id, SumRow};

/// How many sums of a day and a key are read at once.
const MAX_ROWS: i64 = 100_000;

type Part = (i64, Option<UsageKey>, SumRow);

fn page(connection: &mut Connection, query: &CallQuery) -> Result<CallPage, Failure> {
    let mut rows = usage::calls(connection, query)?;
    let more = rows.len() > query.count as usize;
    rows.truncate(query.count as usize);
    let calls: Vec<CallRecord> = rows
        .into_iter()
        .map(CallRecord::try_from)
        .collect::<Result<_, Failure>>()?;
    let next = calls.last().filter(|_| more).map(CallCursor::behind);
    Ok(CallPage { calls, next })
}

fn conversations(
    connection: &mut Connection,
    query: &ConversationQuery,
) -> Result<ConversationPage, Failure> {
    let found = usage::conversations(connection, query)?;
    let conversation = |(user, session, sum): (Id, String, SumRow)| {
        let session: Result<ConversationId, _> = session.parse();
        Ok(Conversation {
            session: session.map_err(|_| Failure::corrupt("the name of a conversation"))?,
            user: user.into(),
            sum: sum.sum()?,
        })
    };
    let found: Result<_, Failure> = found.into_iter().map(conversation).collect();
    Ok(ConversationPage::of(found?, query.count))
}

fn out_of_range(_: OutOfRange) -> Failure {
    Failure::corrupt("a sum is out of range")
}

/// Reads the sums of the days of a stretch, or of all of it.
fn parts(
    connection: &mut Connection,
    query: &UsageQuery,
    filter: &CallFilter,
    stretch: Option<&Stretch>,
    count: i64,
) -> Result<Vec<Part>, Failure> {
    let scope = &query.scope;
    let group = match query.group {
        Some(group @ (UsageGroup::Key | UsageGroup::User | UsageGroup::Project)) => group,
        other => {
            let models = other == Some(UsageGroup::Model);
            let rows = usage::by_model(connection, scope, filter, stretch, models, count)?;
            let key = |model| models.then_some(UsageKey::Model(model));
            let part = |(day, model, sum)| (day, key(model), sum);
            return Ok(rows.into_iter().map(part).collect());
        }
    };
    let rows = usage::by_id(connection, scope, filter, stretch, group, count)?;
    let part = |(day, id, sum): (i64, Option<Id>, SumRow)| {
        let missing = || Failure::corrupt("a call of nobody");
        let key = match group {
            UsageGroup::User => UsageKey::User(id.ok_or_else(missing)?.into()),
            UsageGroup::Project => UsageKey::Project(id.ok_or_else(missing)?.into()),
            _ => UsageKey::Key(id.map(Into::into)),
        };
        Ok((day, Some(key), sum))
    };
    rows.into_iter().map(part).collect()
}

/// Adds up stretch by stretch; `None` where there is too much of it.
fn table(connection: &mut Connection, query: &UsageQuery) -> Result<Option<UsageTable>, Failure> {
    let CallFilter { from, to, .. } = query.filter;
    let stretches = match query.period {
        UsagePeriod::All => vec![None],
        _ => query
            .zone
            .stretches(from, to)
            .into_iter()
            .map(Some)
            .collect(),
    };
    let mut table = UsageTable::default();
    let mut left = MAX_ROWS;
    for stretch in stretches {
        let mut filter = query.filter.clone();
        if let Some(stretch) = stretch {
            (filter.from, filter.to) = (stretch.from, stretch.to);
        }
        let rows = parts(connection, query, &filter, stretch.as_ref(), left + 1)?;
        left -= i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if left < 0 {
            return Ok(None);
        }
        for (day, key, row) in rows {
            let at = stretch.map(|stretch| stretch.moment(day));
            let start = at.and_then(|at| query.period.start(&query.zone, at));
            // Where nothing is told apart there is a sum of nothing too.
            let sum = row.sum()?;
            if sum.calls > 0 {
                table.add(start, key, sum).map_err(out_of_range)?;
            }
        }
    }
    Ok(Some(table))
}

fn buckets(
    connection: &mut Connection,
    query: &BucketQuery,
) -> Result<Option<Vec<BucketRow>>, Failure> {
    let found = usage::in_buckets(connection, query)?;
    if found.len() > query.count as usize {
        return Ok(None);
    }
    let width = query.width.micros();
    let row = |(number, model, key, user, project, sum): usage::Bucket| {
        Ok(BucketRow {
            start: Timestamp::from_micros(number.saturating_mul(width)),
            key: BucketKey {
                model,
                key: key.map(Into::into),
                user: user.map(Into::into),
                project: project.map(Into::into),
            },
            sum: sum.sum()?,
        })
    };
    let rows: Result<Vec<BucketRow>, Failure> = found.into_iter().map(row).collect();
    let mut rows = rows?;
    // Databases have orders of their own.
    rows.sort_unstable_by(|one, other| (one.start, &one.key).cmp(&(other.start, &other.key)));
    Ok(Some(rows))
}

fn statistics(connection: &mut Connection) -> Result<UsageStatistics, Failure> {
    let sum = usage::sum(connection, &UsageScope::All, &CallFilter::default())?.sum()?;
    let sessions = usage::sessions(connection)?;
    let most = i64::from(UsageStatistics::MAX_NAMES);
    let mut models = usage::models(connection, most)?;
    let mut upstreams = usage::upstreams(connection, most)?;
    // Databases have orders of their own.
    models.sort_unstable();
    upstreams.sort_unstable();
    Ok(UsageStatistics {
        sum,
        sessions: u64::try_from(sessions).unwrap_or_default(),
        models,
        upstreams,
    })
}

impl UsageStore for Store {
    fn calls(&self, query: CallQuery) -> StoreFuture<'_, CallPage> {
        report(self, |permit| {
            self.read(move |connection| {
                let _held = &permit;
                page(connection, &query)
            })
        })
    }

    fn conversations(&self, query: ConversationQuery) -> StoreFuture<'_, ConversationPage> {
        report(self, |permit| {
            self.read(move |connection| {
                let _held = &permit;
                conversations(connection, &query)
            })
        })
    }

    fn usage(&self, scope: UsageScope, filter: CallFilter) -> StoreFuture<'_, UsageSum> {
        report(self, |permit| {
            self.read(move |connection| {
                let _held = &permit;
                usage::sum(connection, &scope, &filter)?.sum()
            })
        })
    }

    fn usage_by(&self, query: UsageQuery) -> StoreFuture<'_, Option<Vec<UsageRow>>> {
        report(self, |permit| {
            self.snapshot(move |connection| {
                let _held = &permit;
                Ok(table(connection, &query)?.and_then(|table| table.rows(query.count)))
            })
        })
    }

    fn usage_in_buckets(&self, query: BucketQuery) -> StoreFuture<'_, Option<Vec<BucketRow>>> {
        report(self, |permit| {
            self.read(move |connection| {
                let _held = &permit;
                buckets(connection, &query)
            })
        })
    }

    fn statistics(&self) -> StoreFuture<'_, UsageStatistics> {
        report(self, |permit| {
            self.audit(move |connection| {
                let _held = &permit;
                statistics(connection)
            })
        })
    }
}
