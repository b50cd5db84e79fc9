use std::borrow::Cow;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use http::HeaderValue;
use llm_gate::auth::{InviteToken, RefreshToken};
use llm_gate::clock::Timestamp;
use llm_gate::identity::{Credential, KeyGrants, Role, SessionId, UserId};
use llm_gate::limit::Attempt;
use llm_gate::store::{
    Action, Actor, Author, Event, NewSession, Refresh as Rotating, Rotation, StoreError,
    StoreErrorKind, Target, TokenHash, User,
};
use serde_json::{Value, json};

use super::caller::{Anyone, By, Origin};
use super::cookies::{self, RefreshCookie, WithCookies};
use super::document::{Created, NoContent};
use super::error::ApiError;
use super::fields::{FLAG, Fields, Form, Input, Json, JsonDraft, SECRET, TEXT, Text, Word};
use super::views::{Identity, Registered, TokenPair};
use crate::accounts::{self, KeyRequest, Names};
use crate::app::App;
use crate::config::{Registration as Setting, Secret};
use crate::passwords::Verdict;

/// How long after its rotation a refresh token may come again from a tab that raced another.
const GRACE: Duration = Duration::from_secs(30);

/// A user name, checked. One that is empty was meant to be left out.
const USERNAME: Text<Option<String>> = Text::new(|text| unless_empty(text, accounts::username))
    .pattern(r"^\s*([A-Za-z0-9][A-Za-z0-9._\-]{0,63})?\s*$");
/// An e-mail address, checked. One that is empty was meant to be left out.
const EMAIL: Text<Option<String>> = Text::new(|text| unless_empty(text, accounts::email))
    .pattern(r"^\s*([^\s@]+@[^\s@]+)?\s*$")
    .sized(0, 254);

fn unless_empty(
    text: &str,
    read: fn(&str) -> Result<String, &'static str>,
) -> Result<Option<String>, Cow<'static, str>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(read(text)?))
}

/// Who wants an account.
pub(super) struct Registration {
    names: Names,
    password: Secret,
    create_api_key: bool,
    invite: Option<Secret>,
}

impl Input for Registration {
    const NAME: &'static str = "Registration";

    fn read(fields: &mut Fields) -> Option<Self> {
        let names = Names {
            email: fields
                .optional(
                    "email",
                    "The e-mail address; this or a user name is required",
                    &EMAIL,
                )
                .flatten(),
            username: fields
                .optional(
                    "username",
                    "1 to 64 letters, digits, points, hyphens or underscores",
                    &USERNAME,
                )
                .flatten(),
        };
        let password = fields.required(
            "password",
            "At least 15 characters unless the gateway is set otherwise, and none that is tried first",
            // What every setting of the gateway lets through; its policy has the last word.
            &SECRET.sized(8, 128),
        );
        let create_api_key = fields.or(
            "create_api_key",
            "Whether to make an API key at once",
            &FLAG,
            false,
        );
        let invite = fields.optional(
            "invite",
            "What stands in the link of an invite, whose e-mail address the account gets, confirmed",
            &SECRET,
        );
        if names.all().is_empty()
            && invite.is_none()
            && !fields.refused("username")
            && !fields.refused("email")
        {
            fields.refuse("username", "a user name or an e-mail address is required");
        }
        Some(Self {
            names,
            // What is missing was noted.
            password: password.unwrap_or_else(|| Secret::from("")),
            create_api_key,
            invite,
        })
    }

    fn example() -> Value {
        json!({ "username": "ada", "password": "correct horse battery", "create_api_key": true })
    }
}

/// Makes an account.
///
/// Its token limit is the gateway's default, and only an admin raises it. Where mail is sent, a letter asks to confirm
/// the e-mail address. Who is invited may register where others may not, gets the role that goes with it, and has
/// confirmed the address by having read the letter.
#[utoipa::path(
    post,
    path = "/api/v1/auth/register",
    responses(
        (status = 403, description = "Registration is closed, or the invite is used, withdrawn, too old, for another address, or of somebody who may not invite any more, or user names are set by admins"),
        (status = 409, description = "The user name or e-mail address is taken"),
    )
)]
pub(super) async fn register(
    State(app): State<App>,
    By(author): By,
    JsonDraft(mut draft): JsonDraft<Registration>,
) -> Result<Created<Registered>, ApiError> {
    draft.check("password", |wanted| {
        app.policy
            .check(wanted.password.expose(), &wanted.names.all())
    });
    let Registration {
        mut names,
        password,
        create_api_key,
        invite,
    } = draft.finish()?;
    let invite = admit(&app, &mut names, invite, author.at).await?;
    if names.username.is_some() && app.config.names_are_credentials() {
        // The address is that of the invite; a user name would be whichever somebody else's tokens say.
        return Err(ApiError::forbidden(
            "user names are set by admins here, because tokens of another issuer go by them",
        ));
    }
    if let Err(reason) = app.policy.check(password.expose(), &names.all()) {
        return Err(ApiError::in_body("password", reason));
    }

    let hash = app.passwords.hash(password).await?;
    let limit = Some(app.config.limits.default_user);
    let called: Vec<String> = names.all().into_iter().map(str::to_owned).collect();
    let mut account = names.account(hash, Role::User, limit, author.clone());
    account.invite = invite;
    let user = match app.store.create_user(account).await {
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            return Err(match invite {
                Some(token) => uninvited(&app, token, called, author.at).await?,
                None => super::people::taken(),
            });
        }
        other => other?,
    };
    super::account::mail_verification(&app, &user, &author).await?;
    let api_key = if create_api_key {
        Some(first_key(&app, &user, author).await?)
    } else {
        None
    };
    let registered = Registered {
        id: user.id,
        username: user.username,
        email: user.email,
        token_limit: limit,
        tokens_used: Default::default(),
        api_key,
    };
    Ok(Created(registered))
}

/// Decides who may register: the names are those of the account, and get the address of the invite. Returns the hash of
/// the invite's secret.
async fn admit(
    app: &App,
    names: &mut Names,
    invite: Option<Secret>,
    now: Timestamp,
) -> Result<Option<TokenHash>, ApiError> {
    let setting = app.config.registration();
    let Some(token) = invite else {
        return match setting {
            Setting::Open => Ok(None),
            Setting::Invite => Err(ApiError::forbidden("registration is by invite")),
            Setting::Closed => Err(ApiError::forbidden("registration is closed")),
        };
    };
    let token = InviteToken::parse(token.expose()).map_err(|_| super::invites::spent())?;
    let invite = app.store.invite_by_token(token.hash()).await?;
    let invite = invite
        .filter(|invite| invite.is_open(now))
        // Only admins invite to the platform; to their projects all do who manage them.
        .filter(|invite| setting != Setting::Closed || invite.project.is_none())
        .ok_or_else(super::invites::spent)?;
    if *names.email.get_or_insert_with(|| invite.email.clone()) != invite.email {
        return Err(super::invites::spent());
    }
    Ok(Some(token.hash()))
}

/// Says why somebody with an invite got no account: somebody was quicker, with the name or with the invite; or who has
/// made the invite may not make it any more.
async fn uninvited(
    app: &App,
    token: TokenHash,
    called: Vec<String>,
    now: Timestamp,
) -> Result<ApiError, ApiError> {
    let invite = app.store.invite_by_token(token).await?;
    if invite.is_some_and(|invite| invite.is_open(now)) {
        for name in called {
            if app.store.user_by_login(name).await?.is_some() {
                return Ok(super::people::taken());
            }
        }
    }
    Ok(super::invites::spent())
}

async fn first_key(app: &App, user: &User, author: Author) -> Result<String, ApiError> {
    let request = KeyRequest {
        name: "default".to_owned(),
        user: user.id,
        project: user.personal_project,
        expires_at: None,
        grants: KeyGrants::default(),
        author,
    };
    let (key, secret) = accounts::create_key(&*app.store, &app.hasher, request).await?;
    app.keys.created(&key.public_id);
    Ok(secret.expose().to_owned())
}

/// Who wants to enter.
pub(super) struct Login {
    name: String,
    password: Secret,
}

impl Input for Login {
    const NAME: &'static str = "Login";

    fn read(fields: &mut Fields) -> Option<Self> {
        let names = [
            fields.optional(
                "username",
                "The user name; this or the e-mail address",
                &TEXT,
            ),
            fields.optional("email", "The e-mail address; this or the user name", &TEXT),
        ];
        let password = fields.required("password", "The password", &SECRET);
        let ([Some(name), None] | [None, Some(name)]) = names else {
            if !fields.refused("username") && !fields.refused("email") {
                fields.refuse(
                    "username",
                    "a user name or an e-mail address is required, and only one",
                );
            }
            return None;
        };
        Some(Self {
            name,
            password: password?,
        })
    }

    fn example() -> Value {
        json!({ "username": "ada", "password": "correct horse battery" })
    }
}

/// Opens a session with a password.
///
/// The answer is the same for an unknown user, a wrong password and a disabled account.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    responses((status = 401, description = "Wrong user name or password"))
)]
pub(super) async fn login(
    State(app): State<App>,
    origin: Origin,
    Json(Login { name, password }): Json<Login>,
) -> Result<Answer<TokenPair>, ApiError> {
    enter(&app, &origin, &name, password).await
}

/// The password form of OAuth 2.
pub(super) struct PasswordGrant {
    username: Secret,
    password: Secret,
}

impl Input for PasswordGrant {
    const NAME: &'static str = "PasswordGrant";

    fn read(fields: &mut Fields) -> Option<Self> {
        const GRANT: Word<()> = Word::new(
            || vec!["password"],
            |word| (word == "password").then_some(()),
        );
        let username = fields.required("username", "The user name or e-mail address", &SECRET);
        let password = fields.required("password", "The password", &SECRET);
        fields.optional("grant_type", "The only one there is", &GRANT);
        // Who the client is and what it wants makes no difference here.
        fields.ignored(&["scope", "client_id", "client_secret"]);
        Some(Self {
            username: username?,
            password: password?,
        })
    }

    fn example() -> Value {
        json!({ "grant_type": "password", "username": "ada", "password": "correct horse battery" })
    }
}

/// Opens a session with the password form of OAuth 2.
#[utoipa::path(
    post,
    path = "/api/v1/auth/token",
    responses((status = 401, description = "Wrong user name or password"))
)]
pub(super) async fn token(
    State(app): State<App>,
    origin: Origin,
    Form(PasswordGrant { username, password }): Form<PasswordGrant>,
) -> Result<Answer<TokenPair>, ApiError> {
    enter(&app, &origin, username.expose(), password).await
}

/// The one answer for an unknown user, a wrong password and a disabled account.
fn wrong() -> ApiError {
    ApiError::unauthorized("wrong user name or password")
}

/// Checks a password and opens a session. The work is the same whether the user exists or not.
async fn enter(
    app: &App,
    origin: &Origin,
    name: &str,
    password: Secret,
) -> Result<Answer<TokenPair>, ApiError> {
    let name = accounts::login(name);
    let login = app.rates.logins.begin(origin.network, &name);
    let login = login.map_err(|exceeded| origin.refuse(&exceeded, "failed logins"))?;
    let record = app.store.user_by_login(name.clone()).await?;
    let kept = record.as_ref().and_then(|record| record.hash.clone());
    let known = record.as_ref().map(|record| record.user.id);
    let verdict = app.passwords.verify(password, kept).await?;
    let (Some(record), Verdict::Right { stronger }) = (record, verdict) else {
        tracing::info!(address = %origin.network, "login refused");
        origin.refused("invalid");
        login.failed();
        note_failure(app, origin, known).await?;
        return Err(wrong());
    };
    if record.user.disabled {
        tracing::info!(user = %record.user.id, "login of a disabled user refused");
        origin.refused("revoked");
        login.failed();
        note_failure(app, origin, known).await?;
        return Err(wrong());
    }
    let names = [&record.user.username, &record.user.email];
    login.succeeded(names.into_iter().flatten().map(String::as_str));
    let mut hashes = vec![record.hash.clone()];
    if let (Some(stronger), Some(hash)) = (stronger, record.hash) {
        hashes.push(Some(stronger.clone()));
        let replaced = app
            .store
            .replace_password_hash(record.user.id, hash, stronger);
        if let Err(error) = replaced.await {
            // The old hash still works; the next login tries again.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "hash not replaced"
            );
        }
    }
    let session = SessionId::new();
    let refresh = open(app, origin, &record.user, session).await?;
    // Another password ends the sessions there are. One that was opened meanwhile with the old one is ended here.
    let now = app.store.user_by_login(name).await?;
    let holds = now.is_some_and(|now| {
        now.user.id == record.user.id && !now.user.disabled && hashes.contains(&now.hash)
    });
    if !holds {
        let author = origin.author.clone();
        app.store
            .end_session(record.user.id, session, author)
            .await?;
        return Err(wrong());
    }
    Ok(Answer(pair(app, origin, &record.user, session, &refresh)?))
}

/// Opens a session.
pub(super) async fn open(
    app: &App,
    origin: &Origin,
    user: &User,
    id: SessionId,
) -> Result<RefreshToken, StoreError> {
    let now = app.clock.now();
    let refresh = RefreshToken::generate();
    let session = NewSession {
        id,
        user: user.id,
        token: refresh.hash(),
        idle_until: now.after(app.config.auth.refresh_idle()),
        ends_at: now.after(app.config.auth.refresh_total()),
        agent: origin.agent.clone(),
        author: Author {
            actor: Actor::User(user.id),
            ..origin.author.clone()
        },
    };
    app.store.create_session(session).await?;
    Ok(refresh)
}

/// Leaves an event of a failed login, of an unknown user too: it takes the same time. What was typed is not kept, since
/// it may be a password in the wrong field.
pub(super) async fn note_failure(
    app: &App,
    origin: &Origin,
    user: Option<UserId>,
) -> Result<(), ApiError> {
    let target = user.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
    let target = Target::new("user", target);
    let event = Event::new(&origin.author, Action::LoginFailed, target);
    Ok(app.store.note(event).await?)
}

/// Makes what is answered to who has entered.
pub(super) fn pair(
    app: &App,
    origin: &Origin,
    user: &User,
    session: SessionId,
    refresh: &RefreshToken,
) -> Result<TokenPair, ApiError> {
    let lifetime = app.config.auth.access_lifetime();
    let issued = app
        .issuer
        .issue_in(session, user.id, user.personal_project, user.role, lifetime)
        .map_err(|error| ApiError::defect(&error))?;
    let given_out = [&*issued.jwt, refresh.expose()];
    app.rates.given_out(origin.network, &given_out);
    Ok(TokenPair {
        access_token: issued.jwt,
        token_type: "bearer",
        expires_in: issued.expires_in.as_secs(),
        refresh_token: Some(refresh.expose().to_owned()),
    })
}

/// Takes the refresh token out of an answer and into a cookie, where no script has it.
pub(super) fn into_cookie(app: &App, pair: &mut TokenPair) -> Option<HeaderValue> {
    let token = pair.refresh_token.take()?;
    Some(cookies::REFRESH.set(app, &token, app.config.auth.refresh_idle()))
}

/// Who wants to go on, or to leave.
pub(super) struct Refresh {
    refresh_token: Option<Secret>,
}

/// A refresh token as it came.
struct Presented {
    token: Secret,
    in_cookie: bool,
}

impl Input for Refresh {
    const NAME: &'static str = "Refresh";

    fn read(fields: &mut Fields) -> Option<Self> {
        let refresh_token = fields.optional(
            "refresh_token",
            "The refresh token of the session; needed where no cookie has it",
            &SECRET,
        );
        Some(Self { refresh_token })
    }

    fn example() -> Value {
        json!({ "refresh_token": "lgr_…" })
    }
}

impl Refresh {
    /// Takes the token of the body, else that of the cookie. A cookie alone is no request of ours: a body of JSON is
    /// what no other site can make a browser send.
    fn presented(self, RefreshCookie(cookie): RefreshCookie) -> Result<Presented, ApiError> {
        let in_cookie = self.refresh_token.is_none();
        let token = self.refresh_token.or(cookie);
        let token = token.ok_or_else(|| ApiError::in_body("refresh_token", "is required"))?;
        Ok(Presented { token, in_cookie })
    }
}

/// Changes a refresh token into a new pair.
///
/// The old one is spent. Using it again ends the session. One that came in a cookie is answered in a cookie.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    responses((status = 401, description = "Missing or invalid refresh token"))
)]
pub(super) async fn refresh(
    State(app): State<App>,
    origin: Origin,
    cookie: RefreshCookie,
    Json(refresh): Json<Refresh>,
) -> Result<WithCookies<Answer<TokenPair>>, ApiError> {
    let given = refresh.presented(cookie)?;
    let attempt = present(&app, &origin, &given.token)?;
    match rotate(&app, &origin, &given.token).await? {
        Some((user, session, new)) => {
            if let Some(attempt) = attempt {
                attempt.recognised();
            }
            let mut pair = pair(&app, &origin, &user, session, &new)?;
            let cookie = if given.in_cookie {
                into_cookie(&app, &mut pair)
            } else {
                None
            };
            Ok(WithCookies(Answer(pair), cookie.into_iter().collect()))
        }
        None => {
            origin.refused("invalid");
            if let Some(attempt) = attempt {
                attempt.failed();
            }
            Err(ApiError::unauthorized("missing or invalid refresh token"))
        }
    }
}

/// Asks whether a refresh token may be looked up.
fn present(app: &App, origin: &Origin, given: &Secret) -> Result<Option<Attempt>, ApiError> {
    let attempt = app.rates.admit(origin.network, given.expose());
    attempt.map_err(|exceeded| origin.refuse(&exceeded, "wrong credentials from this address"))
}

/// Puts a new refresh token in place of the old one, if that is good.
///
/// Tabs that refresh at once with the same token all get the same new one.
async fn rotate(
    app: &App,
    origin: &Origin,
    given: &Secret,
) -> Result<Option<(User, SessionId, RefreshToken)>, ApiError> {
    let Ok(old) = RefreshToken::parse(given.expose()) else {
        return Ok(None);
    };
    let now = origin.author.at;
    let new = old.successor(&app.hasher);
    let rotating = Rotating {
        old: old.hash(),
        new: new.hash(),
        author: origin.author.clone(),
        idle_until: now.after(app.config.auth.refresh_idle()),
        grace: GRACE,
    };
    match app.store.rotate_session(rotating).await? {
        Rotation::Rotated(session) => {
            let user = app.store.user(session.user).await?;
            let user = user.filter(|user| !user.disabled);
            Ok(user.map(|user| (user, session.id, new)))
        }
        Rotation::Reused(session) => {
            tracing::warn!(user = %session.user, session = %session.id, "a spent refresh token came back; its session has ended");
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Ends the session.
///
/// A token that is none has no session that could go on. One that came in a cookie is taken out of it.
#[utoipa::path(post, path = "/api/v1/auth/logout")]
pub(super) async fn logout(
    State(app): State<App>,
    origin: Origin,
    cookie: RefreshCookie,
    Json(refresh): Json<Refresh>,
) -> Result<WithCookies<NoContent>, ApiError> {
    let Presented { token, in_cookie } = refresh.presented(cookie)?;
    // Whether there was a session is not told, so it counts for nothing once it is over.
    let _attempt = present(&app, &origin, &token)?;
    if let Ok(token) = RefreshToken::parse(token.expose()) {
        app.store
            .revoke_session(token.hash(), origin.author)
            .await?;
    }
    let gone = in_cookie.then(|| cookies::REFRESH.clear(&app));
    Ok(WithCookies(NoContent, gone.into_iter().collect()))
}

/// Tells who is calling, and by which credential.
#[utoipa::path(get, path = "/api/v1/auth/check")]
pub(super) async fn check(caller: Anyone) -> Answer<Identity> {
    let Anyone::Account { principal, user } = caller else {
        return Answer(Identity {
            authenticated: true,
            user_id: None,
            username: None,
            email: None,
            role: Role::Admin,
            project_id: None,
            credential: "operator",
            key_id: None,
        });
    };
    let (credential, key_id) = match principal.credential {
        Credential::Key(key) => ("api_key", Some(key)),
        Credential::Foreign => ("foreign", None),
        _ => ("session", None),
    };
    Answer(Identity {
        authenticated: true,
        user_id: Some(user.id),
        username: user.username,
        email: user.email,
        role: user.role,
        project_id: Some(principal.project),
        credential,
        key_id,
    })
}
