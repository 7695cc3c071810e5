//! What an adapter found out about a database and its mapping, for a person.

/// What stands against a mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What must be corrected before the bridge starts, a sentence each.
    pub faults: Vec<String>,
    /// What works, and still is worth a person's look.
    pub notes: Vec<String>,
}
