//! Enums whose variants have names on the command line.

/// Defines an enum together with its names: `ALL`, `name`, `Display` and `FromStr` from one list.
macro_rules! named {
    ($(#[$doc:meta])* $set:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $set { $($(#[$vdoc])* $variant,)+ }

        impl $set {
            /// Every member, in the order of the definition.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The variant's name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $set {
            type Err = crate::sim::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|member| member.name() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|member| member.name()).collect();
                    crate::sim::UnknownName { text: text.to_owned(), known: known.join(", ") }
                })
            }
        }
    };
}
pub(crate) use named;

/// A name that matches no variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not one of: {known}")]
pub struct UnknownName {
    /// The unknown name.
    pub text: String,
    /// The known names, joined by commas.
    pub known: String,
}
