//! What the gate is, and which models there are.

use jiff::Timestamp as Moment;
use serde::Serialize;
use utoipa::ToSchema;

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
