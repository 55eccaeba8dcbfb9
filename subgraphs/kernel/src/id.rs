//! Typed ids: a user's id is never taken for a match's.

/// Declares a typed id over a UUID, with its text, JSON and GraphQL forms.
#[macro_export]
macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
            ::serde::Serialize, ::serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub ::uuid::Uuid);

        impl $name {
            /// The id in the form that clients see, or nothing when it is none of ours.
            pub fn parse(text: &str) -> Option<Self> {
                ::uuid::Uuid::try_parse(text).ok().map(Self)
            }

            /// The id as clients see it.
            pub fn global(self) -> ::async_graphql::ID {
                ::async_graphql::ID(self.0.to_string())
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

typed_id!(
    /// A user, in every domain.
    UserId
);
