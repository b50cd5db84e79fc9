/// Passes the methods of a [`LedgerStore`](crate::store::LedgerStore) on to the store in a field, but for
/// `apply` and `apply_now`: for stores of tests that decide something themselves and nothing else.
#[macro_export]
macro_rules! pass_on_ledger {
    ($inner:ident) => {
        $crate::pass_on_ledger! { $inner:
            standing(subject: $crate::identity::Subject) -> $crate::store::Standing;
            standings(subject: $crate::identity::Subject, at: $crate::clock::Timestamp)
                -> Vec<($crate::store::Limit, $crate::store::Standing)>;
            change_limits(changes: Vec<$crate::store::LimitChange>) -> Option<Vec<$crate::store::Standing>>;
            reset_usage(reset: $crate::store::UsageReset) -> $crate::store::Standing;
            limits(subject: Option<$crate::identity::Subject>) -> Vec<$crate::store::Limit>;
            set_price(price: $crate::store::Price, author: $crate::store::Author) -> $crate::store::Price;
            prices() -> Vec<$crate::store::Price>;
            totals() -> $crate::store::Totals;
            enlist(at: $crate::clock::Timestamp, lease: ::std::time::Duration) -> $crate::store::OwnerId;
            renew(owner: $crate::store::OwnerId, at: $crate::clock::Timestamp, lease: ::std::time::Duration)
                -> bool;
            orphans(at: $crate::clock::Timestamp, grace: ::std::time::Duration, count: usize)
                -> Vec<$crate::identity::RequestId>;
        }
    };
    ($inner:ident: $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $argument: $type)*) -> $crate::store::StoreFuture<'_, $answer> {
            self.$inner.$name($($argument),*)
        }
    )*};
}
