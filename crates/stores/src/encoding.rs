//! MIME transfer encodings of texts. A stand-in until the module of the same signature is merged.

/// The text that `bytes` are in this encoding; nothing where they are none.
pub fn decode(bytes: &[u8], encoding: Option<&str>) -> Option<String> {
    match encoding {
        None | Some("" | "none") => String::from_utf8(bytes.to_vec()).ok(),
        Some(_) => None,
    }
}
