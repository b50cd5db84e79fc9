use crate::tokens::Usage;

/// How many choices are told apart; the counts of any beyond share the last place.
const CHOICES: usize = 1 << 15;

/// The running usage of a stream.
///
/// vLLM's `continuous_usage_stats` count each choice by itself: an event says how much its own choice has
/// generated and how long that choice's prompt is. The completion so far is the sum over the last event
/// of every choice, the prompt the sum over the prompts, each once (choice divided by `n`). The event with
/// empty `choices` has the whole.
#[derive(Debug)]
pub(super) struct Tally {
    n: usize,
    single: bool,
    /// By choice: the last event's usage.
    choices: Vec<Usage>,
    /// By prompt: its length.
    prompts: Vec<u64>,
    total: Usage,
}

impl Tally {
    /// Counts an answer of `choices` choices, `n` a prompt.
    pub(super) const fn new(choices: u64, n: u64) -> Self {
        Self {
            n: if n == 0 { 1 } else { n as usize },
            single: choices <= 1,
            choices: Vec::new(),
            prompts: Vec::new(),
            total: Usage {
                prompt: 0,
                completion: 0,
                cached: 0,
                reasoning: 0,
            },
        }
    }

    /// Tells whether events must say which choice they are of.
    pub(super) const fn by_choice(&self) -> bool {
        !self.single
    }

    /// Takes the figures of the whole answer.
    pub(super) const fn whole(&mut self, usage: Usage) -> Usage {
        self.total = usage;
        usage
    }

    /// Takes the figures of one choice; `index` is not looked at where there is but one.
    pub(super) fn choice(&mut self, index: usize, usage: Usage) -> Usage {
        // What counts once it is generated stays counted, should an upstream ever count backwards.
        if self.single {
            let total = &mut self.total;
            if usage.prompt >= total.prompt
                && usage.completion >= total.completion
                && usage.reasoning >= total.reasoning
            {
                *total = usage;
                return usage;
            }
            *total = Usage {
                prompt: usage.prompt.max(total.prompt),
                completion: usage.completion.max(total.completion),
                reasoning: usage.reasoning.max(total.reasoning),
                cached: usage.cached,
            };
            return *total;
        }
        let index = index.min(CHOICES - 1);
        let last = place(&mut self.choices, index);
        let total = &mut self.total;
        total.completion = total
            .completion
            .saturating_add(usage.completion.saturating_sub(last.completion));
        total.reasoning = total
            .reasoning
            .saturating_add(usage.reasoning.saturating_sub(last.reasoning));
        last.completion = last.completion.max(usage.completion);
        last.reasoning = last.reasoning.max(usage.reasoning);
        let prompt = place(&mut self.prompts, index / self.n);
        total.prompt = total
            .prompt
            .saturating_add(usage.prompt.saturating_sub(*prompt));
        *prompt = usage.prompt.max(*prompt);
        *total
    }
}

fn place<T: Default + Clone>(items: &mut Vec<T>, index: usize) -> &mut T {
    if items.len() <= index {
        items.resize(index + 1, T::default());
    }
    &mut items[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn usage(prompt: u64, completion: u64) -> Usage {
        Usage {
            prompt,
            completion,
            cached: 0,
            reasoning: 0,
        }
    }

    #[test]
    fn completions_add_up_over_choices_and_prompts_count_once() {
        // Two prompts of 3 and 5 tokens, two choices each.
        let mut tally = Tally::new(4, 2);
        assert_eq!(tally.choice(2, usage(5, 1)), usage(5, 1));
        assert_eq!(tally.choice(3, usage(5, 2)), usage(5, 3));
        assert_eq!(tally.choice(0, usage(3, 4)), usage(8, 7));
        assert_eq!(
            tally.choice(2, usage(5, 6)),
            usage(8, 12),
            "the last event of a choice counts"
        );
        assert_eq!(tally.whole(usage(8, 13)), usage(8, 13));
    }

    #[test]
    fn one_choice_needs_no_index() {
        let mut tally = Tally::new(1, 1);
        assert!(!tally.by_choice());
        assert_eq!(tally.choice(0, usage(3, 4)), usage(3, 4));
    }

    #[test]
    fn what_was_counted_stays_counted_until_the_whole_is_told() {
        for choices in [1, 2] {
            let mut tally = Tally::new(choices, choices);
            assert_eq!(tally.choice(0, usage(3, 4)), usage(3, 4));
            assert_eq!(tally.choice(0, usage(3, 2)), usage(3, 4), "{choices}");
            assert_eq!(tally.choice(0, usage(3, 5)), usage(3, 5), "{choices}");
            assert_eq!(tally.whole(usage(3, 4)), usage(3, 4), "{choices}");
        }
    }

    #[test]
    fn an_absurd_index_costs_no_absurd_memory() {
        let mut tally = Tally::new(2, 1);
        tally.choice(usize::MAX, usage(1, 1));
        assert!(tally.choices.len() <= CHOICES);
    }
}
