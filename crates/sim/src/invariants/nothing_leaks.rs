//! §11.3: no marker and no unshared value ever appears in a message or in a reason.

use landbridge_core::message::{self, Deliveries, Push};

use crate::executor::locked;
use crate::world::{Violation, World};

/// Looks at the messages since it looked last.
pub fn nothing_leaks(world: &World) -> Result<(), Violation> {
    let unread = std::mem::take(&mut locked(&world.seen).unread);
    for bytes in unread {
        let text = String::from_utf8_lossy(&bytes);
        let violation = |what: String| Err(Violation { invariant: "nothing leaks (§11.3)", what });
        for item in world.script.items.iter().filter(|item| !item.public) {
            if text.contains(item.text()) {
                return violation(format!("{:?} is not public and is in a message", item.text()));
            }
        }
        if text.contains("; seal ") {
            return violation(format!("a marker is in a message: {text}"));
        }
        let deliveries = match message::from_bytes::<Push>(&bytes) {
            Ok(push) => push.deliveries,
            Err(_) => message::from_bytes::<Deliveries>(&bytes).map(|d| d.deliveries).unwrap_or_default(),
        };
        let texts = deliveries.iter().flat_map(|d| &d.entries).filter_map(|e| e.text.as_ref());
        for text in texts {
            if !world.script.by_text.contains_key(text) {
                return violation(format!("nobody wrote {text:?}"));
            }
        }
    }
    Ok(())
}
