use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use llm_gate::clock::Timestamp;
use llm_gate::identity::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// How long a login may be under way.
pub const TOO_OLD_AFTER: Duration = Duration::from_secs(600);

/// How far the clocks of two gateways may differ.
const LEEWAY: Duration = Duration::from_secs(5);

/// What is under way: what a browser is given as a cookie, and brings back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// With whom.
    pub provider: String,
    /// Since when.
    pub begun_at: Timestamp,
    /// What for.
    pub purpose: Purpose,
    /// Where the browser goes then: a path here. `None` for a client that wants JSON.
    pub redirect: Option<String>,
    /// What tells it from others: 256 random bits.
    seed: String,
}

/// What a login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To enter.
    Enter,
    /// To let an account be entered so from now on.
    Link {
        /// The account.
        user: UserId,
        /// The session that asks for it, which has to live on, where it is known.
        session: Option<SessionId>,
    },
}

/// The secrets of a login under way, all made of its cookie.
#[derive(Clone)]
pub struct Sealed {
    cookie: String,
    state: String,
    nonce: String,
    verifier: Secret,
    session: SessionId,
}

/// Makes and checks cookies, with a key that is made of the pepper: equal on all replicas, and of no use elsewhere.
#[derive(Clone)]
pub struct Seal(Hmac<Sha256>);

impl Pending {
    /// Describes a login that begins.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn new(
        provider: &str,
        begun_at: Timestamp,
        purpose: Purpose,
        redirect: Option<String>,
    ) -> Self {
        let seed: [u8; 32] = rand::random();
        Self {
            provider: provider.to_owned(),
            begun_at,
            purpose,
            redirect,
            seed: URL_SAFE_NO_PAD.encode(seed),
        }
    }

    /// Returns whether it is too late for it at `now`, or it was begun in a time that has not come.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.begun_at.after(TOO_OLD_AFTER) || self.begun_at > now.after(LEEWAY)
    }
}

impl Seal {
    /// Takes the pepper.
    #[must_use]
    pub fn new(pepper: &Secret) -> Self {
        let mac = keyed(pepper.expose().as_bytes());
        let key = mac.chain_update("llm-gate: logins with other providers");
        Self(keyed(&key.finalize().into_bytes()))
    }

    /// Makes the cookie of a login and all that belongs to it.
    #[must_use]
    pub fn seal(&self, pending: &Pending) -> Sealed {
        // Texts and numbers: nothing in it can fail.
        let json = serde_json::to_vec(pending).unwrap_or_default();
        self.sealed(URL_SAFE_NO_PAD.encode(json), pending.begun_at)
    }

    /// Takes a cookie, if `state` is the one that belongs to it: so that it was made here, and for the login that comes
    /// back.
    #[must_use]
    pub fn open(&self, cookie: &str, state: &str) -> Option<(Pending, Sealed)> {
        let given = URL_SAFE_NO_PAD.decode(state).ok()?;
        // In constant time.
        self.mac("state", cookie).verify_slice(&given).ok()?;
        let json = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let pending: Pending = serde_json::from_slice(&json).ok()?;
        let sealed = self.sealed(cookie.to_owned(), pending.begun_at);
        Some((pending, sealed))
    }

    fn sealed(&self, cookie: String, begun_at: Timestamp) -> Sealed {
        let derive = |purpose| self.mac(purpose, &cookie).finalize().into_bytes();
        let text = |purpose| URL_SAFE_NO_PAD.encode(derive(purpose));
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(derive("session")) {
            *to = from;
        }
        let millis = u64::try_from(begun_at.as_micros() / 1000).unwrap_or(0);
        let session = uuid::Builder::from_unix_timestamp_millis(millis, &random);
        Sealed {
            state: text("state"),
            nonce: text("nonce"),
            verifier: text("verifier").into(),
            session: SessionId::from_uuid(session.into_uuid()),
            cookie,
        }
    }

    fn mac(&self, purpose: &str, cookie: &str) -> Hmac<Sha256> {
        // No purpose begins another, and none has a line break.
        self.0
            .clone()
            .chain_update(purpose)
            .chain_update("\n")
            .chain_update(cookie)
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl Sealed {
    /// Returns what the browser keeps.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Returns what the provider sends back.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Returns what the ID token has to say.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Returns what proves that it was us who began (RFC 7636, section 4.1).
    #[must_use]
    pub fn verifier(&self) -> &Secret {
        &self.verifier
    }

    /// Returns what the provider is told of that (RFC 7636, section 4.2).
    #[must_use]
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose()))
    }

    /// Returns the name of the session that this login opens: the store has one of a name, so that a login that comes
    /// back twice enters once, to whichever gateway it comes.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn seal() -> Seal {
        Seal::new(&"a pepper of thirty-two bytes, or more".into())
    }

    fn pending() -> Pending {
        Pending::new("work", NOW, Purpose::Enter, Some("/a".to_owned()))
    }

    #[test]
    fn a_cookie_and_its_state_say_what_was_begun() {
        for purpose in [
            Purpose::Enter,
            Purpose::Link {
                user: UserId::new(),
                session: Some(SessionId::new()),
            },
        ] {
            let pending = Pending {
                purpose,
                ..pending()
            };
            let sealed = seal().seal(&pending);
            let (opened, again) = seal()
                .open(sealed.cookie(), sealed.state())
                .expect("made here");
            assert_eq!(opened, pending);
            assert_eq!(again.verifier().expose(), sealed.verifier().expose());
            assert_eq!(again.nonce(), sealed.nonce());
            assert_eq!(again.session(), sealed.session());
        }
    }

    #[test]
    fn neither_is_taken_with_another_or_changed() {
        let (one, other) = (seal().seal(&pending()), seal().seal(&pending()));
        let open = |cookie: &str, state: &str| seal().open(cookie, state).is_some();
        assert!(open(one.cookie(), one.state()));
        assert!(!open(one.cookie(), other.state()), "of another login");
        assert!(!open(other.cookie(), one.state()));
        assert!(!open(one.cookie(), one.nonce()), "no other of its secrets");
        assert!(!open(one.cookie(), ""));
        assert!(!open("", one.state()));
        assert!(!open(one.cookie(), &one.state()[1..]));
        assert!(!open(one.cookie(), &format!("{}A", one.state())));
        let mut changed = pending();
        changed.redirect = Some("/b".to_owned());
        let changed = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&changed).expect("JSON"));
        assert!(!open(&changed, one.state()), "a cookie of one's own");
        let elsewhere = Seal::new(&"another pepper of thirty-two bytes".into());
        assert!(elsewhere.open(one.cookie(), one.state()).is_none());
    }

    #[test]
    fn no_secret_of_a_login_tells_another() {
        let sealed = seal().seal(&pending());
        let all = [
            sealed.state(),
            sealed.nonce(),
            sealed.verifier().expose(),
            &sealed.challenge(),
        ];
        for (place, one) in all.iter().enumerate() {
            assert_eq!(
                one.len(),
                43,
                "256 bits; a verifier has 43 to 128 characters"
            );
            assert!(!all[place + 1..].contains(one));
            assert!(!sealed.cookie().contains(one));
        }
        assert_eq!(sealed.session().as_uuid().get_version_num(), 7);
        assert_eq!(format!("{sealed:?} {:?}", seal()), "Sealed(..) Seal(..)");
    }

    #[test]
    fn a_login_is_under_way_for_ten_minutes() {
        let after = |seconds| NOW.after(Duration::from_secs(seconds));
        let pending = pending();
        assert!(!pending.is_over(NOW));
        assert!(!pending.is_over(after(599)));
        assert!(pending.is_over(after(600)));
        let early = Timestamp::from_micros(NOW.as_micros() - 6_000_000);
        assert!(pending.is_over(early), "begun in the future");
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let sealed = Sealed {
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
            ..seal().seal(&pending())
        };
        assert_eq!(
            sealed.challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
