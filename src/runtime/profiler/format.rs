//! A profile as pprof reads it: `profile.proto` of github.com/google/pprof, the fields that say
//! something here.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use prost::Message;

use super::Samples;
use super::calls::{Calls, Name};
use super::sampler::PERIOD;

/// What was sampled.
pub struct Taken {
    pub samples: Samples,
    /// Of threads.
    pub names: HashMap<i32, String>,
    /// Samples that nobody had room for.
    pub lost: u64,
    pub wall: SystemTime,
    pub took: Duration,
}

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
}

/// Numbers of strings.
#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
}

/// Texts by number; the first is empty.
#[derive(Default)]
struct Strings {
    numbers: HashMap<String, i64>,
    all: Vec<String>,
}

impl Strings {
    fn number(&mut self, text: &str) -> i64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.all.len() as i64;
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

pub fn write(Taken { samples, names, lost, wall, took }: Taken, calls: &Calls) -> Vec<u8> {
    let mut strings = Strings::default();
    strings.number("");
    let counted = ValueType { r#type: strings.number("samples"), unit: strings.number("count") };
    let spent = ValueType { r#type: strings.number("cpu"), unit: strings.number("nanoseconds") };
    let images = calls.images();
    let mapping = (1..).zip(images).map(|(id, of)| Mapping {
        id,
        memory_start: of.range.start,
        memory_limit: of.range.end,
        file_offset: of.offset,
        filename: strings.number(&of.path),
        build_id: strings.number(&of.build_id),
        has_functions: true,
    });
    let mapping = mapping.collect();
    let mut locations: HashMap<u64, u64> = HashMap::new();
    let thread = strings.number("thread");
    let mut sample = Vec::with_capacity(samples.len());
    for ((id, addresses), count) in samples {
        let mut numbered = |address: u64| {
            let next = locations.len() as u64 + 1;
            *locations.entry(address).or_insert(next)
        };
        let name = names.get(&id).map_or("", String::as_str);
        let spent = (PERIOD.as_nanos() as u64).saturating_mul(count);
        sample.push(Sample {
            location_id: addresses.into_iter().map(&mut numbered).collect(),
            value: vec![count as i64, spent as i64],
            label: vec![Label { key: thread, str: strings.number(name) }],
        });
    }
    let functions = calls.names(locations.keys().copied());
    let mut function: Vec<Function> = Vec::new();
    let mut location: Vec<Location> = Vec::with_capacity(locations.len());
    let mut known: HashMap<&Name, u64> = HashMap::new();
    for (address, id) in locations {
        let mapping_id = images.iter().position(|of| of.range.contains(&address));
        let line = functions.get(&address).map(|name| {
            let next = known.len() as u64 + 1;
            let id = *known.entry(name).or_insert_with(|| {
                let Name { plain, linked } = name;
                let (name, system_name) = (strings.number(plain), strings.number(linked));
                function.push(Function { id: next, name, system_name });
                next
            });
            Line { function_id: id }
        });
        let mapping_id = mapping_id.map_or(0, |at| at as u64 + 1);
        location.push(Location { id, mapping_id, address, line: line.into_iter().collect() });
    }
    let comment = (lost > 0).then(|| strings.number(&format!("{lost} samples were lost")));
    let profile = Profile {
        sample_type: vec![counted, spent],
        sample,
        mapping,
        location,
        function,
        time_nanos: wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as i64),
        duration_nanos: took.as_nanos() as i64,
        period_type: Some(spent),
        period: PERIOD.as_nanos() as i64,
        comment: comment.into_iter().collect(),
        string_table: strings.all,
    };
    profile.encode_to_vec()
}
