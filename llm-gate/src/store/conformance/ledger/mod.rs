//! The rules of [`LedgerStore`].

mod batches;
mod concurrent;
mod extending;
mod reserving;
mod settling;

pub use batches::*;
pub use concurrent::*;
pub use extending::*;
pub use reserving::*;
pub use settling::*;

use super::rules;
use crate::store::LedgerStore;

rules!(__ledger_rules where S: LedgerStore;
    a_subject_never_heard_of_stands_at_zero,
    a_limit_is_set_changed_and_removed,
    a_limit_is_lowered_but_not_raised,
    a_hold_is_taken_from_every_subject,
    a_hold_is_taken_from_all_or_none,
    a_denial_names_the_counter_that_refused,
    a_denial_leaves_nothing_behind,
    a_hold_is_clamped_to_the_room_but_not_below_the_least,
    the_last_token_can_be_spent,
    without_a_limit_nothing_is_denied,
    a_subject_named_twice_counts_once,
    kinds_of_subjects_are_apart,
    settling_gives_the_rest_back,
    settling_counts_once,
    a_void_gives_everything_back,
    the_first_ending_stands,
    a_charge_of_nothing_is_settled_and_not_void,
    settling_the_unknown_is_unknown,
    an_excess_goes_into_the_room_and_then_into_the_overage,
    an_overage_is_that_of_the_tightest_counter,
    a_limit_below_what_is_spent_grants_nothing,
    a_hold_pays_for_itself_when_the_limit_was_lowered,
    reserving_again_gives_the_same_grant,
    a_batch_that_is_repeated_changes_nothing,
    a_batch_goes_on_after_a_denial,
    the_order_in_the_batch_decides,
    a_batch_reserves_and_settles_in_its_order,
    an_empty_batch_is_no_error,
    a_large_batch_is_one_batch,
    the_largest_amounts_are_kept,
    the_totals_balance,
    a_hold_grows_into_the_room,
    a_hold_shrinks_always,
    a_hold_that_has_no_room_to_grow_stays_as_it_was,
    a_hold_grows_on_all_counters_or_on_none,
    an_older_version_changes_nothing,
    extending_again_gives_the_hold_in_force,
    a_refused_version_may_be_tried_again,
    what_has_ended_is_not_extended,
    extending_the_unknown_is_unknown,
    a_settlement_gives_the_extended_hold_back,
    a_presumed_charge_is_the_extended_hold,
    a_batch_extends_in_its_order,
    of_racing_extensions_the_newest_holds,
    racing_extensions_never_exceed_the_limit,
    extensions_that_race_settlements_leave_nothing_held,
    a_budget_for_a_hundred_grants_a_hundred,
    of_racing_settlements_one_counts,
    of_racing_reservations_under_one_id_one_holds,
    crossing_subjects_do_not_lock_each_other_out,
    a_dropped_call_happens_as_a_whole_or_not_at_all,
);
