//! Statements over many rows whose text does not depend on how many there are.
//!
//! Diesel writes one placeholder a value, so that every size of a batch is a statement of its own, to be sent,
//! parsed and planned each time. Here a column is one bound array: the statement is prepared once a connection.

/// Makes a function that runs a statement over `rows`, spelled `before`, `unnest(…) AS batch (…)`, `after`, and
/// returns how many rows it concerned, or those it answers with.
macro_rules! bulk {
    (
        $(#[$doc:meta])*
        $name:ident: $before:literal
        |$row:ident: &$of:ty| { $($column:ident: $sql:ty = $type:ty: $value:expr,)+ }
        $after:literal
    ) => {
        $crate::postgres::bulk::bulk! {
            $(#[$doc])*
            $name(execute -> usize as diesel::sql_types::Untyped): $before
            |$row: &$of| { $($column: $sql = $type: $value,)+ }
            $after
        }
    };
    (
        $(#[$doc:meta])*
        $name:ident($run:ident -> $answer:ty as $answered:ty): $before:literal
        |$row:ident: &$of:ty| { $($column:ident: $sql:ty = $type:ty: $value:expr,)+ }
        $after:literal
    ) => {
        $(#[$doc])*
        pub(super) fn $name(
            connection: &mut $crate::postgres::Connection,
            rows: &[$of],
        ) -> diesel::QueryResult<$answer> {
            use diesel::pg::Pg;
            use diesel::query_builder::{AstPass, QueryFragment, QueryId};
            use diesel::sql_types::Array;

            #[derive(QueryId)]
            struct Statement {
                $($column: Vec<$type>,)+
            }

            impl QueryFragment<Pg> for Statement {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
                    out.push_sql($before);
                    let mut separator = "unnest(";
                    $(
                        out.push_sql(separator);
                        out.push_bind_param::<Array<$sql>, _>(&self.$column)?;
                        separator = ", ";
                    )+
                    out.push_sql(concat!(") AS batch (", $crate::postgres::bulk::names!($($column)+), ") "));
                    out.push_sql($after);
                    let _ = separator;
                    Ok(())
                }
            }

            impl diesel::query_builder::Query for Statement {
                type SqlType = $answered;
            }

            impl diesel::RunQueryDsl<$crate::postgres::Connection> for Statement {}

            if rows.is_empty() {
                return Ok(<$answer>::default());
            }
            let statement = Statement {
                $($column: rows.iter().map(|$row| $value).collect(),)+
            };
            diesel::RunQueryDsl::$run(statement, connection)
        }
    };
}
pub(super) use bulk;

/// Writes names with commas between.
macro_rules! names {
    ($first:ident $($next:ident)*) => { concat!(stringify!($first), $(", ", stringify!($next)),*) };
}
pub(super) use names;
