//! `--plant BUG`: a known bug in the engine under test, in calibration builds only.
//!
//! A bug is planted for one thread: every thread that simulates plants it for itself. Without
//! the feature `planted` nothing can be planted, and a saved case that needs a bug is refused.

use clap::Args;
#[cfg(feature = "planted")]
use runstone::planted::{Bug, plant};

/// The bug that is planted, if any.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Plant {
    /// Plants a known bug into the engine, by its id or its name
    #[cfg(feature = "planted")]
    #[arg(long = "plant", value_name = "BUG", value_parser = bug, hide = true)]
    bug: Option<Bug>,
}

#[cfg(feature = "planted")]
pub(super) fn bug(name: &str) -> Result<Bug, String> {
    let named = |bug: &Bug| bug.id() == name || format!("{bug:?}") == name;
    Bug::ALL
        .iter()
        .copied()
        .find(named)
        .ok_or_else(|| format!("no bug is named {name:?}; there are {:?}", Bug::ALL))
}

#[cfg(feature = "planted")]
impl Plant {
    /// Of the two, the bug that a saved case names; the option, if it names none.
    pub(crate) fn or_named(self, name: Option<&str>) -> Result<Plant, String> {
        Ok(match name {
            Some(name) => Plant { bug: Some(bug(name)?) },
            None => self,
        })
    }

    /// Plants it for the current thread.
    pub(crate) fn plant(self) {
        plant(self.bug);
    }

    /// Its name.
    pub(crate) fn name(self) -> Option<String> {
        self.bug.map(|bug| format!("{bug:?}"))
    }
}

#[cfg(not(feature = "planted"))]
impl Plant {
    /// Nothing can be planted: a saved case that names a bug is refused.
    pub(crate) fn or_named(self, name: Option<&str>) -> Result<Plant, String> {
        match name {
            Some(name) => {
                Err(format!("the case needs the planted bug {name}; build with --features planted"))
            }
            None => Ok(self),
        }
    }

    /// Plants nothing.
    pub(crate) fn plant(self) {}

    /// No name.
    pub(crate) fn name(self) -> Option<String> {
        None
    }
}

impl Plant {
    /// The command that does something with a seed, or with the file of a case.
    pub(crate) fn command(
        self,
        command: &str,
        case: impl std::fmt::Display,
        world: Option<&str>,
    ) -> String {
        let (feature, option) = match self.name() {
            Some(name) => (" --features planted", format!(" --plant {name}")),
            None => ("", String::new()),
        };
        let world = world.map_or(String::new(), |world| format!(" --world {world}"));
        format!("cargo run --release -p runstone-sim{feature} -- {command} {case}{world}{option}")
    }
}
