//! What a server relies on at compile time: layers and services that clone and cross threads, and futures
//! and bodies that can be spawned.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use llm_gate::body::GateBody;
use llm_gate::call::{
    Call, CallFuture, CallLayer, CallService, EditLayer, EditService, Model, Models,
};
use llm_gate::ledger::{Ledger, Reservation, Reserving};
use llm_gate::meter::{MeterBody, MeterFuture, TokenMeterLayer, TokenMeterService};
use llm_gate::proxy::{ProxyBody, ProxyFuture, Upstream, VllmProxyService};
use llm_gate::quota::{QuotaBody, QuotaFuture, QuotaLayer, QuotaService};
use llm_gate::store::{LedgerStore, MemoryStore, Store};
use llm_gate::test_util::{ManualClock, ScriptedBody};
use llm_gate::tokens::Metered;
use static_assertions::{assert_impl_all, assert_obj_safe};
use tower::util::BoxCloneSyncService;

type Body = Full<Bytes>;
type Inner = BoxCloneSyncService<Request<Body>, Response<ScriptedBody>, Infallible>;

// Layers and services: shared by connections on many threads.
assert_impl_all!(CallLayer: Clone, Send, Sync);
assert_impl_all!(EditLayer: Clone, Send, Sync);
assert_impl_all!(QuotaLayer: Clone, Send, Sync);
assert_impl_all!(TokenMeterLayer: Clone, Send, Sync);
assert_impl_all!(CallService<Inner>: Clone, Send, Sync);
assert_impl_all!(EditService<Inner>: Clone, Send, Sync);
assert_impl_all!(QuotaService<Inner>: Clone, Send, Sync);
assert_impl_all!(TokenMeterService<Inner>: Clone, Send, Sync);
assert_impl_all!(VllmProxyService: Clone, Send, Sync);

// What they share.
assert_impl_all!(Call: Clone, Send, Sync);
assert_impl_all!(Ledger: Clone, Send, Sync);
assert_impl_all!(ManualClock: Clone, Send, Sync);
assert_impl_all!(MemoryStore: Store, Send, Sync);
assert_impl_all!(Metered: Clone, Send, Sync);
assert_impl_all!(Model: Clone, Send, Sync);
assert_impl_all!(Models: Clone, Send, Sync);
assert_impl_all!(Upstream: Clone, Send, Sync);
assert_obj_safe!(LedgerStore);

// Futures and bodies: moved between threads by the runtime.
assert_impl_all!(CallFuture<Body, Inner>: Send);
assert_impl_all!(MeterFuture<ProxyFuture, ProxyBody>: Send);
assert_impl_all!(ProxyFuture: Send);
assert_impl_all!(QuotaFuture<Body, Inner>: Send);
assert_impl_all!(Reserving: Send, Unpin);
assert_impl_all!(Reservation: Send);
assert_impl_all!(GateBody<QuotaBody<MeterBody<GateBody<ProxyBody>>>>: Send);

#[test]
fn services_of_a_layer_are_spawnable() {
    fn spawnable<T: Send + 'static>() {}
    spawnable::<QuotaService<TokenMeterService<VllmProxyService>>>();
}
