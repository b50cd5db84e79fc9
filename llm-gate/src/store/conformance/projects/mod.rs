//! The rules of [`ProjectStore`]. Projects come into being with their users, so they ask for
//! [`UserStore`] too.

mod invites;
mod makers;
mod members;
mod owning;
mod several;

pub use invites::*;
pub use makers::*;
pub use members::*;
pub use owning::*;
pub use several::*;

use super::rules;
use crate::store::{ProjectStore, UserStore};

rules!(__projects_rules where S: UserStore | ProjectStore;
    a_user_owns_its_personal_project,
    a_foreign_project_is_none,
    nobody_has_no_projects,
    a_project_is_read_as_it_was_made,
    projects_are_listed_in_pages,
    a_project_gets_another_name,
    an_archived_project_is_seen_by_no_member,
    a_personal_project_lives_as_long_as_its_user,
    a_member_is_added_changed_and_removed,
    members_are_listed_in_pages,
    members_are_listed_by_kind,
    nobody_is_no_member,
    the_last_owner_stays,
    of_racing_owners_one_is_left,
    the_only_owner_of_a_project_with_members_is_not_deleted,
    a_project_that_nobody_is_left_in_is_archived,
    a_service_is_a_member_of_its_project_alone,
    a_service_that_is_put_out_is_deleted,
    an_invite_is_read_as_it_was_made,
    invites_are_listed_newest_first,
    a_withdrawn_invite_is_not_among_those_that_are_kept,
    an_invite_makes_a_member,
    an_invite_is_for_its_address_alone,
    an_invite_is_good_until_it_ends,
    a_withdrawn_invite_is_not_good,
    an_invite_is_withdrawn_in_its_project,
    an_archived_project_invites_nobody,
    of_racing_acceptances_one_counts,
    only_owners_touch_owners_whatever_they_were,
    an_invite_never_lowers_a_role,
    an_invite_of_an_admin_makes_one_of_who_has_an_account,
    an_invite_makes_an_account,
    an_invite_makes_one_account,
    an_invite_makes_no_account_with_another_address,
    a_bad_invite_makes_no_account,
    an_invite_names_who_made_it,
    an_invite_of_who_manages_no_more_is_not_good,
    an_invite_of_an_owner_is_good_while_its_maker_owns,
    an_invite_of_who_may_do_nothing_is_not_good,
    an_invite_to_the_platform_is_good_while_its_maker_is_admin,
    an_invite_to_several_projects_is_good_while_its_maker_may_give_all,
    an_invite_to_several_projects_makes_a_member_of_each,
    an_invite_is_not_made_where_one_of_its_projects_is_none,
    an_invite_to_several_projects_is_listed_in_each_as_one_to_that,
    a_project_is_taken_out_of_an_invite_to_several,
    an_invite_ends_with_the_last_of_its_projects,
    who_races_an_invite_to_several_projects_agrees_on_where_it_led,
);
