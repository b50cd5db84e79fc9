use std::any::type_name;
use std::collections::BTreeMap;

use diesel::expression::Expression;
use diesel::prelude::*;
use diesel::query_source::Table;
use diesel::sql_types::Text;

/// A column of a migrated database: its type and whether it is compulsory, in the words of the database.
#[derive(QueryableByName, Debug)]
struct Column {
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
}

/// A table, index, trigger or function.
#[derive(QueryableByName, Debug, PartialEq)]
struct Object {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Reads names and types of the columns that `table!` was told of.
fn declared<T: Table>(_table: T) -> Vec<(String, String)>
where
    T::AllColumns: Expression,
{
    let words = |all: &str| -> Vec<String> {
        let all = all.replace("diesel::sql_types::", "");
        let all = all.trim_matches(|c| c == '(' || c == ')');
        all.split(", ").map(str::to_owned).collect()
    };
    let names = words(type_name::<T::AllColumns>()).into_iter().map(|path| {
        let (_, name) = path.rsplit_once("::").expect("the path of a column");
        name.to_owned()
    });
    let types = words(type_name::<<T::AllColumns as Expression>::SqlType>());
    names.zip(types).collect()
}

/// Compares `schema.rs` with a database that calls types by the words of `spell`.
fn compare(found: Vec<Column>, spell: fn(&str) -> &'static str) {
    let mut tables = BTreeMap::<String, Vec<Column>>::new();
    for column in found {
        tables.entry(column.of.clone()).or_default().push(column);
    }
    macro_rules! compare {
        ($($table:ident)*) => {$(
            let name = stringify!($table);
            let columns = tables.remove(name).unwrap_or_else(|| panic!("no table {name}"));
            let wanted = declared(super::$table::table);
            assert_eq!(columns.len(), wanted.len(), "columns of {name}");
            for (column, (declared, kind)) in columns.iter().zip(&wanted) {
                assert_eq!(&column.name, declared, "a column of {name}");
                let inner = kind.strip_prefix("Nullable<").and_then(|kind| kind.strip_suffix('>'));
                let spelled = inner.map_or_else(
                    || format!("{} NOT NULL", spell(kind)),
                    |inner| spell(inner).to_owned(),
                );
                assert_eq!(column.kind, spelled, "{name}.{declared}");
            }
        )*};
    }
    compare!(users logins identities tickets projects project_members invites invite_projects api_keys
        sessions refresh_tokens events limits counters prices owners reservations reservation_counters ledger chains);
    assert!(
        tables.is_empty(),
        "tables that schema.rs does not know: {tables:?}"
    );
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use diesel::prelude::*;
    use diesel::sqlite::SqliteConnection;
    use diesel_migrations::MigrationHarness;

    use super::{Column, Object, compare};
    use crate::sqlite::migrate::MIGRATIONS;

    fn migrated() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.run_pending_migrations(MIGRATIONS).unwrap();
        connection
    }

    #[test]
    fn the_schema_is_that_of_the_migrated_database() {
        let columns = diesel::sql_query(
            "SELECT t.name AS of, c.name, c.type || iif(c.\"notnull\", ' NOT NULL', '') || \
                 iif(t.strict, '', ' NOT STRICT') AS kind \
             FROM pragma_table_list AS t, pragma_table_info(t.name) AS c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '\\_\\_%' ESCAPE '\\' \
             ORDER BY t.name, c.cid",
        )
        .load::<Column>(&mut migrated())
        .unwrap();
        compare(columns, |kind| match kind {
            "Binary" => "BLOB",
            "Text" => "TEXT",
            "BigInt" | "Bool" => "INTEGER",
            _ => "unknown",
        });
    }

    fn objects(connection: &mut SqliteConnection) -> Vec<Object> {
        diesel::sql_query(
            "SELECT coalesce(sql, name) AS name FROM sqlite_schema \
             WHERE tbl_name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY 1",
        )
        .load(connection)
        .unwrap()
    }

    #[test]
    fn every_migration_can_be_taken_back_and_run_again() {
        let mut connection = migrated();
        let up = objects(&mut connection);
        assert!(up.len() > 20, "tables, indexes and triggers");
        connection.revert_all_migrations(MIGRATIONS).unwrap();
        let down = objects(&mut connection);
        assert_eq!(down, [], "down takes back all that up made");
        connection.run_pending_migrations(MIGRATIONS).unwrap();
        assert_eq!(objects(&mut connection), up, "and up makes the same again");
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use diesel::prelude::*;
    use diesel_migrations::MigrationHarness;

    use super::{Column, Object, compare};
    use crate::postgres::migrate::MIGRATIONS;
    use crate::test_db::postgres;

    #[tokio::test]
    async fn the_schema_is_that_of_the_migrated_database() {
        let columns = diesel::sql_query(
            "SELECT table_name::text AS of, column_name::text AS name, \
                 data_type || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END AS kind \
             FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' \
             ORDER BY table_name, ordinal_position",
        );
        let store = postgres::open().await;
        let columns = store.on_connection(|connection| columns.load::<Column>(connection));
        compare(columns.await.unwrap().unwrap(), |kind| match kind {
            "Binary" => "bytea",
            "Text" => "text",
            "BigInt" => "bigint",
            "Bool" => "boolean",
            _ => "unknown",
        });
    }

    /// Lists relations, constraints, triggers and functions, each with its definition.
    const OBJECTS: &str = "
        SELECT c.relname || ' ' || c.relkind::text || ' ' || coalesce(c.reloptions::text, '') || ' ' ||
            coalesce(pg_get_indexdef(i.indexrelid), '') AS name
        FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE '\\_\\_%'
        UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE '\\_\\_%'
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        ORDER BY 1";

    #[tokio::test]
    async fn every_migration_can_be_taken_back_and_run_again() {
        let store = postgres::open().await;
        let there_and_back = store.on_connection(|connection| {
            let mut objects = Vec::<Vec<Object>>::new();
            objects.push(diesel::sql_query(OBJECTS).load(connection).unwrap());
            connection.revert_all_migrations(MIGRATIONS).unwrap();
            objects.push(diesel::sql_query(OBJECTS).load(connection).unwrap());
            connection.run_pending_migrations(MIGRATIONS).unwrap();
            objects.push(diesel::sql_query(OBJECTS).load(connection).unwrap());
            objects
        });
        let objects = there_and_back.await.unwrap();
        assert!(objects[0].len() > 60, "tables, indexes, checks, triggers");
        assert_eq!(objects[1], [], "down takes back all that up made");
        assert_eq!(objects[2], objects[0], "and up makes the same again");
    }
}
