//! What stands in the books.

use jiff::Timestamp as Moment;
use llm_gate::identity::{ConversationId, KeyId, ProjectId, RequestId, UserId};
use llm_gate::store::{CallRecord, Ending, Finding, Source};
use llm_gate::tokens::{Amount, Tokens};
use llm_gate::upstream::UpstreamName;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{micros, moment};
use crate::api::words;

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
