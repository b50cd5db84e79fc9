//! [`Abort`]: lets go of an answer from outside, whoever holds it and whether or not it is asked for more.
//!
//! A server does not poll a body whose client reads nothing, so nothing inside of a body can end it. Whoever
//! makes a body that is worth ending puts a handle into the response's extensions, and whoever keeps a
//! deadline takes it from there.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use llm_gate::abort::Abort;
//!
//! let open = Arc::new(AtomicBool::new(true));
//! let connection = open.clone();
//! let abort = Abort::new(move || connection.store(false, Ordering::Relaxed));
//! abort.abort();
//! assert!(!open.load(Ordering::Relaxed));
//! ```

use std::fmt;
use std::sync::Arc;

/// A handle that ends an answer. Clones end the same one.
#[derive(Clone)]
pub struct Abort(Arc<dyn Fn() + Send + Sync>);

impl Abort {
    /// Ends an answer by `end`, which neither waits nor panics, may be called again, and does not keep the
    /// answer from being dropped.
    #[must_use]
    pub fn new(end: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(end))
    }

    /// Ends the answer, unless it has ended.
    pub fn abort(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Abort")
    }
}
