use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// What the gate must know of a model to bound a call to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    id: String,
    context_length: Option<u64>,
    output_cap: Option<u64>,
    allowance: u64,
    bytes_factor: u64,
}

impl Model {
    /// Describes a model by the name it is asked for.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            context_length: None,
            output_cap: None,
            allowance: 64,
            bytes_factor: 1,
        }
    }

    /// Sets how many tokens prompt and completion may have together: vLLM's `max_model_len`. Without it
    /// calls are refused with 503, because nothing bounds them.
    #[must_use]
    pub const fn context_length(mut self, tokens: u64) -> Self {
        self.context_length = Some(tokens);
        self
    }

    /// Caps the output bound of each choice, at least 1. No cap unless set.
    #[must_use]
    pub const fn output_cap(mut self, tokens: u64) -> Self {
        self.output_cap = Some(if tokens == 0 { 1 } else { tokens });
        self
    }

    /// Sets how many tokens the chat template may add to each prompt. 64 unless set.
    #[must_use]
    pub const fn allowance(mut self, tokens: u64) -> Self {
        self.allowance = tokens;
        self
    }

    /// Sets how many tokens a byte of the body can become at most. 1 unless set, which holds for every
    /// byte-level BPE; tokenizers that normalise text can need more.
    #[must_use]
    pub const fn bytes_factor(mut self, factor: u64) -> Self {
        self.bytes_factor = factor;
        self
    }

    /// Returns the name it is asked for.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn context(&self) -> Option<u64> {
        self.context_length
    }

    pub(super) const fn cap(&self) -> Option<u64> {
        self.output_cap
    }

    /// Bounds the tokens of `bytes` bytes of body that hold `prompts` prompts.
    pub(super) const fn tokens_of(&self, bytes: u64, prompts: u64) -> u64 {
        let text = bytes.saturating_mul(self.bytes_factor);
        text.saturating_add(self.allowance.saturating_mul(prompts))
    }
}

/// The models that may be asked for, shared between layers and replaced as a whole when the upstream's
/// list changes. Clones share the list.
#[derive(Clone)]
pub struct Models(Arc<ArcSwap<List>>);

enum List {
    /// Nothing is known yet.
    Pending,
    /// These and no others.
    Named(HashMap<String, Arc<Model>>),
    /// Any name, described like this one.
    Any(Model),
}

/// What is known of a model name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is served.
    Known(Arc<Model>),
    /// It is not served.
    Unknown,
    /// The list has not been read yet.
    Pending,
}

impl Models {
    /// Starts without a list; calls are refused with 503 until [`replace`](Self::replace) brings one.
    #[must_use]
    pub fn pending() -> Self {
        Self::from_list(List::Pending)
    }

    /// Serves exactly `models`.
    #[must_use]
    pub fn fixed(models: impl IntoIterator<Item = Model>) -> Self {
        let all = Self::pending();
        all.replace(models);
        all
    }

    /// Serves every name, each with the bounds of `model`.
    #[must_use]
    pub fn any(model: Model) -> Self {
        Self::from_list(List::Any(model))
    }

    fn from_list(list: List) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(list)))
    }

    /// Replaces the list. Calls that were admitted keep the model they were admitted with.
    pub fn replace(&self, models: impl IntoIterator<Item = Model>) {
        let named = models
            .into_iter()
            .map(|model| (model.id.clone(), Arc::new(model)))
            .collect();
        self.0.store(Arc::new(List::Named(named)));
    }

    /// Looks a name up.
    #[must_use]
    pub fn find(&self, id: &str) -> Found {
        match &**self.0.load() {
            List::Pending => Found::Pending,
            List::Named(named) => named
                .get(id)
                .map_or(Found::Unknown, |model| Found::Known(model.clone())),
            List::Any(model) => Found::Known(Arc::new(Model {
                id: id.to_owned(),
                ..model.clone()
            })),
        }
    }

    /// Lists the names in order; empty while the list is pending or open.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = match &**self.0.load() {
            List::Named(named) => named.keys().cloned().collect(),
            List::Pending | List::Any(_) => Vec::new(),
        };
        ids.sort_unstable();
        ids
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Models").field(&self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_never_read_is_not_an_empty_list() {
        let models = Models::pending();
        assert_eq!(models.find("tiny"), Found::Pending);
        models.replace([]);
        assert_eq!(models.find("tiny"), Found::Unknown);
    }

    #[test]
    fn clones_see_a_replaced_list() {
        let models = Models::pending();
        let clone = models.clone();
        models.replace([Model::new("tiny")]);
        assert!(matches!(clone.find("tiny"), Found::Known(_)));
        assert_eq!(clone.ids(), ["tiny"]);
    }
}
