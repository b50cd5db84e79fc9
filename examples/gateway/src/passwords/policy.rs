use crate::config::PasswordConfig;

/// The longest password that is taken, in characters.
pub const MAX_LENGTH: usize = 128;

/// Passwords that everybody tries first, lower-case, one a line, in order: the 20,000 most common ones of known breaches,
/// as Royce Williams counted them for Django ([source]), and some of their kin.
///
/// [source]: https://gist.github.com/roycewilliams/281ce539915a947a23db17137d91aeb7
static BLOCKED: &str = include_str!("blocked.txt");

/// Which passwords are taken, after NIST SP 800-63B-4: length and a block list, no composition rules.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    min_length: usize,
}

impl Policy {
    /// Takes the settings.
    #[must_use]
    pub const fn new(config: &PasswordConfig) -> Self {
        Self {
            min_length: config.min_length,
        }
    }

    /// Checks a password of somebody with these names; says what is wrong with it.
    ///
    /// # Errors
    ///
    /// Refuses passwords that are too short or too long, well known, one character or short pattern
    /// repeated, or made of one of the names.
    pub fn check(&self, password: &str, names: &[&str]) -> Result<(), String> {
        // What was typed has the length, as NIST counts it, and not what one of its characters stands for; what it comes
        // down to may be no shorter either.
        let typed = password.chars().count();
        let password = &*super::normal(password);
        if typed.min(password.chars().count()) < self.min_length {
            return Err(format!("must have at least {} characters", self.min_length));
        }
        if typed > MAX_LENGTH {
            return Err(format!("must have at most {MAX_LENGTH} characters"));
        }
        let plain = password.to_lowercase();
        if BLOCKED.lines().any(|blocked| repeats(&plain, blocked))
            || (1..=4).any(|n| repeats_itself(&plain, n))
        {
            return Err("is one of those that are tried first".to_owned());
        }
        let known = names
            .iter()
            .flat_map(|name| [*name, name.split('@').next().unwrap_or(name)]);
        for name in known.chain(["llm-gate"]) {
            if !name.is_empty() && repeats(&plain, name) {
                return Err("must not be made of the name".to_owned());
            }
        }
        Ok(())
    }
}

/// Whether `text` is `word`, once or over and over.
fn repeats(text: &str, word: &str) -> bool {
    !word.is_empty()
        && text.len() >= word.len()
        && text.len().is_multiple_of(word.len())
        && text.replace(word, "").is_empty()
}

/// Whether `text` is its first `count` characters over and over.
fn repeats_itself(text: &str, count: usize) -> bool {
    let start: Vec<char> = text.chars().take(count).collect();
    text.chars()
        .zip(start.iter().cycle())
        .all(|(c, expected)| c == *expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), String> {
        Policy::new(&PasswordConfig::default())
            .check(password, &["ada@example.com", "ada.lovelace-1815"])
    }

    #[test]
    fn long_passwords_of_any_composition_are_taken() {
        assert_eq!(check("correct horse battery"), Ok(()));
        assert_eq!(
            check("パスワードは十五文字より長いです"),
            Ok(()),
            "characters count, not bytes"
        );
        assert_eq!(check(&"correct horse battery ".repeat(5)), Ok(()));
    }

    #[test]
    fn lengths_are_bounded_at_both_ends() {
        assert!(check("correct horse b").is_ok(), "15 characters");
        assert!(check("correct horse ").is_err(), "14 characters");
        let long: String = "abcdefghijklm".chars().cycle().take(MAX_LENGTH).collect();
        assert!(check(&long).is_ok());
        assert!(check(&format!("{long}n")).is_err());
    }

    #[test]
    fn each_character_that_is_typed_counts_once() {
        let greeting = "\u{fdfa}";
        assert!(super::super::normal(greeting).chars().count() > 15);
        assert!(check(greeting).is_err(), "one character");
        let ligatures = "correct horse battery ".to_owned() + &"\u{fb03}".repeat(50);
        assert!(super::super::normal(&ligatures).chars().count() > MAX_LENGTH);
        assert_eq!(check(&ligatures), Ok(()), "72 characters");
        let accents = "e\u{301}\u{e0}".repeat(6);
        assert_eq!(accents.chars().count(), 18);
        assert!(check(&accents).is_err(), "twelve letters");
    }

    #[test]
    fn what_everybody_tries_first_is_refused() {
        for password in [
            "passwordpassword",
            "PasswordPassword",
            "123456789012345",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabc",
            "qwertyuiopasdfgh",
            "ada.lovelace-1815",
            "ada@example.com",
            "llm-gatellm-gate",
            "1q2w3e4r5t6y7u8i",
            "dragondragondragon",
        ] {
            assert!(check(password).is_err(), "{password}");
        }
        // Where shorter ones are taken, too.
        let config = PasswordConfig {
            min_length: 8,
            ..PasswordConfig::default()
        };
        let policy = Policy::new(&config);
        for password in [
            "qwerty123",
            "sunshine1",
            "Football1",
            "P@ssw0rd",
            "iloveyou1",
        ] {
            assert!(policy.check(password, &[]).is_err(), "{password}");
        }
        assert_eq!(
            policy.check("osprey-7", &[]),
            Ok(()),
            "eight characters are enough then"
        );
    }

    #[test]
    fn the_list_is_lower_case_and_holds_no_blank_line() {
        for line in BLOCKED.lines() {
            assert!(!line.is_empty());
            assert_eq!(line, line.to_lowercase());
        }
    }
}
