//! The JSON that goes out. Nothing here can hold a secret but [`IssuedKey`] and [`TokenPair`].

use std::time::Duration;

use std::net::IpAddr;

use jiff::Timestamp as Moment;
use llm_gate::auth::ApiKeySecret;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{
    ConversationId, EventId, InviteId, KeyId, Network, ProjectId, RequestId, Role, Scope,
    SessionId, UserId,
};
use llm_gate::store::{
    Action, ApiKey, CallRecord, Ending, Event, Finding, Identity as Identified, Invite, Limit,
    Member, Membership, Period, Price, ProjectRole, Session, Source, Standing, Unit, User,
    UserKind,
};
use llm_gate::tokens::{Amount, Tokens};
use llm_gate::upstream::UpstreamName;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::words;
use crate::oauth::Providers;

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(required)]
    username: Option<String>,
    #[schema(required)]
    email: Option<String>,
    /// Whether the address was confirmed.
    email_verified: bool,
    #[schema(required)]
    name: Option<String>,
    #[schema(schema_with = words::role)]
    role: Role,
    /// Whether the user may do nothing any more.
    disabled: bool,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    token_limit: Option<Tokens>,
    #[schema(value_type = i64, minimum = 0)]
    tokens_used: Tokens,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
}

impl UserView {
    pub(crate) fn new(user: User, standing: &Standing) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            email_verified: user.email_verified,
            name: user.name,
            role: user.role,
            disabled: user.disabled,
            token_limit: standing.limit,
            tokens_used: standing.used,
            created_at: moment(user.created_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct MeView {
    #[serde(flatten)]
    pub(crate) user: UserView,
    #[schema(value_type = String, format = Uuid)]
    pub(crate) default_project_id: ProjectId,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    #[schema(value_type = String, format = Uuid)]
    pub(crate) id: UserId,
    #[schema(required)]
    pub(crate) username: Option<String>,
    #[schema(required)]
    pub(crate) email: Option<String>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    pub(crate) token_limit: Option<Tokens>,
    #[schema(value_type = i64, minimum = 0)]
    pub(crate) tokens_used: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageView {
    #[schema(value_type = i64, minimum = 0)]
    tokens_used: Tokens,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    token_limit: Option<Tokens>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    remaining: Option<Tokens>,
    #[schema(value_type = i64, minimum = 0)]
    reserved: Tokens,
}

impl From<Standing> for UsageView {
    fn from(standing: Standing) -> Self {
        Self {
            tokens_used: standing.used,
            token_limit: standing.limit,
            remaining: standing.remaining(),
            reserved: standing.reserved,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct TokenPair {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    pub(crate) expires_in: u64,
    /// Missing where it is in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

/// Where to log in with another provider.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuthUrl {
    pub(crate) auth_url: String,
}

/// A login with another provider that leads to an account.
#[derive(Serialize, ToSchema)]
#[schema(as = LinkedIdentity)]
pub(crate) struct IdentityView {
    id: Uuid,
    /// The provider as it is called here; null if it is not known any more.
    #[schema(required)]
    provider: Option<String>,
    /// The provider as it calls itself.
    issuer: String,
    /// Who it is there.
    subject: String,
}

impl IdentityView {
    pub(crate) fn new(identity: Identified, providers: &Providers) -> Self {
        let provider = providers.of_issuer(&identity.issuer);
        Self {
            id: Self::id(&identity),
            provider: provider.map(|provider| provider.name().to_owned()),
            issuer: identity.issuer,
            subject: identity.subject,
        }
    }

    /// Names it, always the same: a hash of both parts.
    pub(crate) fn id(identity: &Identified) -> Uuid {
        let hash = Sha256::new()
            .chain_update(identity.issuer.len().to_be_bytes())
            .chain_update(&identity.issuer)
            .chain_update(&identity.subject)
            .finalize();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(hash) {
            *to = from;
        }
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// The logins with other providers that lead to an account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identities {
    pub(crate) identities: Vec<IdentityView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    #[schema(value_type = String, format = Uuid)]
    id: KeyId,
    name: String,
    prefix: String,
    /// What it may be used for.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// The models it may call; null for all.
    #[schema(required)]
    models: Option<Vec<String>>,
    /// The networks it may be used from; null for any.
    #[schema(required, value_type = Option<Vec<String>>)]
    networks: Option<Vec<Network>>,
    /// Whose calls it makes.
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Moment>,
    revoked: bool,
    clamps: bool,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: format!("lg_{}", key.public_id),
            scopes: key.grants.scopes,
            models: key.grants.models,
            networks: key.grants.networks,
            user_id: key.user,
            created_at: moment(key.created_at),
            expires_at: key.expires_at.and_then(moment),
            last_used_at: key.last_used_at.and_then(moment),
            revoked: key.revoked_at.is_some(),
            clamps: key.grants.clamps,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedKey {
    #[serde(flatten)]
    pub(crate) key: KeyView,
    /// Shown this once.
    pub(crate) api_key: String,
}

impl IssuedKey {
    pub(crate) fn new(key: ApiKey, secret: &ApiKeySecret) -> Self {
        Self {
            key: key.into(),
            api_key: secret.expose().to_owned(),
        }
    }
}

/// One of the own sessions.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    #[schema(value_type = String, format = Uuid)]
    id: SessionId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    refreshed_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    ends_at: Option<Moment>,
    /// From where it was made.
    #[schema(required, value_type = Option<String>)]
    address: Option<IpAddr>,
    /// What the client calls itself.
    #[schema(required)]
    agent: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

impl SessionView {
    pub(crate) fn new(session: Session, current: Option<SessionId>) -> Self {
        Self {
            current: current == Some(session.id),
            id: session.id,
            created_at: moment(session.created_at),
            refreshed_at: moment(session.refreshed_at),
            ends_at: moment(session.ends_at),
            address: session.address,
            agent: session.agent,
        }
    }
}

/// The own sessions, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    pub(crate) sessions: Vec<SessionView>,
}

/// A member of a project.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberView {
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    /// `person` or `service`.
    #[schema(value_type = String)]
    kind: UserKind,
    #[schema(required)]
    username: Option<String>,
    #[schema(required)]
    email: Option<String>,
    #[schema(required)]
    name: Option<String>,
    #[schema(schema_with = words::project_role)]
    role: ProjectRole,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    since: Option<Moment>,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user.id,
            kind: member.user.kind,
            username: member.user.username,
            email: member.user.email,
            name: member.user.name,
            role: member.role,
            since: moment(member.since),
        }
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub(crate) struct Members {
    pub(crate) members: Vec<MemberView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<UserId>,
}

/// A service account.
#[derive(Serialize, ToSchema)]
#[schema(as = Service)]
pub(crate) struct ServiceView {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[schema(required)]
    name: Option<String>,
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
}

impl From<User> for ServiceView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            project_id: user.personal_project,
            created_at: moment(user.created_at),
        }
    }
}

/// An invite.
#[derive(Serialize, ToSchema)]
#[schema(as = Invite)]
pub(crate) struct InviteView {
    #[schema(value_type = String, format = Uuid)]
    id: InviteId,
    email: String,
    #[schema(schema_with = words::role)]
    role: Role,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    #[schema(required, value_type = Option<String>)]
    project_role: Option<ProjectRole>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
    /// Who made it; null for the operator and the command line.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    created_by: Option<UserId>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    accepted_at: Option<Moment>,
    revoked: bool,
}

impl From<Invite> for InviteView {
    fn from(invite: Invite) -> Self {
        Self {
            id: invite.id,
            email: invite.email,
            role: invite.role,
            project_id: invite.project.map(|(project, _)| project),
            project_role: invite.project.map(|(_, role)| role),
            created_at: moment(invite.created_at),
            created_by: invite.created_by,
            expires_at: moment(invite.expires_at),
            accepted_at: invite.accepted.and_then(|(at, _)| moment(at)),
            revoked: invite.revoked_at.is_some(),
        }
    }
}

/// An invite and its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedInvite {
    #[serde(flatten)]
    invite: InviteView,
    /// Shown this once, to admins of the platform; null for others, because it is for the reader of the address.
    #[schema(required)]
    token: Option<String>,
}

impl IssuedInvite {
    pub(crate) fn new(invite: Invite, token: Option<&str>) -> Self {
        Self {
            invite: invite.into(),
            token: token.map(str::to_owned),
        }
    }
}

/// A page of invites, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invites {
    pub(crate) invites: Vec<InviteView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<InviteId>,
}

/// Something that was done.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView {
    #[schema(value_type = String, format = Uuid)]
    id: EventId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    at: Option<Moment>,
    /// `system`, `anonymous`, `operator`, `user` or `key`.
    actor: &'static str,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    actor_id: Option<UserId>,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    key_id: Option<KeyId>,
    #[schema(required, value_type = Option<String>)]
    address: Option<IpAddr>,
    #[schema(required)]
    request_id: Option<String>,
    #[schema(value_type = String)]
    action: Action,
    /// What it was done to: a kind.
    target: String,
    target_id: String,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    /// What was different before; null where it did not exist.
    #[schema(value_type = Option<Object>)]
    before: Value,
    /// What is different now; null where it does not exist any more.
    #[schema(value_type = Option<Object>)]
    after: Value,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        let (actor, actor_id, key_id) = event.author.actor.parts();
        Self {
            id: event.id,
            at: moment(event.author.at),
            actor,
            actor_id,
            key_id,
            address: event.author.address,
            request_id: event.author.request,
            action: event.action,
            target: event.target.kind,
            target_id: event.target.id,
            project_id: event.project,
            before: event.before,
            after: event.after,
        }
    }
}

/// A page of events, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    pub(crate) events: Vec<EventView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<EventId>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectView {
    #[schema(value_type = String, format = Uuid)]
    id: ProjectId,
    name: String,
    #[schema(schema_with = words::project_role)]
    role: ProjectRole,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
}

impl From<Membership> for ProjectView {
    fn from(membership: Membership) -> Self {
        Self {
            id: membership.project.id,
            name: membership.project.name,
            role: membership.role,
            created_at: moment(membership.project.created_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitView {
    #[schema(schema_with = words::subject)]
    subject: &'static str,
    /// Null for each one of the kind that has no limit of its own in place of this.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    id: Option<Uuid>,
    #[schema(required)]
    model: Option<String>,
    #[schema(schema_with = words::unit)]
    unit: Unit,
    #[schema(schema_with = words::period)]
    period: Period,
    zone: String,
    #[schema(value_type = i64, minimum = 0)]
    amount: Amount,
    /// Whether those have set it whom it binds: it gives way to a stricter one for each of the kind.
    voluntary: bool,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    used: Option<Amount>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    reserved: Option<Amount>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    overage: Option<Amount>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    remaining: Option<Amount>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    resets_at: Option<Moment>,
}

impl LimitView {
    /// Names the limit: there is one under each name.
    pub(crate) fn name(&self) -> String {
        let id = self.id.unwrap_or_default();
        let model = self.model.as_deref().unwrap_or_default();
        format!(
            "{}:{id}:{}:{}:{model}",
            self.subject, self.unit, self.period
        )
    }

    /// Shows a limit, and how somebody stands on it.
    pub(crate) fn new(limit: &Limit, standing: Option<&Standing>) -> Self {
        let key = &limit.key;
        let (subject, id) = key.subject.parts();
        Self {
            subject,
            id: Some(*id).filter(|id| !id.is_nil()),
            model: key.model.as_deref().map(str::to_owned),
            unit: key.unit,
            period: key.period,
            zone: limit.zone.name().to_owned(),
            amount: limit.amount,
            voluntary: limit.voluntary,
            used: standing.map(|standing| standing.used),
            reserved: standing.map(|standing| standing.reserved),
            overage: standing.map(|standing| standing.overage),
            remaining: standing.and_then(Standing::remaining),
            resets_at: standing.and_then(|standing| moment(standing.resets?)),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
pub(crate) struct PriceView {
    model: String,
    #[schema(required)]
    prompt: Option<u64>,
    #[schema(required)]
    completion: Option<u64>,
    #[schema(required)]
    cached: Option<u64>,
    weight_prompt: u64,
    weight_completion: u64,
    weight_cached: u64,
}

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        let (weights, rates) = (price.tariff.weights, price.tariff.price);
        Self {
            model: price.model.clone(),
            prompt: rates.map(|rates| rates.prompt),
            completion: rates.map(|rates| rates.completion),
            cached: rates.map(|rates| rates.cached),
            weight_prompt: weights.prompt,
            weight_completion: weights.completion,
            weight_cached: weights.cached,
        }
    }
}

/// A reservation on record.
#[derive(Serialize, ToSchema)]
#[schema(as = Reservation)]
pub(crate) struct CallView {
    #[schema(value_type = String, format = Uuid)]
    id: RequestId,
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    #[schema(value_type = String, format = Uuid)]
    project_id: ProjectId,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    key_id: Option<KeyId>,
    #[schema(required, value_type = Option<String>)]
    session_id: Option<ConversationId>,
    route: String,
    model: String,
    stream: bool,
    state: &'static str,
    #[schema(value_type = i64, minimum = 0)]
    hold: Tokens,
    #[schema(value_type = i64, minimum = 0)]
    charged: Tokens,
    #[schema(value_type = i64, minimum = 0)]
    overage: Tokens,
    #[schema(value_type = i64, minimum = 0)]
    cost: Amount,
    #[schema(required, schema_with = words::source)]
    source: Option<Source>,
    #[schema(required, schema_with = words::ending)]
    ending: Option<Ending>,
    status: u16,
    #[schema(required, value_type = Option<String>)]
    upstream: Option<UpstreamName>,
    request_bytes: u64,
    #[schema(required)]
    response_bytes: Option<u64>,
    #[schema(required)]
    first_data_us: Option<u64>,
    #[schema(required)]
    total_us: Option<u64>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Moment>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    ended_at: Option<Moment>,
}

impl From<CallRecord> for CallView {
    fn from(call: CallRecord) -> Self {
        let settlement = call.state.settlement();
        let served = call.served.as_ref();
        Self {
            id: call.id,
            user_id: call.user,
            project_id: call.project,
            key_id: call.key,
            session_id: call.session,
            route: call.route.into_owned(),
            model: call.model,
            stream: call.stream,
            state: call.state.as_str(),
            hold: call.hold,
            charged: settlement.charged,
            overage: settlement.overage,
            cost: settlement.cost,
            source: call.source,
            ending: call.ending,
            status: call.status,
            upstream: served.and_then(|served| served.upstream.clone()),
            request_bytes: call.request_bytes,
            response_bytes: served.map(|served| served.response_bytes),
            first_data_us: served.and_then(|served| served.first_data.map(micros)),
            total_us: served.map(|served| micros(served.total)),
            created_at: moment(call.created_at),
            ended_at: call.ended_at.and_then(moment),
        }
    }
}

/// Something that is wrong with the books.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingView {
    kind: &'static str,
    message: String,
    #[schema(required)]
    ledger_row: Option<i64>,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    writer: Option<Uuid>,
    #[schema(required)]
    sequence: Option<i64>,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    reservation: Option<RequestId>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        let line = finding.line();
        let place = match finding {
            // Where the end is missing there is no line to name.
            Finding::Gap { writer, first, .. } => Some((*writer, *first)),
            _ => line.map(|line| (line.writer, line.sequence)),
        };
        Self {
            kind: finding.kind(),
            message: finding.to_string(),
            ledger_row: line.map(|line| line.id),
            writer: place.map(|(writer, _)| writer),
            sequence: place.map(|(_, sequence)| sequence),
            reservation: finding.request(),
        }
    }
}

/// Null for a moment outside the years that can be written.
pub(crate) fn moment(at: Timestamp) -> Option<Moment> {
    Moment::from_microsecond(at.as_micros()).ok()
}

/// Writes a time in whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A page of users.
#[derive(Serialize, ToSchema)]
pub(crate) struct Users {
    pub(crate) users: Vec<UserView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<UserId>,
}

/// A page of the projects of the caller.
#[derive(Serialize, ToSchema)]
pub(crate) struct Projects {
    pub(crate) projects: Vec<ProjectView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<ProjectId>,
}

/// A page of keys in a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<KeyView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<KeyId>,
}

/// A page of limits in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    pub(crate) limits: Vec<LimitView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// A page of prices.
#[derive(Serialize, ToSchema)]
pub(crate) struct Prices {
    pub(crate) prices: Vec<PriceView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// A page of reservations whose charge is presumed, the oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Presumed {
    pub(crate) presumed: Vec<CallView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<RequestId>,
}

/// Whether the books balance.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verified {
    pub(crate) clean: bool,
    pub(crate) counters: u64,
    pub(crate) ledger_rows: u64,
    pub(crate) writers: u64,
    pub(crate) reservations: u64,
    pub(crate) pending: u64,
    /// The first 1,000.
    pub(crate) findings: Vec<FindingView>,
    pub(crate) total_findings: u64,
}

/// Who is calling, and with what.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identity {
    /// Always true; who is nobody gets a 401.
    pub(crate) authenticated: bool,
    /// Null for the operator key, which has no account.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    pub(crate) user_id: Option<UserId>,
    #[schema(required)]
    pub(crate) username: Option<String>,
    #[schema(required)]
    pub(crate) email: Option<String>,
    #[schema(schema_with = words::role)]
    pub(crate) role: Role,
    /// The project calls are made for.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    pub(crate) project_id: Option<ProjectId>,
    /// `session`, `foreign`, `api_key` or `operator`.
    pub(crate) credential: &'static str,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    pub(crate) key_id: Option<KeyId>,
}

/// The models there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelNames {
    pub(crate) provider: String,
    /// The one that is used where a call names none.
    #[schema(required)]
    pub(crate) current: Option<String>,
    pub(crate) models: Vec<String>,
}

/// Whether the gateway can serve.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// The status of the answer.
    pub(crate) code: u16,
    pub(crate) message: &'static str,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub(crate) timestamp: Option<Moment>,
    /// `healthy`, `degraded` or `unhealthy`.
    pub(crate) status: &'static str,
}

/// What this is.
#[derive(Serialize, ToSchema)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// A model as OpenAI has it.
#[derive(Serialize, ToSchema)]
#[schema(as = Model)]
pub(crate) struct ModelView {
    pub(crate) id: String,
    /// `model`.
    pub(crate) object: &'static str,
    pub(crate) created: i64,
    pub(crate) owned_by: String,
    #[schema(required)]
    pub(crate) max_model_len: Option<u64>,
}

/// The models as OpenAI lists them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Models {
    /// `list`.
    pub(crate) object: &'static str,
    pub(crate) data: Vec<ModelView>,
}
