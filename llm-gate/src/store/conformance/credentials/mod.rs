//! The rules of [`CredentialStore`]. Credentials belong to users, so they ask for [`UserStore`] too.

mod keys;
mod sessions;

pub use keys::*;
pub use sessions::*;

use super::rules;
use crate::store::{CredentialStore, UserStore};

rules!(__credentials_rules where S: UserStore | CredentialStore;
    a_key_is_read_as_it_was_made,
    a_public_id_is_given_once,
    a_key_tells_that_its_user_is_disabled,
    keys_are_listed_newest_first_in_their_scope,
    a_foreign_key_cannot_be_revoked,
    revoking_again_keeps_the_first_moment,
    a_use_is_noted_and_never_goes_back,
    a_refresh_token_works_once,
    of_racing_rotations_one_rotates,
    a_reused_token_ends_its_family,
    an_idle_token_is_refused,
    a_family_ends_however_often_it_rotates,
    an_unknown_token_is_refused,
    a_token_hash_is_given_once,
    revoking_a_session_ends_all_its_tokens,
    disabling_a_user_ends_its_sessions,
    a_disabled_user_rotates_no_session,
);
