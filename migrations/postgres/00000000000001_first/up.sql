-- Identifiers are UUIDv7 in 16 bytes, times microseconds since 1970 UTC, amounts at most 2^53 - 1.
-- The balance tables name their subjects by kind and identifier, without foreign keys: a ledger can be
-- used without user accounts. Nor have they any among themselves: see docs/DESIGN.md.

CREATE TABLE projects (
    id BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    archived_at BIGINT
);

-- Persons log in, services belong to the project that is their personal one. Whoever was deleted has neither names
-- nor a password any more; the row stays for what points to it.
CREATE TABLE users (
    id BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('person', 'service')),
    email TEXT,
    email_verified BOOLEAN NOT NULL DEFAULT FALSE,
    username TEXT,
    name TEXT,
    password_hash TEXT COLLATE "C",
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    disabled BOOLEAN NOT NULL DEFAULT FALSE,
    personal_project BYTEA NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    deleted_at BIGINT CHECK (deleted_at IS NULL OR disabled),
    secured_at BIGINT,
    CHECK (kind = 'person' OR (email IS NULL AND username IS NULL AND password_hash IS NULL)),
    CHECK (deleted_at IS NULL OR (email IS NULL AND username IS NULL AND password_hash IS NULL))
);

CREATE UNIQUE INDEX users_by_personal_project ON users (personal_project) WHERE kind = 'person';
CREATE INDEX users_admins ON users (id) WHERE role = 'admin';
CREATE INDEX users_by_password_hash ON users (password_hash) WHERE password_hash IS NOT NULL;

-- E-mail addresses and user names share one name space, so that a login names at most one account.
CREATE TABLE logins (
    name TEXT NOT NULL PRIMARY KEY,
    user_id BYTEA NOT NULL REFERENCES users (id)
);

-- By whom else users are known: a subject of an issuer is one user.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id BYTEA NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);

CREATE INDEX identities_by_user ON identities (user_id);

-- Secrets that were mailed or, without an address, are handed over. With one all of its user and purpose are used.
CREATE TABLE tickets (
    hash BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(hash) = 32),
    purpose TEXT NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
    user_id BYTEA NOT NULL REFERENCES users (id),
    email TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CHECK (email IS NOT NULL OR purpose = 'reset_password')
);

CREATE INDEX tickets_by_user ON tickets (user_id, purpose);
CREATE INDEX tickets_by_end ON tickets (expires_at);

CREATE TABLE project_members (
    project_id BYTEA NOT NULL REFERENCES projects (id),
    user_id BYTEA NOT NULL REFERENCES users (id),
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    since BIGINT NOT NULL,
    PRIMARY KEY (user_id, project_id)
);

CREATE INDEX project_members_by_project ON project_members (project_id, user_id);

-- One is as good as who made it; null is the operator and the command line.
CREATE TABLE invites (
    id BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    hash BYTEA NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    email TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    created_at BIGINT NOT NULL,
    created_by BYTEA REFERENCES users (id),
    expires_at BIGINT NOT NULL,
    accepted_at BIGINT,
    accepted_by BYTEA REFERENCES users (id),
    revoked_at BIGINT,
    CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
    CHECK (accepted_at IS NULL OR revoked_at IS NULL)
);

CREATE INDEX invites_by_maker ON invites (created_by) WHERE accepted_at IS NULL AND revoked_at IS NULL;

-- Where invites lead. What was taken out of one stays, for those who manage that project to see. The last is never.
CREATE TABLE invite_projects (
    invite_id BYTEA NOT NULL REFERENCES invites (id),
    project_id BYTEA NOT NULL REFERENCES projects (id),
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    revoked_at BIGINT,
    PRIMARY KEY (invite_id, project_id)
);

CREATE INDEX invite_projects_by_project ON invite_projects (project_id, invite_id);

-- `scopes`, `models` and `networks` are JSON, none for all. A secret that was replaced works until the overlap ends.
CREATE TABLE api_keys (
    id BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    public_id TEXT NOT NULL UNIQUE,
    hash BYTEA NOT NULL CHECK (octet_length(hash) = 32),
    previous_public_id TEXT UNIQUE,
    previous_hash BYTEA CHECK (octet_length(previous_hash) = 32),
    overlap_until BIGINT,
    name TEXT NOT NULL,
    user_id BYTEA NOT NULL REFERENCES users (id),
    project_id BYTEA NOT NULL REFERENCES projects (id),
    scopes TEXT NOT NULL,
    models TEXT,
    networks TEXT,
    clamps BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT,
    CHECK ((previous_public_id IS NULL) = (overlap_until IS NULL) AND (previous_hash IS NULL) = (overlap_until IS NULL))
);

CREATE INDEX api_keys_by_project ON api_keys (project_id, id);
CREATE INDEX api_keys_by_user ON api_keys (user_id, id);

-- A session lives until its refresh token is too old, it ends, or it is revoked.
CREATE TABLE sessions (
    id BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    user_id BYTEA NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    refreshed_at BIGINT NOT NULL,
    lives_until BIGINT NOT NULL CHECK (lives_until <= ends_at),
    ends_at BIGINT NOT NULL,
    address TEXT,
    agent TEXT,
    revoked BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_end ON sessions (lives_until);

-- A token that is spent was spent for its successor.
CREATE TABLE refresh_tokens (
    hash BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(hash) = 32),
    session_id BYTEA NOT NULL REFERENCES sessions (id),
    created_at BIGINT NOT NULL,
    idle_until BIGINT NOT NULL,
    spent_at BIGINT,
    successor BYTEA CHECK (octet_length(successor) = 32),
    CHECK ((spent_at IS NULL) = (successor IS NULL))
);

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- What was done, by whom, to what. `before` and `after` are JSON, none where the target was not there. Nothing is
-- pointed to by a constraint: events outlive what they speak of.
CREATE TABLE events (
    id BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    at BIGINT NOT NULL,
    actor TEXT NOT NULL CHECK (actor IN ('system', 'anonymous', 'operator', 'user', 'key')),
    actor_user BYTEA CHECK (octet_length(actor_user) = 16),
    actor_key BYTEA CHECK (octet_length(actor_key) = 16),
    address TEXT,
    request TEXT,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    project_id BYTEA CHECK (octet_length(project_id) = 16),
    before TEXT,
    after TEXT,
    CHECK ((actor IN ('user', 'key')) = (actor_user IS NOT NULL) AND (actor = 'key') = (actor_key IS NOT NULL))
);

CREATE INDEX events_by_project ON events (project_id, id);
CREATE INDEX events_by_actor ON events (actor_user, id);
CREATE INDEX events_by_actor_key ON events (actor_key, id) WHERE actor_key IS NOT NULL;
CREATE INDEX events_by_target ON events (target_id, id);

-- The rules. `model` is empty where a rule holds for all models; an identifier of zeros stands for each of its
-- kind without a rule of its own. What is voluntary was set by those whom it binds, and gives way to a stricter one
-- for each of their kind.
CREATE TABLE limits (
    subject_id BYTEA NOT NULL CHECK (octet_length(subject_id) = 16),
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'project', 'key', 'platform')),
    model TEXT NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('tokens', 'requests', 'money')),
    window_kind TEXT NOT NULL CHECK (window_kind IN ('total', 'month', 'day', 'minute')),
    zone TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount BETWEEN 0 AND 9007199254740991),
    voluntary BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (subject_id, subject_kind, unit, window_kind, model)
);

-- The windows. A window that rolls is a new row; nothing is reset. Subject and limit are compared at
-- admission and not by a constraint: a limit may be lowered below what is spent.
CREATE TABLE counters (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_id BYTEA NOT NULL CHECK (octet_length(subject_id) = 16),
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'project', 'key', 'platform')),
    model TEXT NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('tokens', 'requests', 'money')),
    window_kind TEXT NOT NULL CHECK (window_kind IN ('total', 'month', 'day', 'minute')),
    window_start BIGINT NOT NULL,
    used BIGINT NOT NULL CHECK (used >= 0),
    reserved BIGINT NOT NULL CHECK (reserved >= 0),
    overage BIGINT NOT NULL CHECK (overage >= 0),
    frozen BOOLEAN NOT NULL,
    UNIQUE (subject_id, window_start, subject_kind, model, unit, window_kind)
) WITH (fillfactor = 50);

-- What tokens of a model count and cost, from a moment on. Those that were in force are kept: reservations of
-- their time are settled by them.
CREATE TABLE prices (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model TEXT NOT NULL,
    in_force BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    weight_prompt BIGINT NOT NULL CHECK (weight_prompt >= 0),
    weight_completion BIGINT NOT NULL CHECK (weight_completion >= 0),
    weight_cached BIGINT NOT NULL CHECK (weight_cached >= 0),
    price_prompt BIGINT CHECK (price_prompt >= 0),
    price_completion BIGINT CHECK (price_completion >= 0),
    price_cached BIGINT CHECK (price_cached >= 0),
    CHECK ((price_prompt IS NULL) = (price_completion IS NULL) AND (price_prompt IS NULL) = (price_cached IS NULL))
);

CREATE UNIQUE INDEX prices_in_force ON prices (model) WHERE in_force;

-- Processes that settle reservations. One that is given up never owns any again.
CREATE TABLE owners (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enlisted_at BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    given_up BOOLEAN NOT NULL,
    given_up_at BIGINT CHECK (given_up = (given_up_at IS NOT NULL))
);

CREATE INDEX owners_by_lease ON owners (lease_until) WHERE NOT given_up;

-- `response_bytes` and `total_us` are null where nobody knows how it was served.
CREATE TABLE reservations (
    id BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    user_id BYTEA NOT NULL CHECK (octet_length(user_id) = 16),
    project_id BYTEA NOT NULL CHECK (octet_length(project_id) = 16),
    key_id BYTEA CHECK (octet_length(key_id) = 16),
    session TEXT,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    stream BOOLEAN NOT NULL,
    request_bytes BIGINT NOT NULL DEFAULT 0 CHECK (request_bytes >= 0),
    hold BIGINT NOT NULL CHECK (hold >= 0),
    hold_prompt BIGINT NOT NULL CHECK (hold_prompt >= 0),
    hold_completion BIGINT NOT NULL CHECK (hold_completion >= 0),
    version BIGINT NOT NULL DEFAULT 0 CHECK (version >= 0),
    price_id BIGINT,
    owner BIGINT,
    state TEXT NOT NULL
        CHECK (state IN ('pending', 'settled', 'void', 'expired', 'corrected', 'refunded', 'late')),
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    charged BIGINT NOT NULL DEFAULT 0 CHECK (charged >= 0),
    overage BIGINT NOT NULL DEFAULT 0 CHECK (overage >= 0),
    cost BIGINT NOT NULL DEFAULT 0 CHECK (cost >= 0),
    prompt BIGINT NOT NULL DEFAULT 0 CHECK (prompt >= 0),
    completion BIGINT NOT NULL DEFAULT 0 CHECK (completion >= 0),
    cached BIGINT NOT NULL DEFAULT 0 CHECK (cached >= 0),
    reasoning BIGINT NOT NULL DEFAULT 0 CHECK (reasoning >= 0),
    source TEXT,
    ending TEXT,
    status BIGINT,
    upstream TEXT,
    response_bytes BIGINT CHECK (response_bytes >= 0),
    first_data_us BIGINT CHECK (first_data_us >= 0),
    total_us BIGINT CHECK (total_us >= 0)
);

CREATE INDEX reservations_pending ON reservations (owner, id) WHERE state = 'pending';
CREATE INDEX reservations_expired ON reservations (id) WHERE state = 'expired';
-- For reports, which are of calls that have ended: an index of these is written once a call.
CREATE INDEX reservations_by_user ON reservations (user_id, created_at, id) WHERE settled_at IS NOT NULL;
CREATE INDEX reservations_by_project ON reservations (project_id, created_at, id) WHERE settled_at IS NOT NULL;
CREATE INDEX reservations_by_session ON reservations (user_id, session, created_at, id)
    WHERE settled_at IS NOT NULL AND session IS NOT NULL;
CREATE INDEX reservations_by_time ON reservations (created_at, id) WHERE settled_at IS NOT NULL;

CREATE TABLE reservation_counters (
    reservation_id BYTEA NOT NULL,
    counter_id BIGINT NOT NULL,
    held BIGINT NOT NULL CHECK (held >= 0),
    charged BIGINT NOT NULL CHECK (charged >= 0),
    PRIMARY KEY (reservation_id, counter_id)
) WITH (fillfactor = 50);

-- used = sum of charge, overage = sum of overage, per counter. Of what changes a limit, `amount` is the new one,
-- none if it was removed. `hash` is that of the line before by the same writer and of this one.
CREATE TABLE ledger (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    writer BYTEA NOT NULL CHECK (octet_length(writer) = 16),
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    kind TEXT NOT NULL CHECK (kind IN ('settle', 'correct', 'refund', 'late', 'limit', 'credit')),
    reservation_id BYTEA,
    counter_id BIGINT NOT NULL,
    charge BIGINT NOT NULL,
    overage BIGINT NOT NULL,
    amount BIGINT,
    at BIGINT NOT NULL,
    hash BYTEA NOT NULL CHECK (octet_length(hash) = 32),
    UNIQUE (writer, sequence),
    UNIQUE (reservation_id, kind, counter_id)
);

-- How far each writer has come, so that a line that is missing at the end is missed.
CREATE TABLE chains (
    writer BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(writer) = 16),
    sequence BIGINT NOT NULL CHECK (sequence >= 0),
    hash BYTEA NOT NULL CHECK (octet_length(hash) = 32)
);

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append only';
END;
$$;

CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE ON ledger
EXECUTE FUNCTION ledger_is_append_only();

CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE OR TRUNCATE ON ledger
EXECUTE FUNCTION ledger_is_append_only();

CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append only';
END;
$$;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
EXECUTE FUNCTION events_are_append_only();

CREATE TRIGGER events_are_never_deleted BEFORE DELETE OR TRUNCATE ON events
EXECUTE FUNCTION events_are_append_only();
