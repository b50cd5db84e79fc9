-- Identifiers are UUIDv7 in 16 bytes, times microseconds since 1970 UTC, amounts at most 2^53 - 1.
-- The balance tables name their subjects by kind and identifier, without foreign keys: a ledger can be
-- used without user accounts. Nor have they any among themselves: see docs/DESIGN.md.

CREATE TABLE projects (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    archived_at INTEGER
) STRICT;

-- Persons log in, services belong to the project that is their personal one. Whoever was deleted has neither names
-- nor a password any more; the row stays for what points to it.
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('person', 'service')),
    email TEXT,
    email_verified INTEGER NOT NULL DEFAULT 0 CHECK (email_verified IN (0, 1)),
    username TEXT,
    name TEXT,
    password_hash TEXT,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    personal_project BLOB NOT NULL REFERENCES projects (id),
    created_at INTEGER NOT NULL,
    deleted_at INTEGER CHECK (deleted_at IS NULL OR disabled),
    secured_at INTEGER,
    CHECK (kind = 'person' OR (email IS NULL AND username IS NULL AND password_hash IS NULL)),
    CHECK (deleted_at IS NULL OR (email IS NULL AND username IS NULL AND password_hash IS NULL))
) STRICT;

CREATE UNIQUE INDEX users_by_personal_project ON users (personal_project) WHERE kind = 'person';
CREATE INDEX users_admins ON users (id) WHERE role = 'admin';
CREATE INDEX users_by_password_hash ON users (password_hash) WHERE password_hash IS NOT NULL;

-- E-mail addresses and user names share one name space, so that a login names at most one account.
CREATE TABLE logins (
    name TEXT NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id)
) STRICT, WITHOUT ROWID;

-- By whom else users are known: a subject of an issuer is one user.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX identities_by_user ON identities (user_id);

-- Secrets that were mailed or, without an address, are handed over. With one all of its user and purpose are used.
CREATE TABLE tickets (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    purpose TEXT NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
    user_id BLOB NOT NULL REFERENCES users (id),
    email TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CHECK (email IS NOT NULL OR purpose = 'reset_password')
) STRICT, WITHOUT ROWID;

CREATE INDEX tickets_by_user ON tickets (user_id, purpose);
CREATE INDEX tickets_by_end ON tickets (expires_at);

CREATE TABLE project_members (
    project_id BLOB NOT NULL REFERENCES projects (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    since INTEGER NOT NULL,
    PRIMARY KEY (user_id, project_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX project_members_by_project ON project_members (project_id, user_id);

-- One is as good as who made it; null is the operator and the command line.
CREATE TABLE invites (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    email TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    created_at INTEGER NOT NULL,
    created_by BLOB REFERENCES users (id),
    expires_at INTEGER NOT NULL,
    accepted_at INTEGER,
    accepted_by BLOB REFERENCES users (id),
    revoked_at INTEGER,
    CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
    CHECK (accepted_at IS NULL OR revoked_at IS NULL)
) STRICT;

CREATE INDEX invites_by_maker ON invites (created_by) WHERE accepted_at IS NULL AND revoked_at IS NULL;

-- Where invites lead. What was taken out of one stays, for those who manage that project to see. The last is never.
CREATE TABLE invite_projects (
    invite_id BLOB NOT NULL REFERENCES invites (id),
    project_id BLOB NOT NULL REFERENCES projects (id),
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    revoked_at INTEGER,
    PRIMARY KEY (invite_id, project_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX invite_projects_by_project ON invite_projects (project_id, invite_id);

-- `scopes`, `models` and `networks` are JSON, none for all. A secret that was replaced works until the overlap ends.
CREATE TABLE api_keys (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    public_id TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    previous_public_id TEXT UNIQUE,
    previous_hash BLOB CHECK (length(previous_hash) = 32),
    overlap_until INTEGER,
    name TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    project_id BLOB NOT NULL REFERENCES projects (id),
    scopes TEXT NOT NULL,
    models TEXT,
    networks TEXT,
    clamps INTEGER NOT NULL DEFAULT 0 CHECK (clamps IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER,
    CHECK ((previous_public_id IS NULL) = (overlap_until IS NULL) AND (previous_hash IS NULL) = (overlap_until IS NULL))
) STRICT;

CREATE INDEX api_keys_by_project ON api_keys (project_id, id);
CREATE INDEX api_keys_by_user ON api_keys (user_id, id);

-- A session lives until its refresh token is too old, it ends, or it is revoked.
CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    refreshed_at INTEGER NOT NULL,
    lives_until INTEGER NOT NULL CHECK (lives_until <= ends_at),
    ends_at INTEGER NOT NULL,
    address TEXT,
    agent TEXT,
    revoked INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1))
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_end ON sessions (lives_until);

-- A token that is spent was spent for its successor.
CREATE TABLE refresh_tokens (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    session_id BLOB NOT NULL REFERENCES sessions (id),
    created_at INTEGER NOT NULL,
    idle_until INTEGER NOT NULL,
    spent_at INTEGER,
    successor BLOB CHECK (length(successor) = 32),
    CHECK ((spent_at IS NULL) = (successor IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- What was done, by whom, to what. `before` and `after` are JSON, none where the target was not there. Nothing is
-- pointed to by a constraint: events outlive what they speak of.
CREATE TABLE events (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    actor TEXT NOT NULL CHECK (actor IN ('system', 'anonymous', 'operator', 'user', 'key')),
    actor_user BLOB CHECK (length(actor_user) = 16),
    actor_key BLOB CHECK (length(actor_key) = 16),
    address TEXT,
    request TEXT,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    project_id BLOB CHECK (length(project_id) = 16),
    before TEXT,
    after TEXT,
    CHECK ((actor IN ('user', 'key')) = (actor_user IS NOT NULL) AND (actor = 'key') = (actor_key IS NOT NULL))
) STRICT;

CREATE INDEX events_by_project ON events (project_id, id);
CREATE INDEX events_by_actor ON events (actor_user, id);
CREATE INDEX events_by_actor_key ON events (actor_key, id) WHERE actor_key IS NOT NULL;
CREATE INDEX events_by_target ON events (target_id, id);

-- The rules. `model` is empty where a rule holds for all models; an identifier of zeros stands for each of its
-- kind without a rule of its own. What is voluntary was set by those whom it binds, and gives way to a stricter one
-- for each of their kind.
CREATE TABLE limits (
    subject_id BLOB NOT NULL CHECK (length(subject_id) = 16),
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'project', 'key', 'platform')),
    model TEXT NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('tokens', 'requests', 'money')),
    window_kind TEXT NOT NULL CHECK (window_kind IN ('total', 'month', 'day', 'minute')),
    zone TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount BETWEEN 0 AND 9007199254740991),
    voluntary INTEGER NOT NULL DEFAULT 0 CHECK (voluntary IN (0, 1)),
    PRIMARY KEY (subject_id, subject_kind, unit, window_kind, model)
) STRICT, WITHOUT ROWID;

-- The windows. A window that rolls is a new row; nothing is reset. Subject and limit are compared at
-- admission and not by a constraint: a limit may be lowered below what is spent.
CREATE TABLE counters (
    id INTEGER NOT NULL PRIMARY KEY,
    subject_id BLOB NOT NULL CHECK (length(subject_id) = 16),
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'project', 'key', 'platform')),
    model TEXT NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('tokens', 'requests', 'money')),
    window_kind TEXT NOT NULL CHECK (window_kind IN ('total', 'month', 'day', 'minute')),
    window_start INTEGER NOT NULL,
    used INTEGER NOT NULL CHECK (used >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    overage INTEGER NOT NULL CHECK (overage >= 0),
    frozen INTEGER NOT NULL CHECK (frozen IN (0, 1)),
    UNIQUE (subject_id, window_start, subject_kind, model, unit, window_kind)
) STRICT;

-- What tokens of a model count and cost, from a moment on. Those that were in force are kept: reservations of
-- their time are settled by them.
CREATE TABLE prices (
    id INTEGER NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    in_force INTEGER NOT NULL CHECK (in_force IN (0, 1)),
    created_at INTEGER NOT NULL,
    weight_prompt INTEGER NOT NULL CHECK (weight_prompt >= 0),
    weight_completion INTEGER NOT NULL CHECK (weight_completion >= 0),
    weight_cached INTEGER NOT NULL CHECK (weight_cached >= 0),
    price_prompt INTEGER CHECK (price_prompt >= 0),
    price_completion INTEGER CHECK (price_completion >= 0),
    price_cached INTEGER CHECK (price_cached >= 0),
    CHECK ((price_prompt IS NULL) = (price_completion IS NULL) AND (price_prompt IS NULL) = (price_cached IS NULL))
) STRICT;

CREATE UNIQUE INDEX prices_in_force ON prices (model) WHERE in_force;

-- Processes that settle reservations. One that is given up never owns any again.
CREATE TABLE owners (
    id INTEGER NOT NULL PRIMARY KEY,
    enlisted_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    given_up INTEGER NOT NULL CHECK (given_up IN (0, 1)),
    given_up_at INTEGER CHECK (given_up = (given_up_at IS NOT NULL))
) STRICT;

CREATE INDEX owners_by_lease ON owners (lease_until) WHERE NOT given_up;

-- `response_bytes` and `total_us` are null where nobody knows how it was served.
CREATE TABLE reservations (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL CHECK (length(user_id) = 16),
    project_id BLOB NOT NULL CHECK (length(project_id) = 16),
    key_id BLOB CHECK (length(key_id) = 16),
    session TEXT,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    stream INTEGER NOT NULL CHECK (stream IN (0, 1)),
    request_bytes INTEGER NOT NULL DEFAULT 0 CHECK (request_bytes >= 0),
    hold INTEGER NOT NULL CHECK (hold >= 0),
    hold_prompt INTEGER NOT NULL CHECK (hold_prompt >= 0),
    hold_completion INTEGER NOT NULL CHECK (hold_completion >= 0),
    version INTEGER NOT NULL DEFAULT 0 CHECK (version >= 0),
    price_id INTEGER,
    owner INTEGER,
    state TEXT NOT NULL
        CHECK (state IN ('pending', 'settled', 'void', 'expired', 'corrected', 'refunded', 'late')),
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    charged INTEGER NOT NULL DEFAULT 0 CHECK (charged >= 0),
    overage INTEGER NOT NULL DEFAULT 0 CHECK (overage >= 0),
    cost INTEGER NOT NULL DEFAULT 0 CHECK (cost >= 0),
    prompt INTEGER NOT NULL DEFAULT 0 CHECK (prompt >= 0),
    completion INTEGER NOT NULL DEFAULT 0 CHECK (completion >= 0),
    cached INTEGER NOT NULL DEFAULT 0 CHECK (cached >= 0),
    reasoning INTEGER NOT NULL DEFAULT 0 CHECK (reasoning >= 0),
    source TEXT,
    ending TEXT,
    status INTEGER,
    upstream TEXT,
    response_bytes INTEGER CHECK (response_bytes >= 0),
    first_data_us INTEGER CHECK (first_data_us >= 0),
    total_us INTEGER CHECK (total_us >= 0)
) STRICT;

CREATE INDEX reservations_pending ON reservations (owner, id) WHERE state = 'pending';
CREATE INDEX reservations_expired ON reservations (id) WHERE state = 'expired';
-- For reports, which are of calls that have ended: an index of these is written once a call.
CREATE INDEX reservations_by_user ON reservations (user_id, created_at, id) WHERE settled_at IS NOT NULL;
CREATE INDEX reservations_by_project ON reservations (project_id, created_at, id) WHERE settled_at IS NOT NULL;
CREATE INDEX reservations_by_session ON reservations (user_id, session, created_at, id)
    WHERE settled_at IS NOT NULL AND session IS NOT NULL;
CREATE INDEX reservations_by_time ON reservations (created_at, id) WHERE settled_at IS NOT NULL;

CREATE TABLE reservation_counters (
    reservation_id BLOB NOT NULL,
    counter_id INTEGER NOT NULL,
    held INTEGER NOT NULL CHECK (held >= 0),
    charged INTEGER NOT NULL CHECK (charged >= 0),
    PRIMARY KEY (reservation_id, counter_id)
) STRICT, WITHOUT ROWID;

-- used = sum of charge, overage = sum of overage, per counter. Of what changes a limit, `amount` is the new one,
-- none if it was removed. `hash` is that of the line before by the same writer and of this one.
CREATE TABLE ledger (
    id INTEGER NOT NULL PRIMARY KEY,
    writer BLOB NOT NULL CHECK (length(writer) = 16),
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    kind TEXT NOT NULL CHECK (kind IN ('settle', 'correct', 'refund', 'late', 'limit', 'credit')),
    reservation_id BLOB,
    counter_id INTEGER NOT NULL,
    charge INTEGER NOT NULL,
    overage INTEGER NOT NULL,
    amount INTEGER,
    at INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    UNIQUE (writer, sequence),
    UNIQUE (reservation_id, kind, counter_id)
) STRICT;

-- How far each writer has come, so that a line that is missing at the end is missed.
CREATE TABLE chains (
    writer BLOB NOT NULL PRIMARY KEY CHECK (length(writer) = 16),
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END;

CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append only');
END;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append only');
END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append only');
END;
