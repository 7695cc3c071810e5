//! The MIME transfer encoding of a text, as some ticket systems keep it beside each row.

/// The text in `bytes`; nothing where they are none in that encoding.
pub fn decode(bytes: &[u8], encoding: Option<&str>) -> Option<String> {
    match encoding.map(str::trim).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "none" | "7bit" | "8bit" | "binary" => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    }
}
