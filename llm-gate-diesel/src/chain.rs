//! The hash chain over the ledger: each line's hash covers the line before it by the same writer, so that a line
//! that is changed, taken out or put in between is found.
//!
//! The hash is SHA-256 over, in this order, numbers big-endian and texts behind their length in 4 bytes:
//!
//! | | bytes |
//! |---|---|
//! | hash of the writer's line before, zeros for its first | 32 |
//! | row | 8 |
//! | writer | 16 |
//! | sequence, from 1 on | 8 |
//! | kind | text |
//! | reservation, zeros for none | 16 |
//! | counter: kind of subject | text |
//! | counter: subject | 16 |
//! | counter: model, empty for all | text |
//! | counter: unit | text |
//! | counter: kind of window | text |
//! | counter: start of the window | 8 |
//! | charge | 8 |
//! | overage | 8 |
//! | 1 and the new limit, or 0 and zeros | 1 + 8 |
//! | time | 8 |
//!
//! Along a chain rows grow, too. `store/audit/chains.rs` checks all of that.

use llm_gate::store::CounterKey;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The hash before a writer's first line.
pub(crate) const GENESIS: [u8; 32] = [0; 32];

/// What a line says, without its hash.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) id: i64,
    pub(crate) writer: Uuid,
    pub(crate) sequence: i64,
    pub(crate) kind: &'a str,
    pub(crate) reservation: Option<Uuid>,
    pub(crate) counter: &'a CounterKey,
    pub(crate) charge: i64,
    pub(crate) overage: i64,
    pub(crate) amount: Option<i64>,
    pub(crate) at: i64,
}

impl Line<'_> {
    /// Returns the hash of the line behind one with the hash `previous`.
    pub(crate) fn hash(&self, previous: &[u8; 32]) -> [u8; 32] {
        let (kind, subject) = self.counter.subject.parts();
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(previous);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(self.writer.as_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        text(&mut bytes, self.kind);
        bytes.extend_from_slice(self.reservation.unwrap_or_default().as_bytes());
        text(&mut bytes, kind);
        bytes.extend_from_slice(subject.as_bytes());
        text(
            &mut bytes,
            self.counter.model.as_deref().unwrap_or_default(),
        );
        text(&mut bytes, self.counter.unit.as_str());
        text(&mut bytes, self.counter.period.as_str());
        bytes.extend_from_slice(&self.counter.start.as_micros().to_be_bytes());
        bytes.extend_from_slice(&self.charge.to_be_bytes());
        bytes.extend_from_slice(&self.overage.to_be_bytes());
        bytes.push(u8::from(self.amount.is_some()));
        bytes.extend_from_slice(&self.amount.unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(&self.at.to_be_bytes());
        Sha256::digest(&bytes).into()
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use llm_gate::identity::{Subject, UserId};

    use super::*;

    fn line(counter: &CounterKey) -> Line<'_> {
        Line {
            id: 9,
            writer: Uuid::from_u128(1),
            sequence: 1,
            kind: "settle",
            reservation: Some(Uuid::from_u128(2)),
            counter,
            charge: 28,
            overage: 0,
            amount: None,
            at: 1_767_225_600_000_000,
        }
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        let user = Subject::User(UserId::from_uuid(Uuid::from_u128(3)));
        let counter = CounterKey::total_tokens(user);
        let mut bytes = vec![0; 32];
        bytes.extend(9_i64.to_be_bytes());
        bytes.extend(1_u128.to_be_bytes());
        bytes.extend(1_i64.to_be_bytes());
        bytes.extend(b"\0\0\0\x06settle");
        bytes.extend(2_u128.to_be_bytes());
        bytes.extend(b"\0\0\0\x04user");
        bytes.extend(3_u128.to_be_bytes());
        bytes.extend(b"\0\0\0\0\0\0\0\x06tokens\0\0\0\x05total");
        bytes.extend(0_i64.to_be_bytes());
        bytes.extend(28_i64.to_be_bytes());
        bytes.extend([0; 8 + 1 + 8]);
        bytes.extend(1_767_225_600_000_000_i64.to_be_bytes());
        let expected: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(line(&counter).hash(&GENESIS), expected);
    }

    #[test]
    fn every_field_counts() {
        let user = Subject::User(UserId::from_uuid(Uuid::from_u128(3)));
        let counter = CounterKey::total_tokens(user);
        let elsewhere = CounterKey {
            model: Some("m".into()),
            ..counter.clone()
        };
        let plain = line(&counter);
        let others = [
            Line {
                id: 8,
                ..plain.clone()
            },
            Line {
                sequence: 2,
                ..plain.clone()
            },
            Line {
                kind: "refund",
                ..plain.clone()
            },
            Line {
                reservation: None,
                ..plain.clone()
            },
            Line {
                counter: &elsewhere,
                ..plain.clone()
            },
            Line {
                charge: 29,
                ..plain.clone()
            },
            Line {
                overage: 1,
                ..plain.clone()
            },
            Line {
                amount: Some(0),
                ..plain.clone()
            },
            Line {
                at: 0,
                ..plain.clone()
            },
        ];
        let hash = plain.hash(&GENESIS);
        for other in others {
            assert_ne!(other.hash(&GENESIS), hash, "{other:?}");
        }
        assert_ne!(plain.hash(&[1; 32]), hash, "the line before counts too");
    }
}
