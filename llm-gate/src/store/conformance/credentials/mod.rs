//! The rules of [`CredentialStore`]. Keys belong to users and projects, so they ask for [`UserStore`] and
//! [`ProjectStore`] too.

mod keys;
mod rotation;

pub use keys::*;
pub use rotation::*;

use super::rules;
use super::support::{at, hash, later};
use crate::store::{CredentialStore, NewKeySecret, ProjectStore, UserStore};

rules!(__credentials_rules where S: UserStore | ProjectStore | CredentialStore;
    a_key_is_read_as_it_was_made,
    a_public_id_is_given_once,
    a_key_tells_that_its_user_is_disabled,
    keys_are_listed_newest_first_in_their_scope,
    there_is_room_for_as_many_keys_as_may_be,
    the_keys_of_a_user_are_listed_wherever_they_are,
    a_revoked_key_is_not_among_the_valid_ones,
    a_foreign_key_is_none,
    a_key_belongs_to_a_member,
    what_a_key_may_do_is_kept,
    a_key_is_changed_in_parts,
    a_key_is_changed_as_it_was_judged_or_not_at_all,
    revoking_again_keeps_the_first_moment,
    a_use_is_noted_once_a_minute_and_never_goes_back,
    a_rotated_key_has_another_secret_and_stays_the_same,
    the_secret_before_works_until_the_overlap_ends,
    a_third_secret_ends_the_first,
    a_key_is_not_rotated_to_a_taken_public_id,
    a_revoked_key_is_not_rotated,
    of_racing_rotations_of_a_key_none_is_lost,
);

/// Another secret for a key, made at the start, with an overlap of some microseconds.
fn secret(public_id: &str, number: u8, overlap: i64) -> NewKeySecret {
    NewKeySecret {
        public_id: public_id.to_owned(),
        hash: hash(number),
        overlap_until: later(overlap),
        judged: None,
        author: at(1),
    }
}
