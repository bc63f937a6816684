//! The section `telemetry`: the access log, which spans are kept, and where they are sent. Two rooms
//! are filled from it: what records knows nothing of what sends.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::export::{self, Collector, Endpoint, Format};
use crate::resources::decode::{Decoder, Fields, one_or_list};
use crate::resources::scalar::{choice, duration, parsed, path, ratio};
use crate::resources::{Node, Value};
use crate::telemetry::{self, AccessLog, LogFormat, Propagation, Traces};

pub(super) fn telemetry(
    node: &Node,
    decoder: &mut Decoder,
) -> Option<(telemetry::Settings, export::Settings)> {
    let mut fields = Fields::open(node, decoder)?;
    let access_log = fields.required("accessLog", access_log);
    let traces = fields.required("traces", traces);
    fields.close();
    let (traces, export) = traces?;
    Some((telemetry::Settings { access_log: access_log?, traces }, export))
}

fn access_log(node: &Node, decoder: &mut Decoder) -> Option<AccessLog> {
    let mut fields = Fields::open(node, decoder)?;
    let words = &[("json", LogFormat::Json), ("text", LogFormat::Text), ("off", LogFormat::Off)];
    let format = fields.required("format", choice(words));
    let sample = fields.required("sample", ratio);
    fields.close();
    Some(AccessLog { format: format?, sample: sample? })
}

fn traces(node: &Node, decoder: &mut Decoder) -> Option<(Traces, export::Settings)> {
    let mut fields = Fields::open(node, decoder)?;
    let otlp = fields.optional("otlpEndpoint", endpoint);
    let words = &[("grpc", Format::OtlpGrpc), ("http", Format::OtlpHttp)];
    let format = fields.optional("protocol", choice(words));
    let headers = fields.optional("headers", headers);
    let ca_file = fields.optional("caFile", path);
    let zipkin = fields.optional("zipkinEndpoint", endpoint);
    let service = fields.optional("serviceName", service_name);
    let sample_ratio = fields.required("sampleRatio", ratio);
    let slower_than = fields.required("slowerThan", duration);
    let propagation = fields.required("propagation", propagation);
    let has_path = otlp.as_ref().is_some_and(Endpoint::has_path);
    if format == Some(Format::OtlpGrpc) && has_path {
        fields.fault("otlpEndpoint", "has a path, which only `protocol: http` has; remove it");
    }
    for name in ["protocol", "headers"] {
        if fields.is_absent("otlpEndpoint") && !fields.is_absent(name) {
            fields.fault(name, "says how to speak to otlpEndpoint, which is not there");
        }
    }
    if fields.is_absent("otlpEndpoint")
        && fields.is_absent("zipkinEndpoint")
        && !fields.is_absent("caFile")
    {
        fields.fault("caFile", "verifies otlpEndpoint and zipkinEndpoint, which are not there");
    }
    fields.close();
    let otlp = otlp.map(|endpoint| Collector {
        format: format.unwrap_or_else(|| endpoint.otlp_format()),
        endpoint,
        headers: headers.unwrap_or_default(),
        ca_file: ca_file.clone(),
    });
    let zipkin = zipkin.map(|endpoint| {
        let (format, headers) = (Format::Zipkin, HeaderMap::new());
        Collector { format, endpoint, headers, ca_file }
    });
    let collectors = otlp.into_iter().chain(zipkin).collect();
    let (sample_ratio, slower_than) = (sample_ratio?, slower_than?);
    let traces = Traces { sample_ratio, slower_than, propagation: propagation? };
    Some((traces, export::Settings { collectors, service }))
}

fn endpoint(node: &Node, decoder: &mut Decoder) -> Option<Endpoint> {
    parsed(node, decoder, "a URL such as http://collector.example:4317", Endpoint::parse)
}

fn service_name(node: &Node, decoder: &mut Decoder) -> Option<String> {
    parsed(node, decoder, "a name", |text| (!text.trim().is_empty()).then(|| text.to_owned()))
}

/// Names with their values, which are never shown: they may be keys of a service.
fn headers(node: &Node, decoder: &mut Decoder) -> Option<HeaderMap> {
    let Value::Map(entries) = &node.value else {
        decoder.fault(&node.at, "expected a map of header names and values");
        return None;
    };
    let mut all = HeaderMap::new();
    for (key, node) in entries {
        let name = HeaderName::try_from(&key.name).ok().filter(|name| !is_taken(name));
        let Some(name) = name else {
            decoder.fault(&key.at, format!("`{}` can't be a header of the export", key.name));
            continue;
        };
        let value = match &node.value {
            Value::String(text) => HeaderValue::try_from(text).ok(),
            _ => None,
        };
        let Some(mut value) = value.filter(|value| value.to_str().is_ok()) else {
            let message = "is not a header's value: visible ASCII, in quotes";
            decoder.field(&key.name, |decoder| decoder.fault(&node.at, message));
            continue;
        };
        value.set_sensitive(true);
        all.insert(name, value);
    }
    (all.len() == entries.len()).then_some(all)
}

/// What the export writes itself.
fn is_taken(name: &HeaderName) -> bool {
    let name = name.as_str();
    let own = ["host", "connection", "content-type", "content-length", "transfer-encoding", "te"];
    own.contains(&name) || name.starts_with("grpc-") || name.ends_with("-bin")
}

fn propagation(node: &Node, decoder: &mut Decoder) -> Option<Vec<Propagation>> {
    const WORDS: &[(&str, Propagation)] =
        &[("w3c", Propagation::W3c), ("b3", Propagation::B3), ("b3multi", Propagation::B3Multi)];
    let formats = one_or_list(node, decoder, choice(WORDS))?;
    if let Value::List(nodes) = &node.value {
        for (index, format) in formats.iter().enumerate() {
            if formats[..index].contains(format) {
                let at = nodes.get(index).map_or(&node.at, |node| &node.at);
                decoder.item(index, |decoder| decoder.fault(at, "is listed twice"));
            }
        }
    }
    Some(formats)
}

/// Takes the values of headers out of what is printed.
pub(super) fn hide(tree: &mut Node) {
    let headers = ["telemetry", "traces", "headers"];
    let found = headers.iter().try_fold(tree, |node, name| super::layers::field_mut(node, name));
    if let Some(Value::Map(entries)) = found.map(|node| &mut node.value) {
        for (_, node) in entries {
            node.value = Value::String("(hidden)".into());
        }
    }
}
