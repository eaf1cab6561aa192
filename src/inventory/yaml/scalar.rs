//! What a scalar means: YAML 1.2's core schema without its surprises.
//!
//! `no`, `on`, `0755`, `1_000` and `0x1f` are text; `true`, `false` and decimal numbers are what they look like.

/// A plain scalar's meaning where no type is asked for.
#[derive(Debug, PartialEq)]
pub enum Plain<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

/// Resolves an unquoted scalar.
pub fn resolve(text: &str) -> Plain<'_> {
    match text {
        _ if is_null(text) => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Bool(true),
        "false" | "False" | "FALSE" => Plain::Bool(false),
        _ => number(text).unwrap_or(Plain::Text(text)),
    }
}

/// Whether an unquoted scalar is null.
pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether text is a decimal integer without leading zeros.
pub fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'))
}

/// Whether text is a decimal number with a fraction or an exponent.
pub fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    is_integer(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
        && (fraction.is_some() || exponent.is_some())
}

fn number(text: &str) -> Option<Plain<'_>> {
    if is_integer(text) {
        let positive = text.parse().map(Plain::Unsigned);
        positive.or_else(|_| text.parse().map(Plain::Signed)).ok()
    } else if is_float(text) {
        // Beyond f64 it stays text rather than becoming infinite.
        let value: f64 = text.parse().ok()?;
        value.is_finite().then_some(Plain::Float(value))
    } else {
        None
    }
}

/// The first character that must not reach a configuration file: controls, line separators, and the ones that reorder
/// or hide text on a screen.
pub fn forbidden(text: &str, allow_lines: bool) -> Option<char> {
    text.chars().find(|&c| match c {
        '\n' | '\t' => !allow_lines,
        // hactl's own brackets in rendered text, see role/templates.rs.
        '\u{E000}'..='\u{E002}' => true,
        '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => true,
        c => c.is_control(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Plain, resolve};

    #[test]
    fn only_plain_decimals_are_numbers() {
        for text in [
            "no", "yes", "on", "0755", "017", "1_000", "0x1f", "0o17", "1.", ".5", "1e", "-", "1:30", ".inf",
        ] {
            assert_eq!(resolve(text), Plain::Text(text));
        }
        assert_eq!(resolve("1.10"), Plain::Float(1.1));
        assert_eq!(resolve("1e400"), Plain::Text("1e400"));
        assert_eq!(resolve("-3"), Plain::Signed(-3));
        assert_eq!(resolve("18446744073709551615"), Plain::Unsigned(u64::MAX));
        assert_eq!(resolve("18446744073709551616"), Plain::Text("18446744073709551616"));
        assert_eq!(resolve("~"), Plain::Null);
        assert_eq!(resolve("true"), Plain::Bool(true));
    }
}
