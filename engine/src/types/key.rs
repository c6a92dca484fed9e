//! Run ids, namespaces, type tags and keys.
//!
//! Invariants: a run belongs to one namespace for life, so the physical key is (run id, type
//! tag, user key) and orders by exactly these, as bytes; the namespace is recorded once, with
//! the run.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The identity of a run: an agent's execution, a job, a session.
///
/// Made by the caller, never inside the engine. [`RunId::new`] makes ids that order by time.
///
/// ```
/// use runstone::RunId;
/// let run = RunId::new();
/// let same: RunId = run.to_string().parse()?;
/// assert_eq!(run, same);
/// # Ok::<(), runstone::ParseRunIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Uuid);

impl RunId {
    /// The id with these 16 bytes; ids order by them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        RunId(Uuid::from_bytes(bytes))
    }

    /// The id that is this UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        RunId(uuid)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({})", self.0)
    }
}

impl From<Uuid> for RunId {
    fn from(uuid: Uuid) -> Self {
        RunId(uuid)
    }
}

/// A text that is not a run id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a run id: {0}; give a UUID")]
pub struct ParseRunIdError(uuid::Error);

impl FromStr for RunId {
    type Err = ParseRunIdError;

    /// Reads the usual UUID notations.
    fn from_str(text: &str) -> Result<Self, ParseRunIdError> {
        Uuid::parse_str(text).map(RunId).map_err(ParseRunIdError)
    }
}

/// Whom a run belongs to: tenant, application, agent, and the run itself.
///
/// Recorded once, when the run begins; each name is at most
/// [`Limits::name_bytes_max`](crate::Limits::name_bytes_max) bytes.
///
/// ```
/// use runstone::{Namespace, RunId};
/// let namespace = Namespace::new("acme", "mailer", "writer", RunId::new());
/// assert_eq!(namespace.tenant(), "acme");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    tenant: String,
    app: String,
    agent: String,
    run: RunId,
}

impl Namespace {
    /// The name that [`Namespace::default_for`] uses for tenant, application and agent.
    pub const DEFAULT_NAME: &'static str = "default";

    /// A namespace of these names.
    pub fn new(
        tenant: impl Into<String>,
        app: impl Into<String>,
        agent: impl Into<String>,
        run: RunId,
    ) -> Self {
        Namespace { tenant: tenant.into(), app: app.into(), agent: agent.into(), run }
    }

    /// The namespace that [`Database::begin_run`](crate::Database::begin_run) uses.
    #[must_use]
    pub fn default_for(run: RunId) -> Self {
        Self::new(Self::DEFAULT_NAME, Self::DEFAULT_NAME, Self::DEFAULT_NAME, run)
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The application.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }
}

/// What kind of data a key names. Kinds never meet: a listing sees one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TypeTag {
    /// Plain keys and values.
    KV,
    /// Entries of an event log.
    Event,
    /// Entries of a state machine.
    StateMachine,
    /// Entries of a trace.
    Trace,
    /// The record of a run, written by the engine only.
    RunMetadata,
    /// Vectors.
    Vector,
}

impl TypeTag {
    /// Every tag, in the order of their bytes.
    pub const ALL: [TypeTag; 6] = [
        TypeTag::KV,
        TypeTag::Event,
        TypeTag::StateMachine,
        TypeTag::Trace,
        TypeTag::RunMetadata,
        TypeTag::Vector,
    ];

    /// The byte on disk.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            TypeTag::KV => 1,
            TypeTag::Event => 2,
            TypeTag::StateMachine => 3,
            TypeTag::Trace => 4,
            TypeTag::RunMetadata => 5,
            TypeTag::Vector => 6,
        }
    }

    /// The tag of this byte, if there is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(TypeTag::KV),
            2 => Some(TypeTag::Event),
            3 => Some(TypeTag::StateMachine),
            4 => Some(TypeTag::Trace),
            5 => Some(TypeTag::RunMetadata),
            6 => Some(TypeTag::Vector),
            _ => None,
        }
    }

    /// The name, as errors and traces write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TypeTag::KV => "kv",
            TypeTag::Event => "event",
            TypeTag::StateMachine => "state-machine",
            TypeTag::Trace => "trace",
            TypeTag::RunMetadata => "run-metadata",
            TypeTag::Vector => "vector",
        }
    }
}

/// A full key: namespace (with the run), kind, and the user's bytes.
///
/// Most callers pass run and bytes to [`Database`](crate::Database) and never build one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    namespace: Namespace,
    type_tag: TypeTag,
    user_key: Vec<u8>,
}

impl Key {
    /// A key of any kind.
    pub fn new(namespace: Namespace, type_tag: TypeTag, user_key: impl AsRef<[u8]>) -> Self {
        Key { namespace, type_tag, user_key: user_key.as_ref().to_vec() }
    }

    /// A plain key.
    pub fn new_kv(namespace: Namespace, user_key: impl AsRef<[u8]>) -> Self {
        Self::new(namespace, TypeTag::KV, user_key)
    }

    /// The key of the run's own record; its user key is the run id.
    #[must_use]
    pub fn new_run_metadata(namespace: Namespace) -> Self {
        let run = namespace.run();
        Self::new(namespace, TypeTag::RunMetadata, run.as_bytes())
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.namespace.run
    }

    /// The kind.
    #[must_use]
    pub fn type_tag(&self) -> TypeTag {
        self.type_tag
    }

    /// The user's bytes.
    #[must_use]
    pub fn user_key(&self) -> &[u8] {
        &self.user_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_tag_has_a_byte_of_its_own_that_reads_back() {
        for tag in TypeTag::ALL {
            assert_eq!(TypeTag::from_byte(tag.to_byte()), Some(tag));
        }
        let known = (0..=255).filter(|b| TypeTag::from_byte(*b).is_some()).count();
        assert_eq!(known, TypeTag::ALL.len());
    }

    #[test]
    fn a_run_metadata_key_bears_the_run_id_as_user_key() {
        let run = RunId::from_bytes([7; 16]);
        let key = Key::new_run_metadata(Namespace::default_for(run));
        assert_eq!(key.user_key(), run.as_bytes());
        assert_eq!(key.type_tag(), TypeTag::RunMetadata);
    }

    #[test]
    fn a_bad_run_id_text_is_an_error_that_says_what_to_give() {
        let error = "nonsense".parse::<RunId>().unwrap_err().to_string();
        assert!(error.contains("give a UUID"), "{error}");
    }
}
