use std::future::Future;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llm_gate::identity::{Principal, Scope};
use utoipa::ToSchema;

use super::{Access, Sketch};
use crate::api::caller::{
    Account, Admin, AdminAccount, Anyone, By, Lister, Login, Origin, Reader, Steward,
};
use crate::api::error::ApiError;
use crate::api::fields::{Form, Input, Json, JsonDraft, JsonOrQuery, Path, Place, Query};
use crate::api::taker::Taker;
use crate::app::App;

/// Something a handler takes, and what that says of its operation.
pub(in crate::api) trait Part {
    fn describe(sketch: &mut Sketch);
}

/// Something a handler returns, and what that says of its operation.
pub(in crate::api) trait Reply {
    fn describe(sketch: &mut Sketch);
}

/// A handler all of whose arguments and answers can be described.
pub(in crate::api) trait Describe<Arguments> {
    fn describe(sketch: &mut Sketch);
}

/// Returns what describes `handler`.
pub(in crate::api) fn described<A, H: Describe<A>>(_handler: &H) -> fn(&mut Sketch) {
    H::describe
}

macro_rules! handlers {
    ($($part:ident)*) => {
        impl<H, F, $($part),*> Describe<($($part,)*)> for H
        where
            H: Fn($($part),*) -> F,
            F: Future,
            F::Output: Reply,
            $($part: Part,)*
        {
            fn describe(sketch: &mut Sketch) {
                $($part::describe(sketch);)*
                F::Output::describe(sketch);
            }
        }
    };
}
handlers!();
handlers!(A);
handlers!(A B);
handlers!(A B C);
handlers!(A B C D);
handlers!(A B C D E);
handlers!(A B C D E G);

impl Part for State<App> {
    fn describe(_: &mut Sketch) {}
}

impl Part for Origin {
    fn describe(_: &mut Sketch) {}
}

impl<T> Part for Path<T> {
    // The path itself names them.
    fn describe(_: &mut Sketch) {}
}

impl Part for By {
    fn describe(_: &mut Sketch) {}
}

impl Part for Taker {
    fn describe(_: &mut Sketch) {}
}

impl Part for http::HeaderMap {
    fn describe(_: &mut Sketch) {}
}

impl Part for Extension<Principal> {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Account(Scope::Models));
    }
}

impl Part for Anyone {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Anyone(None));
    }
}

impl Part for Lister {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Anyone(Some(Scope::Models)));
    }
}

impl Part for Account {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Account(Scope::Manage));
    }
}

impl Part for Steward {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Anyone(Some(Scope::Manage)));
    }
}

impl Part for Reader {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Account(Scope::Usage));
    }
}

impl Part for Login {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Login);
    }
}

impl Part for Admin {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::Admin);
    }
}

impl Part for AdminAccount {
    fn describe(sketch: &mut Sketch) {
        sketch.access(Access::AdminAccount);
    }
}

impl<T: Input> Part for Json<T> {
    fn describe(sketch: &mut Sketch) {
        sketch.body::<T>(Place::Json, true);
    }
}

impl<T: Input> Part for JsonDraft<T> {
    fn describe(sketch: &mut Sketch) {
        sketch.body::<T>(Place::Json, true);
    }
}

impl<T: Input> Part for Form<T> {
    fn describe(sketch: &mut Sketch) {
        sketch.body::<T>(Place::Form, true);
    }
}

impl<T: Input> Part for Query<T> {
    fn describe(sketch: &mut Sketch) {
        sketch.query::<T>(false);
    }
}

impl<T: Input> Part for JsonOrQuery<T> {
    fn describe(sketch: &mut Sketch) {
        sketch.body::<T>(Place::Json, false);
        sketch.query::<T>(true);
    }
}

impl<T: Reply> Reply for Result<T, ApiError> {
    fn describe(sketch: &mut Sketch) {
        T::describe(sketch);
        sketch.refusal(503);
    }
}

impl<T: ToSchema> Reply for axum::Json<T> {
    fn describe(sketch: &mut Sketch) {
        sketch.answer_json::<T>(StatusCode::OK, "Done");
    }
}

/// 201 with what was made.
pub(in crate::api) struct Created<T>(pub(in crate::api) T);

impl<T: serde::Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

impl<T: ToSchema> Reply for Created<T> {
    fn describe(sketch: &mut Sketch) {
        sketch.answer_json::<T>(StatusCode::CREATED, "Made");
    }
}

/// 202: it will be done.
pub(in crate::api) struct Accepted;

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        StatusCode::ACCEPTED.into_response()
    }
}

impl Reply for Accepted {
    fn describe(sketch: &mut Sketch) {
        sketch.answer(StatusCode::ACCEPTED, "It will be done", []);
    }
}

/// 204.
pub(in crate::api) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Reply for NoContent {
    fn describe(sketch: &mut Sketch) {
        sketch.answer(StatusCode::NO_CONTENT, "Done", []);
    }
}
