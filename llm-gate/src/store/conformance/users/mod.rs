//! The rules of [`UserStore`].

mod accounts;
mod changing;
mod identities;
mod tickets;

pub use accounts::*;
pub use changing::*;
pub use identities::*;
pub use tickets::*;

use super::rules;
use crate::store::UserStore;

rules!(__users_rules where S: UserStore;
    an_account_is_read_as_it_was_made,
    an_unknown_account_is_none,
    a_login_finds_by_either_name,
    a_name_is_taken_across_both_kinds,
    one_account_may_use_one_name_twice,
    a_taken_identifier_is_a_conflict,
    of_racing_registrations_one_wins,
    a_refused_account_leaves_nothing_behind,
    accounts_are_listed_in_pages,
    an_account_may_have_no_password,
    a_password_is_replaced_only_if_unchanged,
    the_hashes_of_passwords_are_gone_through_by_their_bytes,
    a_password_is_set,
    a_password_is_changed_only_from_the_one_that_was_proven,
    a_change_of_a_password_that_comes_too_late_ends_nothing,
    of_racing_changes_of_a_password_one_counts,
    disabling_is_seen_and_undone,
    an_account_is_changed_in_parts,
    another_address_is_unverified,
    the_last_name_of_a_person_stays,
    of_racing_changes_one_name_is_left,
    a_name_of_another_account_is_not_taken_over,
    names_that_were_given_up_are_free,
    a_deleted_account_is_none,
    the_names_of_a_deleted_account_are_free,
    an_enabled_admin_is_left,
    of_racing_admins_one_is_left,
    a_service_belongs_to_a_project_and_cannot_log_in,
    a_project_has_no_more_services_than_allowed,
    an_account_is_found_by_its_identities,
    an_identity_is_of_one_account,
    an_identity_is_taken_from_its_account_alone,
    what_was_begun_before_a_link_links_nothing_more,
    of_racing_links_of_one_login_one_counts,
    of_racing_links_one_wins,
    an_account_has_no_more_identities_than_allowed,
    the_last_way_into_an_account_is_not_taken,
    of_racing_unlinks_one_way_is_left,
    an_address_is_confirmed_by_its_ticket,
    a_ticket_is_good_for_its_purpose_alone,
    a_ticket_is_good_until_it_ends,
    a_ticket_for_another_address_is_not_good,
    a_ticket_that_is_handed_over_is_good_with_any_address_or_none,
    a_ticket_that_is_handed_over_confirms_no_address,
    a_new_ticket_leaves_the_last_one_good,
    with_one_ticket_all_of_its_purpose_are_used,
    a_used_ticket_is_not_good,
    of_racing_uses_of_a_ticket_one_counts,
    a_ticket_sets_a_password,
    another_password_voids_the_tickets_for_one,
    a_ticket_of_nobody_is_not_good,
);
