//! From a list of bugs, an enumeration that knows the id and the words of each.

macro_rules! bugs {
    ($($id:ident $bug:ident $what:literal)*; $($sid:ident $race:ident $how:literal)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
            $(#[doc = $how] $race,)*
        }

        impl Bug {
            /// All bugs that one thread meets, in the order of their ids.
            pub const ALL: &[Bug] = &[$(Bug::$bug,)*];

            /// The races among threads: one thread never meets them, a schedule explorer does
            /// (feature `explore`).
            pub const RACES: [Bug; [$(stringify!($race)),*].len()] = [$(Bug::$race,)*];

            /// The stable id.
            pub fn id(self) -> &'static str {
                match self {
                    $(Bug::$bug => stringify!($id),)*
                    $(Bug::$race => stringify!($sid),)*
                }
            }

            /// What the engine does wrong.
            pub fn what(self) -> &'static str {
                match self {
                    $(Bug::$bug => $what,)*
                    $(Bug::$race => $how,)*
                }
            }
        }
    };
}
