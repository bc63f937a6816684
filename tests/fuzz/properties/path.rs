//! Path normalisation: once is enough, the form is canonical, and its readings are few.

use std::borrow::Cow;

use outrigger::http::path::{normal, other_readings};

pub fn hold(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = format!("/{text}");
    let Ok(once) = normal(&path) else { return };
    let twice = normal(&once).expect("what is normal can be read");
    assert_eq!(twice, once, "normalising twice is another path");
    assert!(matches!(twice, Cow::Borrowed(_)), "what is normal is written anew");
    assert!(once.is_ascii() && once.starts_with('/') && !once.contains("//"), "{once}");
    assert!(once.split('/').all(|segment| segment != "." && segment != ".."), "{once}");
    let escapes = once.split('%').skip(1).map(|rest| rest.get(..2));
    for escape in escapes {
        let digits = escape.expect("an escape has two digits");
        let byte = u8::from_str_radix(digits, 16).expect("hexadecimal digits");
        assert_eq!(digits, format!("{byte:02X}"), "in small letters");
        assert!(!byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte), "{once} is not decoded");
    }
    let readings = other_readings(&once);
    assert!(readings.len() <= 32, "{} readings of {once}", readings.len());
    for reading in &readings {
        assert!(reading.starts_with('/') && *reading != once, "{reading}");
    }
}
