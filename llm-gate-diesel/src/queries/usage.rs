//! Calls that have ended, as reports see them. Each reads the scope it is given, by the index of that scope.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text, Untyped};
use llm_gate::store::{
    BucketQuery, CallCursor, CallFilter, CallQuery, ConversationCursor, ConversationQuery, Stretch,
    UsageGroup, UsageScope,
};

use super::{Connection, Database};
use crate::models::{CallRow, Id, SumRow, text};
use crate::schema::reservations;

/// Leaves those in a query that may be seen and are wanted.
macro_rules! seen {
    ($query:expr, $scope:expr, $filter:expr) => {{
        let filter: &CallFilter = $filter;
        let mut query = $query.filter(reservations::settled_at.is_not_null());
        query = match $scope {
            UsageScope::User(user) => query.filter(reservations::user_id.eq(Id::from(*user))),
            UsageScope::Project(project) => {
                query.filter(reservations::project_id.eq(Id::from(*project)))
            }
            UsageScope::Session(user, session) => query
                .filter(reservations::user_id.eq(Id::from(*user)))
                .filter(reservations::session.eq(session.as_str())),
            UsageScope::All => query,
            // Not known here, so nothing of it is seen.
            _ => query.filter(sql::<Bool>("1 = 0")),
        };
        if filter.from.as_micros() > i64::MIN {
            query = query.filter(reservations::created_at.ge(filter.from.as_micros()));
        }
        if filter.to.as_micros() < i64::MAX {
            query = query.filter(reservations::created_at.lt(filter.to.as_micros()));
        }
        if let Some(user) = filter.user {
            query = query.filter(reservations::user_id.eq(Id::from(user)));
        }
        if let Some(project) = filter.project {
            query = query.filter(reservations::project_id.eq(Id::from(project)));
        }
        if let Some(key) = filter.key {
            query = query.filter(reservations::key_id.eq(Id::from(key)));
        }
        if let Some(session) = &filter.session {
            query = query.filter(reservations::session.eq(session.as_str().to_owned()));
        }
        if let Some(model) = &filter.model {
            query = query.filter(reservations::model.eq(text(model.clone())));
        }
        if let Some(route) = &filter.route {
            query = query.filter(reservations::route.eq(text(route.clone())));
        }
        if let Some(status) = filter.status {
            query = query.filter(reservations::status.eq(i64::from(status)));
        }
        if let Some(ending) = filter.ending {
            query = query.filter(reservations::ending.eq(ending.as_str()));
        }
        if let Some(stream) = filter.stream {
            query = query.filter(reservations::stream.eq(stream));
        }
        query
    }};
}

/// Lists calls, the newest first, and one more than asked for.
pub(crate) fn calls(connection: &mut Connection, query: &CallQuery) -> QueryResult<Vec<CallRow>> {
    let calls = reservations::table.into_boxed::<Database>();
    let mut calls = seen!(calls, &query.scope, &query.filter);
    if let Some(CallCursor { at, id }) = query.after {
        let at = at.as_micros();
        // The first is what an index begins with; the second leaves out what is of the same moment.
        calls = calls.filter(reservations::created_at.le(at)).filter(
            reservations::created_at
                .lt(at)
                .or(reservations::id.lt(Id::from(id))),
        );
    }
    if query.skip > 0 {
        calls = calls.offset(query.skip.into());
    }
    calls
        .order((reservations::created_at.desc(), reservations::id.desc()))
        .limit(i64::from(query.count) + 1)
        .select(CallRow::as_select())
        .load(connection)
}

/// Adds calls of a project up by conversation, the one with the newest call first, and one more than asked for.
pub(crate) fn conversations(
    connection: &mut Connection,
    query: &ConversationQuery,
) -> QueryResult<Vec<(Id, String, SumRow)>> {
    let rows = reservations::table
        .group_by((reservations::user_id, reservations::session))
        .select((
            reservations::user_id,
            reservations::session.assume_not_null(),
            SumRow::columns(),
        ))
        .into_boxed::<Database>()
        .filter(reservations::session.is_not_null());
    let scope = UsageScope::Project(query.project);
    let mut rows = seen!(rows, &scope, &query.filter);
    if let Some(ConversationCursor {
        last,
        user,
        session,
    }) = &query.after
    {
        let (last, user) = (last.as_micros(), Id::from(*user));
        rows = rows.having(
            sql::<Bool>("(MAX(created_at) < ")
                .bind::<BigInt, _>(last)
                .sql(" OR (MAX(created_at) = ")
                .bind::<BigInt, _>(last)
                .sql(" AND (user_id < ")
                .bind::<Binary, _>(user)
                .sql(" OR (user_id = ")
                .bind::<Binary, _>(user)
                .sql(" AND session < ")
                .bind::<Text, _>(session.as_str().to_owned())
                .sql("))))"),
        );
    }
    rows.order((
        sql::<BigInt>("MAX(created_at) DESC"),
        reservations::user_id.desc(),
        reservations::session.desc(),
    ))
    .limit(i64::from(query.count) + 1)
    .load(connection)
}

/// Adds calls up.
pub(crate) fn sum(
    connection: &mut Connection,
    scope: &UsageScope,
    filter: &CallFilter,
) -> QueryResult<SumRow> {
    let all = reservations::table
        .select(SumRow::columns())
        .into_boxed::<Database>();
    seen!(all, scope, filter).get_result(connection)
}

/// Writes the number of a local day, or nothing that tells days apart.
fn day(stretch: Option<&Stretch>) -> String {
    stretch.map_or_else(
        || "CAST(0 AS BIGINT)".to_owned(),
        |stretch| format!("(created_at + {}) / 86400000000", stretch.offset),
    )
}

/// Adds calls up by local days of a stretch, and by what is told apart by an identifier.
pub(crate) fn by_id(
    connection: &mut Connection,
    scope: &UsageScope,
    filter: &CallFilter,
    stretch: Option<&Stretch>,
    group: UsageGroup,
    count: i64,
) -> QueryResult<Vec<(i64, Option<Id>, SumRow)>> {
    let key = match group {
        UsageGroup::Key => "key_id",
        UsageGroup::User => "user_id",
        _ => "project_id",
    };
    let rows = reservations::table
        .group_by(sql::<Untyped>("1, 2"))
        .select((
            sql::<BigInt>(&day(stretch)),
            sql::<Nullable<Binary>>(key),
            SumRow::columns(),
        ))
        .into_boxed::<Database>();
    seen!(rows, scope, filter).limit(count).load(connection)
}

/// Adds calls up by local days of a stretch, and by model if asked for.
pub(crate) fn by_model(
    connection: &mut Connection,
    scope: &UsageScope,
    filter: &CallFilter,
    stretch: Option<&Stretch>,
    models: bool,
    count: i64,
) -> QueryResult<Vec<(i64, String, SumRow)>> {
    let key = if models { "model" } else { "''" };
    let rows = reservations::table
        .group_by(sql::<Untyped>("1, 2"))
        .select((
            sql::<BigInt>(&day(stretch)),
            sql::<Text>(key),
            SumRow::columns(),
        ))
        .into_boxed::<Database>();
    seen!(rows, scope, filter).limit(count).load(connection)
}

/// When the bucket begins, counted in widths, and what its calls have in common.
pub(crate) type Bucket = (
    i64,
    Option<String>,
    Option<Id>,
    Option<Id>,
    Option<Id>,
    SumRow,
);

/// Adds calls up by bucket and by what they are told apart by, and reads one row more than asked for.
pub(crate) fn in_buckets(
    connection: &mut Connection,
    query: &BucketQuery,
) -> QueryResult<Vec<Bucket>> {
    let groups = query.groups;
    let column = |wanted: bool, name: &'static str| if wanted { name } else { "NULL" };
    let id = |wanted, name| sql::<Nullable<Binary>>(column(wanted, name));
    let mut rows = reservations::table
        .group_by(sql::<Untyped>("1, 2, 3, 4, 5"))
        .select((
            sql::<BigInt>(&format!("created_at / {}", query.width.micros())),
            sql::<Nullable<Text>>(column(groups.model, "model")),
            id(groups.key, "key_id"),
            id(groups.user, "user_id"),
            id(groups.project, "project_id"),
            SumRow::columns(),
        ))
        .into_boxed::<Database>()
        .filter(reservations::settled_at.is_not_null())
        .filter(reservations::created_at.ge(query.from.as_micros()))
        .filter(reservations::created_at.lt(query.to.as_micros()));
    let users = query.users.iter().map(|id| Id::from(*id));
    rows = one_of!(rows, reservations::user_id, users);
    let projects = query.projects.iter().map(|id| Id::from(*id));
    rows = one_of!(rows, reservations::project_id, projects);
    let keys = query.keys.iter().map(|id| Id::from(*id));
    rows = one_of!(rows, reservations::key_id, keys);
    let models = query.models.iter().map(|name| text(name.clone()));
    rows = one_of!(rows, reservations::model, models);
    let routes = query.routes.iter().map(|name| text(name.clone()));
    rows = one_of!(rows, reservations::route, routes);
    rows.limit(i64::from(query.count) + 1).load(connection)
}

/// Counts the conversations of everybody.
pub(crate) fn sessions(connection: &mut Connection) -> QueryResult<i64> {
    let count = "(SELECT COUNT(*) FROM (SELECT DISTINCT user_id, session FROM reservations \
                 WHERE settled_at IS NOT NULL AND session IS NOT NULL) AS named)";
    diesel::select(sql::<BigInt>(count)).get_result(connection)
}

/// Lists models that were called.
pub(crate) fn models(connection: &mut Connection, count: i64) -> QueryResult<Vec<String>> {
    reservations::table
        .filter(reservations::settled_at.is_not_null())
        .select(reservations::model)
        .distinct()
        .order(reservations::model)
        .limit(count)
        .load(connection)
}

/// Lists upstreams that served.
pub(crate) fn upstreams(connection: &mut Connection, count: i64) -> QueryResult<Vec<String>> {
    reservations::table
        .filter(reservations::settled_at.is_not_null())
        .filter(reservations::upstream.is_not_null())
        .select(reservations::upstream.assume_not_null())
        .distinct()
        .order(reservations::upstream)
        .limit(count)
        .load(connection)
}
