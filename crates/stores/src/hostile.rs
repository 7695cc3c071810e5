//! What has to hold of stored texts and of the administrator's SQL, whatever stands in them. The fuzz targets call these
//! functions, and the tests below with some thousand mutations of good input. Neither is part of the product.

use crate::encoding::decoded;
use crate::sqltext::{bind, parameters};

#[cfg(test)]
#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

/// A stored text is read in each transfer encoding or in none; and whatever is encoded reads back.
pub fn transfer_encoding(text: &str) {
    assert_eq!(decoded(text, None).as_deref(), Some(text));
    for encoding in ["quoted-printable", "base64", text] {
        if let Some(read) = decoded(text, Some(encoding)) {
            assert!(read.len() <= text.len(), "{read:?} is read from {text:?}");
        }
    }
    let quoted: String = text.bytes().map(|byte| format!("={byte:02X}")).collect();
    assert_eq!(decoded(&quoted, Some("Quoted-Printable ")).as_deref(), Some(text));
    assert_eq!(decoded(&base64(text.as_bytes()), Some("BASE64")).as_deref(), Some(text));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let digit = |at: usize| if at <= three.len() { char::from(DIGITS[bits >> (18 - 6 * at) & 63]) } else { '=' };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// Binding replaces parameters and nothing else: what stands in quotes and comments is left, and names come out as they
/// are.
pub fn administrators_sql(sql: &str) {
    assert_eq!(bind(sql, |name| format!(":{name}")), sql);
    let names = parameters(sql);
    for name in &names {
        assert!(sql.contains(&format!(":{name}")), "{name} in {sql:?}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name:?}");
    }
    let mut used = Vec::new();
    let bound = bind(sql, |name| {
        used.push(name.to_owned());
        "?".to_owned()
    });
    used.sort();
    used.dedup();
    assert_eq!(used.len(), names.len());
    assert!(bound.len() <= sql.len());
}

#[cfg(test)]
mod tests {
    use super::mutate::mutations;
    use super::*;

    #[test]
    fn a_mutated_stored_text_reads_back_or_is_none() {
        let texts = ["caf=C3=A9 =3D long=\r\n line= \nend", "Y2Fmw6k=", "Y2Fm\r\nw6k", "plain \u{0}", "=", "=C3="];
        mutations(&texts, 4000, transfer_encoding);
    }

    #[test]
    fn mutated_sql_keeps_everything_but_its_parameters() {
        let sql = [
            "select t.id as work from t where t.a = ':no' and \"b:no\" = :problem -- :no\n and c::text = :work /* :no */",
            "insert into t (a, `b:no`) values (:text, ':' || :author, 'it''s :no') # :no",
        ];
        mutations(&sql, 4000, administrators_sql);
    }
}
