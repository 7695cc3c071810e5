//! `${NAME}` in a text reads the environment; `$${` stands for `${` itself.
//!
//! Where a name is missing the fault says the name. What a variable holds never appears in a message.

/// Why a text could not be completed from the environment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EnvFault {
    /// There is no variable of this name.
    Missing(String),
    /// `${` without `}`, or with something between them that is no name.
    Form,
}

/// `written` with every `${NAME}` replaced, or everything that hinders it.
pub(super) fn expand(written: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<EnvFault>> {
    let (mut text, mut faults, mut rest) = (String::with_capacity(written.len()), Vec::new(), written);
    while let Some(i) = rest.find('$') {
        let (before, from) = rest.split_at(i);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("$${") {
            text.push_str("${");
            rest = after;
        } else if let Some(after) = from.strip_prefix("${") {
            match after.split_once('}').filter(|(name, _)| is_name(name)) {
                Some((name, behind)) => {
                    match env(name) {
                        Some(value) => text.push_str(&value),
                        None => faults.push(EnvFault::Missing(name.to_owned())),
                    }
                    rest = behind;
                }
                None => {
                    faults.push(EnvFault::Form);
                    rest = after;
                }
            }
        } else {
            text.push('$');
            rest = &from[1..];
        }
    }
    text.push_str(rest);
    if faults.is_empty() { Ok(text) } else { Err(faults) }
}

/// `text` written so that [`expand`] gives it back.
pub(super) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

/// Whether `name` is a letter or `_`, then letters, digits and `_`: a variable, and likewise a field.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "DB").then(|| "a ${DB} b".to_owned())
    }

    #[test]
    fn a_name_is_replaced_once_and_its_value_is_left_alone() {
        assert_eq!(expand("x${DB}y", &env).unwrap(), "xa ${DB} by");
        assert_eq!(expand("$ $$ $DB 5$", &env).unwrap(), "$ $$ $DB 5$");
    }

    #[test]
    fn every_missing_name_is_named() {
        let faults = expand("${A}${DB}${B}${}${", &env).unwrap_err();
        let missing = |n: &str| EnvFault::Missing(n.into());
        assert_eq!(faults, [missing("A"), missing("B"), EnvFault::Form, EnvFault::Form]);
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["${DB}", "$${DB}", "$$${", "a$", "${", "ü${x"] {
            assert_eq!(expand(&escape(text), &env).unwrap(), text);
        }
    }
}
