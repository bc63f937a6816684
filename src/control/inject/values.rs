//! The values that annotations hold: lists of ports, CIDRs and interfaces, amounts of CPU and
//! memory, durations. Each parser takes what the other side (`outrigger-proxy init`, the sidecar's
//! configuration, the API server) will take, and returns it in the form that it is handed on in.

use std::time::Duration;

use ipnet::IpNet;

use crate::resources::decode::Decoder;
use crate::resources::{Node, Origin, scalar};

/// An amount as Kubernetes writes it, and how much that is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Amount {
    pub text: String,
    pub value: f64,
}

impl Amount {
    /// `100m`, `0.5`, `64Mi`: above zero, without an exponent.
    pub fn parse(text: &str) -> Option<Amount> {
        let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let scale = match unit {
            "m" => 1e-3,
            "" => 1.0,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "Ki" => 1024.0,
            "Mi" => 1024.0 * 1024.0,
            "Gi" => 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        };
        let value = number.parse::<f64>().ok()? * scale;
        (value > 0.0).then(|| Amount { text: text.to_owned(), value })
    }
}

/// `8080,9000-9010`
pub(super) fn ports(text: &str) -> Option<String> {
    list(text, |item| {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        match item.split_once('-') {
            None => port(item).map(|port| port.to_string()),
            Some((low, high)) => {
                let (low, high) = (port(low)?, port(high)?);
                (low <= high).then(|| format!("{low}-{high}"))
            }
        }
    })
}

/// `10.0.0.0/8,fd00::/8`
pub(super) fn cidrs(text: &str) -> Option<String> {
    list(text, |item| item.parse::<IpNet>().ok().map(|net| net.to_string()))
}

/// Names that Linux takes, 15 bytes at most, of characters that need no quoting.
pub(super) fn interfaces(text: &str) -> Option<String> {
    list(text, |item| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@');
        let sound = (1..=15).contains(&item.len()) && item.bytes().all(plain);
        let special = item.starts_with('-') || item == "." || item == "..";
        (sound && !special).then(|| item.to_owned())
    })
}

/// What [`url`] takes, for whoever wrote something else.
pub(super) const URL: &str = "a URL such as http://collector.observability:4317";

/// An address of the web: scheme, host and port, and a path if there is one.
pub(super) fn url(text: &str) -> Option<String> {
    let uri = text.parse::<http::Uri>().ok()?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    let names_host = uri.host().is_some_and(|host| !host.is_empty());
    let has_key = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    let is_reachable = uri.port_u16() != Some(0);
    (is_known && names_host && is_reachable && !has_key).then(|| text.to_owned())
}

/// A share of something.
pub(super) fn ratio(text: &str) -> Option<String> {
    let ratio = text.parse::<f64>().ok()?;
    (0.0..=1.0).contains(&ratio).then(|| format!("{ratio:?}"))
}

/// An image's name; what it must look like is for the registry to say.
pub(super) fn image(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'$';
    (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_owned())
}

/// A duration in the configuration's form, with the text to hand on.
pub(super) fn duration(text: &str) -> Option<(String, Duration)> {
    let node = Node::text(text, Origin::Default);
    let length = scalar::duration(&node, &mut Decoder::new())?;
    Some((text.to_owned(), length))
}

fn list(text: &str, item: impl Fn(&str) -> Option<String>) -> Option<String> {
    let items: Option<Vec<String>> = text.split(',').map(|each| item(each.trim())).collect();
    Some(items?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_out_as_they_are_handed_on() {
        type Parse = fn(&str) -> Option<String>;
        let rows: [(Parse, &str, Option<&str>); 16] = [
            (ports, "8080", Some("8080")),
            (ports, " 8080 , 9000-9010", Some("8080,9000-9010")),
            (ports, "", None),
            (ports, "8080,", None),
            (ports, "0", None),
            (ports, "65536", None),
            (ports, "9-8", None),
            (ports, "*", None),
            (cidrs, "10.0.0.0/8, fd00::/8", Some("10.0.0.0/8,fd00::/8")),
            (cidrs, "10.0.0.1", None),
            (cidrs, "10.0.0.0/33", None),
            (interfaces, "docker0,net1.2", Some("docker0,net1.2")),
            (interfaces, "a-name-far-too-long", None),
            (interfaces, "$(HOME)", None),
            (
                image,
                "registry.example:5000/a/b@sha256:0f",
                Some("registry.example:5000/a/b@sha256:0f"),
            ),
            (image, "an image", None),
        ];
        for (parse, text, expected) in rows {
            assert_eq!(parse(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn amounts_compare() {
        let value = |text| Amount::parse(text).map(|amount| amount.value);
        assert_eq!(value("100m"), value("0.1"));
        assert!(value("1Mi") > value("1M"));
        for text in ["", "0", "-1", "1e3", "1 Mi", "Mi", "64MiB", "1.2.3"] {
            assert_eq!(value(text), None, "{text:?}");
        }
    }
}
