//! Digits and letters: what survives a double click, a URL and a shell.

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends `count` random characters, all equally likely, from the operating system's generator.
///
/// # Panics
///
/// Panics if the operating system has no random numbers: there is nothing safe to do without.
pub(super) fn push_random(text: &mut String, count: usize) {
    push_from(text, count, |bytes| {
        SysRng
            .try_fill_bytes(bytes)
            .expect("the operating system has random numbers");
    });
}

/// Appends `count` characters, all equally likely if the bytes that `fill` gives are.
pub(super) fn push_from(text: &mut String, count: usize, mut fill: impl FnMut(&mut [u8])) {
    let mut left = count;
    let mut bytes = Zeroizing::new([0; 32]);
    while left > 0 {
        fill(bytes.as_mut_slice());
        // Six bits each; 62 and 63 are thrown away rather than folded, which would favour some.
        let drawn = bytes.iter().map(|byte| usize::from(byte & 63));
        for index in drawn.filter(|index| *index < 62).take(left) {
            text.push(char::from(ALPHABET[index]));
            left -= 1;
        }
    }
}

/// Writes a checksum as six digits, the highest first.
pub(super) fn checksum(mut crc: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(crc % 62) as usize];
        crc /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_written_with_the_highest_digit_first() {
        assert_eq!(&checksum(0), b"000000");
        assert_eq!(&checksum(62), b"000010");
        assert_eq!(&checksum(u32::MAX), b"4gfFC3");
    }

    #[test]
    fn random_text_has_the_length_asked_for_and_every_character_in_time() {
        let mut text = String::new();
        push_random(&mut text, 10_000);
        assert_eq!(text.len(), 10_000);
        assert!(ALPHABET.iter().all(|c| text.contains(char::from(*c))));
    }
}
