//! Characters at the end of a secret by which every holder of the pepper sees that one of them has made it, without
//! looking anything up. It may be spent or revoked since.

use subtle::ConstantTimeEq;

use super::{KeyHasher, base62};
use crate::identity::UserId;

/// How many characters they are: 65 bits, which nobody guesses who has to ask each time.
pub(super) const SEAL: usize = 11;

/// How many characters say whose a secret is: 47 bits.
pub(super) const ACCOUNT: usize = 8;

/// Appends a name of a user that only the pepper's holder can tell, the same in all that is given out to that user.
pub(super) fn push_account(text: &mut String, hasher: &KeyHasher, user: UserId) {
    derive(text, ACCOUNT, hasher, "account", &user.to_string());
}

/// Appends the seal of `text`, which begins with the prefix of its kind.
pub(super) fn seal(text: &mut String, hasher: &KeyHasher) {
    let open = text.clone();
    derive(text, SEAL, hasher, "seal of a secret", &open);
}

/// Returns whether `text` ends with the seal of what stands before.
pub(super) fn is_sealed(text: &str, hasher: &KeyHasher) -> bool {
    let open = text.len().saturating_sub(SEAL);
    let mut sealed = text.get(..open).unwrap_or_default().to_owned();
    seal(&mut sealed, hasher);
    sealed.as_bytes().ct_eq(text.as_bytes()).into()
}

/// Appends characters that only the pepper's holder can tell from `of`.
pub(super) fn derive(
    text: &mut String,
    count: usize,
    hasher: &KeyHasher,
    purpose: &'static str,
    of: &str,
) {
    let mut round = 0_u8;
    base62::push_from(text, count, |bytes| {
        hasher.derive(purpose, [&[round][..], of.as_bytes()], bytes);
        round = round.wrapping_add(1);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_one_text_and_one_pepper() {
        let hasher = |byte| KeyHasher::new(&[byte; 32]).expect("long enough");
        let mut text = "lgx_something".to_owned();
        seal(&mut text, &hasher(1));
        assert!(is_sealed(&text, &hasher(1)));
        assert!(!is_sealed(&text, &hasher(2)), "another pepper");
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).expect("letters");
            assert!(!is_sealed(&changed, &hasher(1)), "character {place}");
        }
        for short in ["", "a", &text[..SEAL], &text[1..], &text[..text.len() - 1]] {
            assert!(!is_sealed(short, &hasher(1)), "{short:?}");
        }
        assert!(!is_sealed("äöüäöüäöüäöü", &hasher(1)));
    }
}
