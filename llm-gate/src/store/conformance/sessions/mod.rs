//! The rules of [`SessionStore`]. Sessions belong to users, so they ask for [`UserStore`] too.

mod ending;
mod rotating;

pub use ending::*;
pub use rotating::*;

use super::rules;
use crate::store::{SessionStore, UserStore};

rules!(__sessions_rules where S: UserStore | SessionStore;
    a_session_is_read_as_it_was_made,
    a_refresh_token_works_once,
    racing_refreshes_get_one_token,
    a_token_that_comes_again_within_the_grace_gets_the_same_one,
    a_token_that_comes_after_the_grace_ends_its_family,
    a_token_whose_heir_was_used_ends_its_family,
    a_token_that_comes_for_another_heir_ends_its_family,
    without_a_grace_a_token_works_once,
    an_idle_token_is_refused,
    a_family_ends_however_often_it_rotates,
    an_unknown_token_is_refused,
    a_token_hash_is_given_once,
    sessions_are_listed_newest_first,
    a_session_lives_until_its_token_idles_out,
    revoking_a_session_ends_all_its_tokens,
    a_session_is_ended_by_its_user_alone,
    all_sessions_but_one_are_ended,
    an_ended_session_ends_once,
    one_session_too_many_ends_the_oldest,
    what_has_ended_takes_no_room,
    of_racing_sessions_no_more_than_allowed_live,
    disabling_a_user_ends_its_sessions,
    a_disabled_user_has_no_session,
    deleting_a_user_ends_its_sessions,
    another_password_ends_the_other_sessions,
    the_same_password_with_another_hash_ends_no_session,
    a_new_password_by_mail_ends_all_sessions,
    what_ended_is_forgotten_after_a_while,
    stale_tickets_are_forgotten,
);
