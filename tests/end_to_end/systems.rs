//! Real ticket systems: by themselves, what they show after their seed and after their people's work (`alone`); and in
//! pairs, with a bridge beside each that was set up with a preset (`exchange`).

mod alone;
mod exchange;
mod site;
mod tap;
