//! The tables, by hand: STRICT's `INTEGER` is 64 bits wide, which Diesel would take for 32. A test compares
//! them with the migrated database.

diesel::table! {
    users (id) {
        id -> Binary,
        kind -> Text,
        email -> Nullable<Text>,
        email_verified -> Bool,
        username -> Nullable<Text>,
        name -> Nullable<Text>,
        password_hash -> Nullable<Text>,
        role -> Text,
        disabled -> Bool,
        personal_project -> Binary,
        created_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
        secured_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    logins (name) {
        name -> Text,
        user_id -> Binary,
    }
}

diesel::table! {
    identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        user_id -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    tickets (hash) {
        hash -> Binary,
        purpose -> Text,
        user_id -> Binary,
        email -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    projects (id) {
        id -> Binary,
        name -> Text,
        created_at -> BigInt,
        archived_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    project_members (user_id, project_id) {
        project_id -> Binary,
        user_id -> Binary,
        role -> Text,
        since -> BigInt,
    }
}

diesel::table! {
    invites (id) {
        id -> Binary,
        hash -> Binary,
        email -> Text,
        role -> Text,
        created_at -> BigInt,
        created_by -> Nullable<Binary>,
        expires_at -> BigInt,
        accepted_at -> Nullable<BigInt>,
        accepted_by -> Nullable<Binary>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    invite_projects (invite_id, project_id) {
        invite_id -> Binary,
        project_id -> Binary,
        role -> Text,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Binary,
        public_id -> Text,
        hash -> Binary,
        previous_public_id -> Nullable<Text>,
        previous_hash -> Nullable<Binary>,
        overlap_until -> Nullable<BigInt>,
        name -> Text,
        user_id -> Binary,
        project_id -> Binary,
        scopes -> Text,
        models -> Nullable<Text>,
        networks -> Nullable<Text>,
        clamps -> Bool,
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
        refreshed_at -> BigInt,
        lives_until -> BigInt,
        ends_at -> BigInt,
        address -> Nullable<Text>,
        agent -> Nullable<Text>,
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
        successor -> Nullable<Binary>,
    }
}

diesel::table! {
    events (id) {
        id -> Binary,
        at -> BigInt,
        actor -> Text,
        actor_user -> Nullable<Binary>,
        actor_key -> Nullable<Binary>,
        address -> Nullable<Text>,
        request -> Nullable<Text>,
        action -> Text,
        target_kind -> Text,
        target_id -> Text,
        project_id -> Nullable<Binary>,
        before -> Nullable<Text>,
        after -> Nullable<Text>,
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
        voluntary -> Bool,
    }
}

diesel::table! {
    counters (id) {
        id -> BigInt,
        subject_id -> Binary,
        subject_kind -> Text,
        model -> Text,
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
    prices (id) {
        id -> BigInt,
        model -> Text,
        in_force -> Bool,
        created_at -> BigInt,
        weight_prompt -> BigInt,
        weight_completion -> BigInt,
        weight_cached -> BigInt,
        price_prompt -> Nullable<BigInt>,
        price_completion -> Nullable<BigInt>,
        price_cached -> Nullable<BigInt>,
    }
}

diesel::table! {
    owners (id) {
        id -> BigInt,
        enlisted_at -> BigInt,
        lease_until -> BigInt,
        given_up -> Bool,
        given_up_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    reservations (id) {
        id -> Binary,
        user_id -> Binary,
        project_id -> Binary,
        key_id -> Nullable<Binary>,
        session -> Nullable<Text>,
        route -> Text,
        model -> Text,
        stream -> Bool,
        request_bytes -> BigInt,
        hold -> BigInt,
        hold_prompt -> BigInt,
        hold_completion -> BigInt,
        version -> BigInt,
        price_id -> Nullable<BigInt>,
        owner -> Nullable<BigInt>,
        state -> Text,
        created_at -> BigInt,
        settled_at -> Nullable<BigInt>,
        charged -> BigInt,
        overage -> BigInt,
        cost -> BigInt,
        prompt -> BigInt,
        completion -> BigInt,
        cached -> BigInt,
        reasoning -> BigInt,
        source -> Nullable<Text>,
        ending -> Nullable<Text>,
        status -> Nullable<BigInt>,
        upstream -> Nullable<Text>,
        response_bytes -> Nullable<BigInt>,
        first_data_us -> Nullable<BigInt>,
        total_us -> Nullable<BigInt>,
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
        writer -> Binary,
        sequence -> BigInt,
        kind -> Text,
        reservation_id -> Nullable<Binary>,
        counter_id -> BigInt,
        charge -> BigInt,
        overage -> BigInt,
        amount -> Nullable<BigInt>,
        at -> BigInt,
        hash -> Binary,
    }
}

diesel::table! {
    chains (writer) {
        writer -> Binary,
        sequence -> BigInt,
        hash -> Binary,
    }
}

diesel::joinable!(logins -> users (user_id));
diesel::joinable!(identities -> users (user_id));
diesel::joinable!(tickets -> users (user_id));
diesel::joinable!(project_members -> projects (project_id));
diesel::joinable!(project_members -> users (user_id));
diesel::joinable!(invite_projects -> invites (invite_id));
diesel::joinable!(api_keys -> users (user_id));
diesel::joinable!(refresh_tokens -> sessions (session_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(ledger -> counters (counter_id));
diesel::joinable!(ledger -> reservations (reservation_id));
diesel::joinable!(reservation_counters -> counters (counter_id));
diesel::joinable!(reservation_counters -> reservations (reservation_id));

diesel::allow_tables_to_appear_in_same_query!(logins, users);
diesel::allow_tables_to_appear_in_same_query!(identities, users);
diesel::allow_tables_to_appear_in_same_query!(tickets, users);
diesel::allow_tables_to_appear_in_same_query!(project_members, projects);
diesel::allow_tables_to_appear_in_same_query!(project_members, users);
diesel::allow_tables_to_appear_in_same_query!(invite_projects, invites);
diesel::allow_tables_to_appear_in_same_query!(api_keys, project_members);
diesel::allow_tables_to_appear_in_same_query!(api_keys, users);
diesel::allow_tables_to_appear_in_same_query!(refresh_tokens, sessions, users);
diesel::allow_tables_to_appear_in_same_query!(ledger, counters);
diesel::allow_tables_to_appear_in_same_query!(ledger, reservations);
diesel::allow_tables_to_appear_in_same_query!(owners, reservations);
diesel::allow_tables_to_appear_in_same_query!(reservation_counters, reservations, counters);

#[cfg(test)]
mod tests;
