//! Secrets that were used, and the search for them.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// How the secrets begin that the gate makes, and how long what follows is at least.
const FORMS: [(&str, usize); 6] = [
    ("lg_", 40),
    ("lgr_", 30),
    ("lgi_", 30),
    ("lgm_", 30),
    ("lgo_", 30),
    ("eyJ", 60),
];

/// How many bytes of a secret are looked up at every place of a text; the rest is compared where they stand.
const BEGIN: usize = 8;

/// The secrets there are, by themselves: what they are.
#[derive(Default)]
pub(super) struct Canaries(BTreeMap<Vec<u8>, String>);

impl Canaries {
    pub(super) fn add(&mut self, what: &str, secret: impl Into<Vec<u8>>) {
        let secret = secret.into();
        assert!(secret.len() > BEGIN, "{what}: too short to be a secret");
        self.0.entry(secret).or_insert_with(|| what.to_owned());
    }

    /// Adds the value of a cookie, and by themselves the parts that it is made of.
    pub(super) fn add_cookie(&mut self, value: &str) {
        self.add("cookie", value);
        for part in value.split('.').filter(|part| part.len() > BEGIN) {
            self.add("part of a cookie", part);
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            if bytes.len() > BEGIN {
                self.add("part of a cookie, decoded", bytes);
            }
        }
    }

    /// Lists those that can be typed, with what they are.
    pub(super) fn typed(&self) -> Vec<(String, String)> {
        let typed = |byte: &u8| byte.is_ascii_graphic() || b" \n".contains(byte);
        let text = |(secret, what): (&Vec<u8>, &String)| {
            Some((String::from_utf8(secret.clone()).ok()?, what.clone()))
        };
        let all = self.0.iter();
        let all = all.filter(|(secret, _)| secret.iter().all(typed));
        all.filter_map(text).collect()
    }

    /// Prepares to search for all of them, in each way that they may be written.
    pub(super) fn searcher(&self) -> Searcher {
        let mut forms = HashMap::<_, Vec<_>>::new();
        for (secret, what) in &self.0 {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let typed: String = form_urlencoded::byte_serialize(secret).collect();
            let mut written = vec![
                ("as it is", secret.clone()),
                ("in capital hexadecimal", hex.to_uppercase().into_bytes()),
                ("in hexadecimal", hex.into_bytes()),
                ("percent-encoded", typed.replace('+', "%20").into_bytes()),
                ("as in a form", typed.into_bytes()),
            ];
            for (how, engine) in [
                ("in Base64", STANDARD_NO_PAD),
                ("in Base64 for URLs", URL_SAFE_NO_PAD),
            ] {
                // Also behind something else: a byte or two move all that comes after.
                for before in 0..3 {
                    let moved = engine.encode([&vec![0; before], &secret[..]].concat());
                    // The first and the last letter may have bits of what stands beside it.
                    let begin = (before * 8).div_ceil(6);
                    let end = (before + secret.len()) * 8 / 6;
                    written.push((how, moved.as_bytes()[begin..end].to_owned()));
                }
            }
            for (how, bytes) in written {
                let begin = bytes[..BEGIN].to_owned();
                let words = format!("the {what}, {how}");
                forms.entry(begin).or_default().push((bytes, words));
            }
        }
        Searcher(forms)
    }
}

/// Finds what must be nowhere.
pub(super) struct Searcher(HashMap<Vec<u8>, Vec<(Vec<u8>, String)>>);

impl Searcher {
    /// Returns what of them stands in `text`, and whatever else has the form of one.
    pub(super) fn find(&self, text: &[u8]) -> Option<String> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        for (at, begin) in text.windows(BEGIN).enumerate() {
            let here = &text[at..];
            for (bytes, words) in self.0.get(begin).into_iter().flatten() {
                if here.starts_with(bytes) {
                    return Some(words.clone());
                }
            }
            for (prefix, length) in FORMS {
                if let Some(rest) = here.strip_prefix(prefix.as_bytes())
                    && rest.iter().take_while(|byte| plain(byte)).count() >= length
                {
                    return Some(format!("a secret that begins with {prefix}"));
                }
            }
        }
        None
    }

    pub(super) fn search(&self, place: &str, text: &[u8]) {
        if let Some(found) = self.find(text) {
            panic!("{place} has {found}");
        }
    }
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    let secret = "a secret: 100% & more ÿþ";
    let mut canaries = Canaries::default();
    canaries.add("secret", secret);
    let searcher = canaries.searcher();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
    let basic = |name: &str| STANDARD_NO_PAD.encode(format!("{name}:{secret}:"));
    for written in [
        secret.to_owned(),
        hex.to_lowercase(),
        hex,
        basic("a"),
        basic("ab"),
        basic("abc"),
        URL_SAFE_NO_PAD.encode(secret),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        format!("eyJ{}", "x".repeat(60)),
    ] {
        let found = searcher.find(format!("…{written}…").as_bytes());
        assert!(found.is_some(), "{written}");
    }
    let found = searcher.find(b"a secret: 99% & more, eyJ0, lg_public");
    assert_eq!(found, None);
}
