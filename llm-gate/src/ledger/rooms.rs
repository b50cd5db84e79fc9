use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::identity::Subject;
use crate::store::{Outcome, Standing};
use crate::tokens::{Amount, Tokens};

/// How many sets of counters are remembered.
const PLACES: usize = 1024;

/// What was last known of the room on counters, per set of subjects and model.
///
/// Nothing is granted by it: it tells where a refusal is so unlikely that a request may be sent on while its
/// hold is being committed. So it may forget and be wrong, and is as simple as that allows: a place a hash,
/// and whoever comes last has it.
pub(super) struct Rooms {
    random: RandomState,
    places: Box<[Mutex<Place>]>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    key: u64,
    /// What the store's last answer left, `None` before the first.
    room: Option<Tokens>,
    /// The holds that were asked for since, and not answered yet.
    asked: Tokens,
}

/// A hold that is asked for, to be told how it was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) key: u64,
    hold: Tokens,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Self {
            random: RandomState::new(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Notes that a hold is asked for. Tells also whether there was clear room for it: twice what it takes, so
    /// that neither somebody else's gate nor an extension is likely to have been faster.
    pub(super) fn ask(&self, subjects: &[Subject], model: &str, hold: Tokens) -> (Asked, bool) {
        let key = self.random.hash_one((subjects, model));
        let mut place = self.place(key);
        if place.key != key {
            *place = Place {
                key,
                ..Place::default()
            };
        }
        let clear = place
            .room
            .is_some_and(|room| room.saturating_sub(place.asked) >= hold.saturating_mul(2));
        place.asked = place.asked.saturating_add(hold);
        (Asked { key, hold }, clear)
    }

    /// Takes the answer to what was asked; `None` where there is none.
    pub(super) fn answered(&self, asked: Asked, outcome: Option<&Outcome>) {
        let mut place = self.place(asked.key);
        if place.key == asked.key {
            place.asked = place.asked.saturating_sub(asked.hold);
            place.room = match outcome {
                // A hold that was cut has taken all there was, of money too, which the room does not tell of.
                Some(Outcome::Granted(grant)) if grant.hold < asked.hold => Some(Tokens::ZERO),
                other => other.and_then(room),
            };
        }
    }

    /// Takes the answer to an extension on the same counters.
    pub(super) fn extended(&self, key: u64, outcome: &Outcome) {
        let mut place = self.place(key);
        if place.key == key
            && let Some(room) = room(outcome)
        {
            place.room = Some(room);
        }
    }

    fn place(&self, key: u64) -> MutexGuard<'_, Place> {
        // What is left of the division is less than the number of places.
        let place = &self.places[(key % PLACES as u64) as usize];
        // Nothing panics while it is held.
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what an answer says of the room.
fn room(outcome: &Outcome) -> Option<Tokens> {
    match outcome {
        Outcome::Granted(grant) | Outcome::Extended(grant) => {
            let last = |requests: &Standing| requests.room() < Amount::new(2);
            let tight = grant.requests.as_ref().is_some_and(last);
            Some(if tight {
                Tokens::ZERO
            } else {
                grant.standing.room()
            })
        }
        // Nothing where it is frozen, or has no price.
        Outcome::Denied(denial) => Some(denial.fits),
        Outcome::Settled(_) | Outcome::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::identity::UserId;
    use crate::store::{CounterKey, Denial, DenialReason, Grant};

    use super::*;

    fn left(room: u64) -> Standing {
        Standing {
            limit: Some(Tokens::new(room)),
            ..Standing::default()
        }
    }

    fn granted(room: u64) -> Outcome {
        Outcome::Granted(Grant {
            hold: Tokens::new(10),
            standing: left(room),
            requests: None,
            at: None,
            repeated: false,
        })
    }

    struct Desk(Rooms, [Subject; 1]);

    impl Desk {
        fn new() -> Self {
            Self(Rooms::new(), [Subject::User(UserId::new())])
        }

        fn ask(&self, hold: u64) -> (Asked, bool) {
            self.0.ask(&self.1, "tiny", Tokens::new(hold))
        }
    }

    #[test]
    fn nothing_is_clear_behind_a_hold_that_was_cut() {
        let desk = Desk::new();
        let (first, _) = desk.ask(11);
        // As where money is scarce, and tokens are not.
        desk.0.answered(first, Some(&granted(1_000)));
        let (next, clear) = desk.ask(10);
        assert!(!clear, "ten were all there was");
        desk.0.answered(next, Some(&granted(1_000)));
        assert!(desk.ask(10).1, "granted whole");
    }

    #[test]
    fn nothing_is_clear_before_the_first_answer() {
        let desk = Desk::new();
        let (first, clear) = desk.ask(10);
        assert!(!clear, "nobody knows");
        assert!(!desk.ask(10).1, "nor by asking again");
        desk.0.answered(first, Some(&granted(1000)));
        assert!(desk.ask(10).1, "now it is known");
        let other = desk.0.ask(&desk.1, "other", Tokens::new(10));
        assert!(!other.1, "but not for another model");
    }

    #[test]
    fn what_is_asked_for_meanwhile_is_taken_off() {
        let desk = Desk::new();
        let (first, _) = desk.ask(10);
        desk.0.answered(first, Some(&granted(50)));
        let (second, clear) = desk.ask(10);
        assert!(clear && desk.ask(10).1 && desk.ask(10).1, "50, 40, 30");
        assert!(desk.ask(10).1, "20 are twice as much");
        assert!(!desk.ask(10).1, "10 are not");
        desk.0.answered(second, Some(&granted(60)));
        assert!(
            desk.ask(10).1,
            "the last answer counts, less the four others"
        );
    }

    #[test]
    fn a_refusal_and_a_failure_end_it() {
        let denied = |reason, fits| {
            Outcome::Denied(Box::new(Denial {
                counter: CounterKey::total_tokens(Subject::User(UserId::new())),
                reason,
                asked: Tokens::new(10),
                standing: left(1000),
                at: None,
                fits: Tokens::new(fits),
            }))
        };
        let last_request = Outcome::Granted(Grant {
            hold: Tokens::new(10),
            standing: left(1000),
            requests: Some(left(1)),
            at: None,
            repeated: false,
        });
        for answer in [
            Some(denied(DenialReason::Exhausted, 5)),
            Some(denied(DenialReason::Frozen, 0)),
            Some(last_request),
            None,
        ] {
            let desk = Desk::new();
            let (first, _) = desk.ask(10);
            desk.0.answered(first, Some(&granted(1000)));
            let (second, clear) = desk.ask(10);
            assert!(clear);
            desk.0.answered(second, answer.as_ref());
            assert!(!desk.ask(10).1, "{answer:?}");
        }
    }

    #[test]
    fn an_extension_takes_room_too() {
        let desk = Desk::new();
        let (first, _) = desk.ask(10);
        desk.0.answered(first, Some(&granted(1000)));
        let Outcome::Granted(grant) = granted(3) else {
            unreachable!("as made")
        };
        desk.0.extended(first.key, &Outcome::Extended(grant));
        assert!(!desk.ask(10).1);
    }

    #[test]
    fn it_is_bounded() {
        let desk = Desk::new();
        for _ in 0..10 * PLACES {
            let (asked, _) = desk
                .0
                .ask(&[Subject::User(UserId::new())], "tiny", Tokens::new(1));
            desk.0.answered(asked, Some(&granted(1000)));
        }
        assert_eq!(desk.0.places.len(), PLACES, "the last ones have the places");
    }
}
