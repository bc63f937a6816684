//! What an unquoted YAML scalar means: the core schema of YAML 1.2 (chapter
//! 10.3.2) and nothing else. `yes`, `on`, `1:30` and `2026-01-01` are text, so
//! no country code or duration turns into something it was not. Called by
//! `yaml` for plain scalars, and by the printer to know what it must quote.
//! Manifests that `kubectl` would read are read as `kubectl` does.

use super::node::Value;

/// The value of a plain scalar.
pub fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// As Kubernetes reads it, by YAML 1.1: `defaultMode: 0644` is octal there, and `yes` is true.
/// Seen from an API server 1.33, value by value (see the tests).
pub fn kubernetes(text: &str) -> Value {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return resolve(text);
    }
    let plain = text.replace('_', "");
    if let Some(number) = prefixed(&plain) {
        return Value::Int(number);
    }
    match resolve(&plain) {
        Value::Float(value) if value.is_infinite() && plain.contains(['e', 'E']) => {
            Value::String(text.to_owned())
        }
        Value::String(_) => Value::String(text.to_owned()),
        value => value,
    }
}

/// A whole number by the prefix of its base; a leading zero alone is octal.
fn prefixed(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.strip_prefix('0')?;
    let (radix, digits) = match digits.as_bytes().first()? {
        b'x' | b'X' => (16, &digits[1..]),
        b'o' | b'O' => (8, &digits[1..]),
        b'b' | b'B' => (2, &digits[1..]),
        _ => (8, digits),
    };
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    is_number.then(|| i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()).flatten()
}

fn number(text: &str) -> Option<Value> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return valid.then(|| radix_int(digits, radix));
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
        return Some(Value::Float(sign * f64::INFINITY));
    }
    if !is_decimal(unsigned) {
        return None;
    }
    match text.parse::<i64>() {
        Ok(value) => Some(Value::Int(value)),
        Err(_) => text.parse::<f64>().ok().map(Value::Float),
    }
}

/// Beyond 64 bits the exact value no longer matters: no field takes it.
fn radix_int(digits: &str, radix: u32) -> Value {
    i64::from_str_radix(digits, radix).map_or(Value::Float(f64::INFINITY), Value::Int)
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_ok && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        use Value::{Bool, Float, Int, Null};
        let rows = [
            ("", Null),
            ("~", Null),
            ("NULL", Null),
            ("true", Bool(true)),
            ("FALSE", Bool(false)),
            ("0", Int(0)),
            ("-7", Int(-7)),
            ("+7", Int(7)),
            ("0123", Int(123)),
            ("0o17", Int(15)),
            ("0xfF", Int(255)),
            ("9223372036854775807", Int(i64::MAX)),
            ("9223372036854775808", Float(9_223_372_036_854_775_808.0)),
            ("1.", Float(1.0)),
            (".5", Float(0.5)),
            ("1e3", Float(1000.0)),
            ("-1.5E-1", Float(-0.15)),
            ("-.inf", Float(f64::NEG_INFINITY)),
        ];
        for (text, expected) in rows {
            assert_eq!(resolve(text), expected, "{text}");
        }
        assert!(matches!(resolve(".nan"), Float(value) if value.is_nan()));
    }

    #[test]
    fn everything_else_is_text() {
        let texts = [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "nUll",
            "tRue",
            "0o8",
            "0o",
            "0xg",
            "0b1",
            "1_000",
            "1:30",
            "5s",
            ".",
            "-",
            "+",
            "e3",
            "1e",
            "inf",
            "nan",
            "1.2.3",
            "2026-01-01",
            "--1",
            "0x-1",
        ];
        for text in texts {
            assert_eq!(resolve(text), Value::String(text.into()), "{text}");
        }
    }

    /// What a real API server made of each, from a manifest in YAML.
    #[test]
    fn kubernetes_reads_the_older_yaml() {
        use Value::{Bool, Float, Int, Null};
        let rows = [
            ("0644", Int(420)),
            ("0o644", Int(420)),
            ("0O17", Int(15)),
            ("0777_7", Int(4095)),
            ("0_7", Int(7)),
            ("00", Int(0)),
            ("0", Int(0)),
            ("-0644", Int(-420)),
            ("1_000", Int(1000)),
            ("0b11", Int(3)),
            ("0B11", Int(3)),
            ("0x1F", Int(31)),
            ("-0x1f", Int(-31)),
            ("+7", Int(7)),
            ("1e3", Float(1000.0)),
            ("1_0.5", Float(10.5)),
            ("y", Bool(true)),
            ("Yes", Bool(true)),
            ("on", Bool(true)),
            ("n", Bool(false)),
            ("Off", Bool(false)),
            ("True", Bool(true)),
            ("~", Null),
        ];
        for (text, expected) in rows {
            assert_eq!(kubernetes(text), expected, "{text}");
        }
        for text in ["1:30", "2026-01-01", "0o8", "=", "yEs", "tRUE", "1e", "_1", "1e400", "0x"] {
            assert_eq!(kubernetes(text), Value::String(text.into()), "{text}");
        }
        // No octal numbers, so decimal ones.
        assert_eq!((kubernetes("08"), kubernetes("09.5")), (Int(8), Float(9.5)));
    }
}
