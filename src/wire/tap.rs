//! Which requests somebody wants to see, as people ask the control plane and it asks sidecars.
//!
//! Each end reads the same words by the same rules, so that what was taken from a person is taken by
//! every sidecar of this version; one that can't read it says so and shows nothing.

use std::time::Duration;

use super::v1;
use crate::model::Direction;
use crate::telemetry::tap::Filter;

impl From<&Filter> for v1::TapFilter {
    fn from(filter: &Filter) -> Self {
        let Filter { methods, path, statuses, failed, direction, service, reasons, slower } =
            filter;
        let micros = slower.unwrap_or_default().as_micros();
        Self {
            methods: methods.iter().map(ToString::to_string).collect(),
            path: path.as_ref().map(ToString::to_string).unwrap_or_default(),
            statuses: statuses.iter().map(ToString::to_string).collect(),
            failed: *failed,
            direction: direction.map(Direction::as_str).unwrap_or_default().to_owned(),
            service: service.as_deref().unwrap_or_default().to_owned(),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            slower_us: u64::try_from(micros).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<v1::TapFilter> for Filter {
    type Error = String;

    /// # Errors
    /// The first field that can't be read, and why.
    fn try_from(from: v1::TapFilter) -> Result<Self, String> {
        let v1::TapFilter {
            methods,
            path,
            statuses,
            failed,
            direction,
            service,
            reasons,
            slower_us,
        } = from;
        let mut filter = Filter {
            failed,
            slower: (slower_us > 0).then(|| Duration::from_micros(slower_us)),
            ..Filter::default()
        };
        for (field, value) in [
            ("method", methods.join(",")),
            ("path", path),
            ("status", statuses.join(",")),
            ("direction", direction),
            ("service", service),
            ("reason", reasons.join(",")),
        ] {
            if !value.is_empty() {
                filter.set(field, &value).map_err(|why| format!("{field}: {why}"))?;
            }
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_comes_back_as_it_was_said() {
        let mut filter = Filter::default();
        assert_eq!(Filter::try_from(v1::TapFilter::from(&filter)), Ok(filter.clone()));
        for (field, value) in [
            ("method", "GET,POST"),
            ("path", "/orders*"),
            ("status", "429,5xx"),
            ("failed", "true"),
            ("direction", "inbound"),
            ("service", "web.shop:80"),
            ("reason", "denied,no-route"),
        ] {
            filter.set(field, value).expect(field);
        }
        filter.slower = Some(Duration::from_micros(1_500));
        assert_eq!(Filter::try_from(v1::TapFilter::from(&filter)), Ok(filter));
        let odd = v1::TapFilter { statuses: vec!["5x".into()], ..v1::TapFilter::default() };
        let why = Filter::try_from(odd).expect_err("illegal");
        assert!(why.starts_with("status: \"5x\" is no status"), "{why}");
    }
}
