//! What a confirmed address means for all that an account has.

use crate::identity::Subject;
use crate::store::conformance::support::{
    account, at, denied, done, granted, hash, key, reader, reserve, ticket,
};
use crate::store::{DenialReason, Identity, Store, TicketPurpose, User};

/// Whoever registered with an address that is somebody else's loses all of the account to its reader.
pub async fn who_reads_an_unconfirmed_address_gets_the_account_alone<S: Store>(store: S) {
    let unconfirmed = account(Some("ada@example.org"), None);
    let ada = done(store.create_user(unconfirmed).await);
    let bea = reader(&store, "bea@example.org").await;
    let mut made = Vec::new();
    for (number, user) in [&ada, &bea].into_iter().enumerate() {
        let public = format!("key{number}");
        let key = done(store.create_key(key(user, &public)).await);
        let identity = Identity {
            issuer: "https://login.example".to_owned(),
            subject: public,
        };
        assert!(done(store.link_identity(user.id, identity, at(1)).await));
        let secret = hash(u8::try_from(number).expect("two"));
        done(
            store
                .create_ticket(ticket(user, TicketPurpose::ResetPassword, secret))
                .await,
        );
        made.push(key.id);
    }
    for secret in [0, 1] {
        let reset = store.reset_password(hash(secret), "second".to_owned(), at(2));
        assert!(done(reset.await).is_some_and(|user| user.email_verified));
    }
    let left = async |user: &User, public: &str| {
        let key = done(store.key_by_public_id(public.to_owned()).await);
        let revoked = key.is_none_or(|found| found.key.revoked_at.is_some());
        (revoked, done(store.identities(user.id).await).len())
    };
    assert_eq!(
        left(&ada, "key0").await,
        (true, 0),
        "the address was not confirmed"
    );
    assert_eq!(
        left(&bea, "key1").await,
        (false, 1),
        "it was, so all of it is hers"
    );
    let (stopped, works) = (
        reserve(&[Subject::Key(made[0])], 1),
        reserve(&[Subject::Key(made[1])], 1),
    );
    assert_eq!(
        denied(&store, &stopped).await.reason,
        DenialReason::Frozen,
        "from this commit on"
    );
    granted(&store, &works).await;
}
