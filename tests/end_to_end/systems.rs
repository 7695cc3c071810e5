//! Real ticket systems: by themselves, what they show after their seed and after their people's work (`alone`); in pairs,
//! with a bridge beside each that was set up with a preset (`exchange`); and each preset on each kind of database
//! (`presets`).

mod alone;
mod exchange;
mod presets;
mod site;
pub mod tap;

/// Whether there is time for full counts.
fn is_soak() -> bool {
    std::env::var("LANDBRIDGE_SOAK").as_deref() == Ok("1")
}
