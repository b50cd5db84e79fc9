//! The tables, by hand: STRICT's `INTEGER` is 64 bits wide, which Diesel would take for 32. A test compares
//! them with the migrated database.

diesel::table! {
    users (id) {
        id -> Binary,
        email -> Nullable<Text>,
        username -> Nullable<Text>,
        password_hash -> Text,
        role -> Text,
        disabled -> Bool,
        personal_project -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    logins (name) {
        name -> Text,
        user_id -> Binary,
    }
}

diesel::table! {
    projects (id) {
        id -> Binary,
        name -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    project_members (user_id, project_id) {
        project_id -> Binary,
        user_id -> Binary,
        role -> Text,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Binary,
        public_id -> Text,
        hash -> Binary,
        name -> Text,
        user_id -> Binary,
        project_id -> Binary,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Binary,
        user_id -> Binary,
        created_at -> BigInt,
        ends_at -> BigInt,
        revoked -> Bool,
    }
}

diesel::table! {
    refresh_tokens (hash) {
        hash -> Binary,
        session_id -> Binary,
        created_at -> BigInt,
        idle_until -> BigInt,
        spent_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    limits (subject_id, subject_kind, unit, window_kind, model) {
        subject_id -> Binary,
        subject_kind -> Text,
        model -> Text,
        unit -> Text,
        window_kind -> Text,
        zone -> Text,
        amount -> BigInt,
    }
}

diesel::table! {
    counters (id) {
        id -> BigInt,
        subject_id -> Binary,
        subject_kind -> Text,
        unit -> Text,
        window_kind -> Text,
        window_start -> BigInt,
        used -> BigInt,
        reserved -> BigInt,
        overage -> BigInt,
        frozen -> Bool,
    }
}

diesel::table! {
    reservations (id) {
        id -> Binary,
        user_id -> Binary,
        project_id -> Binary,
        key_id -> Nullable<Binary>,
        route -> Text,
        model -> Text,
        stream -> Bool,
        hold -> BigInt,
        state -> Text,
        created_at -> BigInt,
        settled_at -> Nullable<BigInt>,
        charged -> BigInt,
        overage -> BigInt,
        prompt -> BigInt,
        completion -> BigInt,
        cached -> BigInt,
        reasoning -> BigInt,
        source -> Nullable<Text>,
        ending -> Nullable<Text>,
        status -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::table! {
    reservation_counters (reservation_id, counter_id) {
        reservation_id -> Binary,
        counter_id -> BigInt,
        held -> BigInt,
        charged -> BigInt,
    }
}

diesel::table! {
    ledger (id) {
        id -> BigInt,
        reservation_id -> Binary,
        kind -> Text,
        counter_id -> BigInt,
        charge -> BigInt,
        overage -> BigInt,
        at -> BigInt,
    }
}

diesel::joinable!(logins -> users (user_id));
diesel::joinable!(project_members -> projects (project_id));
diesel::joinable!(api_keys -> users (user_id));
diesel::joinable!(refresh_tokens -> sessions (session_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(reservation_counters -> counters (counter_id));
diesel::joinable!(reservation_counters -> reservations (reservation_id));

diesel::allow_tables_to_appear_in_same_query!(logins, users);
diesel::allow_tables_to_appear_in_same_query!(project_members, projects);
diesel::allow_tables_to_appear_in_same_query!(api_keys, users);
diesel::allow_tables_to_appear_in_same_query!(refresh_tokens, sessions, users);
diesel::allow_tables_to_appear_in_same_query!(counters, limits);
diesel::allow_tables_to_appear_in_same_query!(reservation_counters, reservations, counters);

#[cfg(test)]
mod tests {
    use std::any::type_name;
    use std::collections::BTreeMap;

    use diesel::expression::Expression;
    use diesel::prelude::*;
    use diesel::query_source::Table;
    use diesel::sql_types::{BigInt, Text};
    use diesel::sqlite::{Sqlite, SqliteConnection};
    use diesel_migrations::MigrationHarness;

    use crate::migrate::MIGRATIONS;

    #[derive(QueryableByName, Debug)]
    struct Column {
        #[diesel(sql_type = Text)]
        of: String,
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = BigInt)]
        compulsory: i64,
        #[diesel(sql_type = BigInt)]
        strict: i64,
    }

    /// Reads all columns of a migrated database, by table.
    fn found() -> BTreeMap<String, Vec<Column>> {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.run_pending_migrations(MIGRATIONS).unwrap();
        let rows: Vec<Column> = diesel::sql_query(
            "SELECT t.name AS of, c.name, c.type AS kind, c.\"notnull\" AS compulsory, t.strict \
             FROM pragma_table_list AS t, pragma_table_info(t.name) AS c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '\\_\\_%' ESCAPE '\\' \
             ORDER BY t.name, c.cid",
        )
        .load(&mut connection)
        .unwrap();
        let mut tables = BTreeMap::<String, Vec<Column>>::new();
        for row in rows {
            tables.entry(row.of.clone()).or_default().push(row);
        }
        tables
    }

    /// Reads names and types of the columns that `table!` was told of.
    fn declared<T>(table: T) -> Vec<(String, String)>
    where
        T: Table + diesel::query_dsl::methods::SelectDsl<T::AllColumns> + Copy,
        <T as diesel::query_dsl::methods::SelectDsl<T::AllColumns>>::Output:
            diesel::query_builder::QueryFragment<Sqlite>,
    {
        let sql = diesel::debug_query::<Sqlite, _>(&table.select(T::all_columns())).to_string();
        let (columns, _) = sql
            .trim_start_matches("SELECT ")
            .split_once(" FROM")
            .unwrap();
        let names = columns
            .split(", ")
            .map(|column| column.split('`').nth(3).unwrap().to_owned());
        let types = type_name::<<T::AllColumns as Expression>::SqlType>()
            .replace("diesel::sql_types::", "");
        let types: Vec<String> = types
            .trim_matches(|c| c == '(' || c == ')')
            .split(", ")
            .map(str::to_owned)
            .collect();
        names.zip(types).collect()
    }

    fn matches(column: &Column, declared: &str) -> bool {
        let inner = declared
            .strip_prefix("Nullable<")
            .and_then(|inner| inner.strip_suffix('>'));
        let (kind, compulsory) = inner.map_or((declared, 1), |inner| (inner, 0));
        let fits = match column.kind.as_str() {
            "BLOB" => kind == "Binary",
            "TEXT" => kind == "Text" || kind == "diesel::sql_types::Text",
            "INTEGER" => kind == "BigInt" || kind == "Bool",
            _ => false,
        };
        fits && column.compulsory == compulsory
    }

    #[test]
    fn the_schema_is_that_of_the_migrated_database() {
        let mut found = found();
        macro_rules! compare {
            ($($table:ident)*) => {$(
                let name = stringify!($table);
                let columns = found.remove(name).unwrap_or_else(|| panic!("no table {name}"));
                let wanted = declared(super::$table::table);
                assert_eq!(columns.len(), wanted.len(), "columns of {name}");
                for (column, (declared, kind)) in columns.iter().zip(&wanted) {
                    assert_eq!(&column.name, declared, "a column of {name}");
                    assert!(matches(column, kind), "{name}: {column:?} is no {kind}");
                    assert_eq!(column.strict, 1, "{name} is STRICT");
                }
            )*};
        }
        compare!(users logins projects project_members api_keys sessions refresh_tokens limits
            counters reservations reservation_counters ledger);
        assert!(
            found.is_empty(),
            "tables that schema.rs does not know: {found:?}"
        );
    }

    #[derive(QueryableByName, Debug, PartialEq)]
    struct Object {
        #[diesel(sql_type = Text)]
        name: String,
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
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.run_pending_migrations(MIGRATIONS).unwrap();
        let up = objects(&mut connection);
        assert!(up.len() > 20, "tables, indexes and triggers");
        connection.revert_all_migrations(MIGRATIONS).unwrap();
        assert_eq!(
            objects(&mut connection),
            [],
            "down takes back all that up made"
        );
        connection.run_pending_migrations(MIGRATIONS).unwrap();
        assert_eq!(objects(&mut connection), up, "and up makes the same again");
    }
}
