use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Binary;
use llm_gate::store::TokenHash;
use llm_gate::tokens::Tokens;
use uuid::Uuid;

use crate::error::Failure;

/// An identifier as its 16 bytes. Diesel's own `uuid` support knows PostgreSQL only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub(crate) struct Id(pub(crate) Uuid);

impl<DB: Backend> ToSql<Binary, DB> for Id
where
    [u8]: ToSql<Binary, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.as_bytes().as_slice().to_sql(out)
    }
}

impl<DB: Backend> FromSql<Binary, DB> for Id
where
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Uuid::from_slice(&Vec::from_sql(bytes)?)?))
    }
}

macro_rules! ids {
    ($($name:ident),*) => {$(
        impl From<llm_gate::identity::$name> for Id {
            fn from(id: llm_gate::identity::$name) -> Self {
                Self(*id.as_uuid())
            }
        }

        impl From<Id> for llm_gate::identity::$name {
            fn from(id: Id) -> Self {
                Self::from_uuid(id.0)
            }
        }
    )*};
}

ids!(
    EventId, InviteId, KeyId, ProjectId, RequestId, SessionId, UserId
);

/// The hash of a secret.
#[derive(Clone, Copy, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub(crate) struct Hash(pub(crate) TokenHash);

impl<DB: Backend> ToSql<Binary, DB> for Hash
where
    [u8]: ToSql<Binary, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.0.as_slice().to_sql(out)
    }
}

impl<DB: Backend> FromSql<Binary, DB> for Hash
where
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::from_sql(bytes)?;
        Ok(Self(TokenHash(bytes.as_slice().try_into()?)))
    }
}

/// Reads an amount.
pub(crate) fn tokens(amount: i64) -> Result<Tokens, Failure> {
    Tokens::try_new(amount).ok_or_else(|| Failure::corrupt("an amount is out of range"))
}

/// Prepares free text, which may come from anywhere: PostgreSQL keeps any character but NUL.
pub(crate) fn text(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}
