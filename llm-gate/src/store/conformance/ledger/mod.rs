//! The rules of [`LedgerStore`].

mod batches;
mod concurrent;
mod extending;
mod presumed;
mod reserving;
mod resets;
mod settling;
mod tariffs;
mod voluntary;
mod windows;

pub use batches::*;
pub use concurrent::*;
pub use extending::*;
pub use presumed::*;
pub use reserving::*;
pub use resets::*;
pub use settling::*;
pub use tariffs::*;
pub use voluntary::*;
pub use windows::*;

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
    a_reset_takes_off_what_is_used_and_keeps_what_is_held,
    a_reset_sets_every_window_at_hand_back,
    what_is_presumed_outlasts_a_reset,
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
    a_minute_comes_back,
    another_zone_is_no_lower_limit,
    a_late_settlement_lands_in_the_window_that_admitted,
    a_clock_that_goes_back_finds_spent_windows_spent,
    days_are_as_long_as_their_zone_has_them,
    months_follow_the_calendar,
    limits_of_all_kinds_hold_together,
    a_limit_of_a_model_counts_its_calls_alone,
    a_default_holds_for_each_without_a_limit_of_its_own,
    what_somebody_set_for_oneself_gives_way_to_a_stricter_default,
    what_somebody_set_for_oneself_by_another_zone_gives_way_to_the_default,
    what_an_admin_has_granted_stays_granted_when_it_is_lowered,
    what_an_admin_sets_stands_whoever_set_it_before,
    a_subject_has_no_more_limits_than_allowed,
    limits_are_changed_all_or_none,
    a_limit_is_in_force_from_the_next_reservation_on,
    the_largest_limits_hold,
    a_window_gates_extensions,
    of_several_limits_the_one_that_lasts_is_told,
    money_is_held_and_charged_by_the_price,
    a_model_without_a_price_is_refused_where_money_is_limited,
    a_new_price_holds_for_what_comes_after_it,
    weights_count_tokens_for_more_or_less,
    an_open_hold_is_cut_to_what_fits_in_every_unit,
    only_an_owner_that_is_silent_for_long_is_given_up,
    orphans_are_listed_in_parts,
    what_is_presumed_is_the_hold,
    what_was_presumed_is_corrected_once,
    only_what_is_presumed_can_be_refunded,
    what_comes_to_light_after_a_refund_is_an_overage,
    a_batch_presumes_and_corrects_in_its_order,
    a_budget_for_a_hundred_grants_a_hundred,
    of_racing_settlements_one_counts,
    of_racing_reservations_under_one_id_one_holds,
    crossing_subjects_do_not_lock_each_other_out,
    a_dropped_call_happens_as_a_whole_or_not_at_all,
);
