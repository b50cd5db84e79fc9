/// Whose something is that shows by itself that it was given out, such as a signed token: a name to count by.
///
/// Nothing is looked up for it: it may be revoked, and be of somebody who is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder([u8; 16]);

impl Holder {
    /// Takes what is the same for all that are counted together, and for nothing else.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Makes one of parts: the first says what the others are.
    #[cfg(feature = "auth")]
    #[must_use]
    pub fn of<const N: usize>(kind: &'static str, parts: [&str; N]) -> Self {
        use sha2::{Digest, Sha256};
        let hash = Sha256::new_with_prefix(kind);
        let hash = parts.iter().fold(hash, |hash, part| {
            // No part goes on in the next one.
            hash.chain_update([0]).chain_update(part)
        });
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(bytes)
    }
}

#[cfg(all(test, feature = "auth"))]
mod tests {
    use super::*;

    #[test]
    fn each_part_makes_another() {
        let one = Holder::of("user", ["ada"]);
        assert_eq!(one, Holder::of("user", ["ada"]));
        assert_ne!(one, Holder::of("key", ["ada"]));
        assert_ne!(one, Holder::of("user", ["eve"]));
        assert_ne!(
            Holder::of("user", ["a", "da"]),
            Holder::of("user", ["ad", "a"])
        );
    }
}
