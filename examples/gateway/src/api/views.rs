//! The JSON that goes out. Nothing here can hold a secret but [`IssuedKey`] and [`TokenPair`].

use std::time::Duration;

use jiff::Timestamp as Moment;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{ConversationId, KeyId, ProjectId, RequestId, Role, UserId};
use llm_gate::store::{
    ApiKey, CallRecord, Ending, Finding, Limit, Membership, Period, Price, ProjectRole, Source,
    Standing, Unit, User,
};
use llm_gate::tokens::{Amount, Tokens};
use llm_gate::upstream::UpstreamName;
use serde::Serialize;
use uuid::Uuid;

#[derive(Serialize)]
pub(crate) struct UserView {
    id: UserId,
    username: Option<String>,
    email: Option<String>,
    role: Role,
    token_limit: Option<Tokens>,
    tokens_used: Tokens,
    created_at: Option<Moment>,
}

impl UserView {
    pub(crate) fn new(user: User, standing: &Standing) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            role: user.role,
            token_limit: standing.limit,
            tokens_used: standing.used,
            created_at: moment(user.created_at),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct MeView {
    #[serde(flatten)]
    pub(crate) user: UserView,
    pub(crate) default_project_id: ProjectId,
}

#[derive(Serialize)]
pub(crate) struct Registered {
    pub(crate) id: UserId,
    pub(crate) username: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) token_limit: Option<Tokens>,
    pub(crate) tokens_used: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct UsageView {
    tokens_used: Tokens,
    token_limit: Option<Tokens>,
    remaining: Option<Tokens>,
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

#[derive(Serialize)]
pub(crate) struct TokenPair {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    pub(crate) expires_in: u64,
    pub(crate) refresh_token: String,
}

#[derive(Serialize)]
pub(crate) struct KeyView {
    id: KeyId,
    name: String,
    prefix: String,
    /// Empty: a key may do what its user may. Narrower keys are still to come.
    scopes: [&'static str; 0],
    expires_at: Option<Moment>,
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
            scopes: [],
            expires_at: key.expires_at.and_then(moment),
            last_used_at: key.last_used_at.and_then(moment),
            revoked: key.revoked_at.is_some(),
            clamps: key.clamps,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct IssuedKey {
    #[serde(flatten)]
    pub(crate) key: KeyView,
    /// Shown this once.
    pub(crate) api_key: String,
}

#[derive(Serialize)]
pub(crate) struct ProjectView {
    id: ProjectId,
    name: String,
    role: ProjectRole,
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

#[derive(Serialize)]
pub(crate) struct LimitView {
    subject: &'static str,
    /// Null for each one of the kind that has no limit of its own in place of this.
    id: Option<Uuid>,
    model: Option<String>,
    unit: Unit,
    period: Period,
    zone: String,
    amount: Amount,
    used: Option<Amount>,
    reserved: Option<Amount>,
    overage: Option<Amount>,
    remaining: Option<Amount>,
    resets_at: Option<Moment>,
}

impl LimitView {
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
            used: standing.map(|standing| standing.used),
            reserved: standing.map(|standing| standing.reserved),
            overage: standing.map(|standing| standing.overage),
            remaining: standing.and_then(Standing::remaining),
            resets_at: standing.and_then(|standing| moment(standing.resets?)),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct PriceView {
    model: String,
    prompt: Option<u64>,
    completion: Option<u64>,
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
#[derive(Serialize)]
pub(crate) struct CallView {
    id: RequestId,
    user_id: UserId,
    project_id: ProjectId,
    key_id: Option<KeyId>,
    session_id: Option<ConversationId>,
    route: String,
    model: String,
    stream: bool,
    state: &'static str,
    hold: Tokens,
    charged: Tokens,
    overage: Tokens,
    cost: Amount,
    source: Option<Source>,
    ending: Option<Ending>,
    status: u16,
    upstream: Option<UpstreamName>,
    request_bytes: u64,
    response_bytes: Option<u64>,
    first_data_us: Option<u64>,
    total_us: Option<u64>,
    created_at: Option<Moment>,
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
#[derive(Serialize)]
pub(crate) struct FindingView {
    kind: &'static str,
    message: String,
    ledger_row: Option<i64>,
    writer: Option<Uuid>,
    sequence: Option<i64>,
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
