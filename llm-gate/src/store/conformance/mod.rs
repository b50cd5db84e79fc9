//! The suite that every backend passes: what the storage traits promise, one rule a function.
//!
//! The rules stand in one module per trait and ask for that trait only, or for what they cannot do
//! without: a store of your own that implements [`LedgerStore`](super::LedgerStore) alone runs the rules
//! of [`ledger`]. Rules that hold between traits are in [`together`].
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each rule, so that a failure has the
//! name of the rule that is broken. It needs `tokio` with the features `macros` and `rt-multi-thread` among
//! the dev-dependencies. The maker is called once a rule and gives an empty store.
//!
//! ```
//! use llm_gate::store::MemoryStore;
//!
//! mod memory {
//!     async fn make() -> llm_gate::store::MemoryStore {
//!         llm_gate::store::MemoryStore::new()
//!     }
//!
//!     llm_gate::conformance_tests!(super::make);
//! }
//!
//! // The same in one go, or for one trait only:
//! # async fn doc() {
//! use llm_gate::store::conformance;
//!
//! conformance::all(|| async { MemoryStore::new() }).await;
//! conformance::ledger::all(|| async { MemoryStore::new() }).await;
//! # }
//! ```

pub mod audit;
pub mod credentials;
pub mod events;
pub mod ledger;
pub mod projects;
pub mod sessions;
mod support;
pub mod together;
pub mod usage;
pub mod users;

use super::Store;

/// Runs every rule of every trait, each on a store of its own.
///
/// # Panics
///
/// Panics when a rule is broken.
pub async fn all<S: Store, F: Future<Output = S>>(make: impl Fn() -> F) {
    users::all(&make).await;
    projects::all(&make).await;
    credentials::all(&make).await;
    sessions::all(&make).await;
    events::all(&make).await;
    ledger::all(&make).await;
    audit::all(&make).await;
    usage::all(&make).await;
    together::all(&make).await;
}

/// Names the rules of a module once, for its `all` and for the macro that makes tests of them.
macro_rules! rules {
    ($list:ident where S: $($bound:ident)|+; $($rule:ident),+ $(,)?) => {
        /// Runs the rules of this module, each on a store of its own.
        ///
        /// # Panics
        ///
        /// Panics when a rule is broken.
        pub async fn all<S: $($bound +)+, F: Future<Output = S>>(make: impl Fn() -> F) {
            $($rule(make().await).await;)+
        }

        #[doc(hidden)]
        #[macro_export]
        macro_rules! $list {
            ($module:ident, $make:path) => {
                $crate::__conformance_tests!($module, $make, $($rule)+);
            };
        }
    };
}
use rules;

/// Makes a test of each rule of [`conformance`](crate::store::conformance).
///
/// `conformance_tests!(make)` takes all of them, `conformance_tests!(ledger: make)` those of one module:
/// `users`, `projects`, `credentials`, `sessions`, `events`, `ledger`, `audit`, `usage` or `together`. `make` is the
/// path of an async function that
/// makes an empty store, as seen from inside a child module.
#[macro_export]
macro_rules! conformance_tests {
    (users: $make:path) => {
        $crate::__users_rules!(users, $make);
    };
    (projects: $make:path) => {
        $crate::__projects_rules!(projects, $make);
    };
    (credentials: $make:path) => {
        $crate::__credentials_rules!(credentials, $make);
    };
    (sessions: $make:path) => {
        $crate::__sessions_rules!(sessions, $make);
    };
    (events: $make:path) => {
        $crate::__events_rules!(events, $make);
    };
    (ledger: $make:path) => {
        $crate::__ledger_rules!(ledger, $make);
    };
    (audit: $make:path) => {
        $crate::__audit_rules!(audit, $make);
    };
    (usage: $make:path) => {
        $crate::__usage_rules!(usage, $make);
    };
    (together: $make:path) => {
        $crate::__together_rules!(together, $make);
    };
    ($make:path) => {
        $crate::conformance_tests!(users: $make);
        $crate::conformance_tests!(projects: $make);
        $crate::conformance_tests!(credentials: $make);
        $crate::conformance_tests!(sessions: $make);
        $crate::conformance_tests!(events: $make);
        $crate::conformance_tests!(ledger: $make);
        $crate::conformance_tests!(audit: $make);
        $crate::conformance_tests!(usage: $make);
        $crate::conformance_tests!(together: $make);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($module:ident, $make:path, $($rule:ident)+) => {
        mod $module {
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $rule() {
                    $crate::store::conformance::$module::$rule($make().await).await;
                }
            )+
        }
    };
}
