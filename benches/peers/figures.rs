//! What is measured, and the table of it.

use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Hop,
    Pair,
    Grpc,
    Handshake,
    PostQuantum,
    Resumed,
    Churn,
    Body64K,
    Body1M,
    Tcp,
    AddedP50,
    AddedP90,
    Start,
    Resident,
    IdleHttp1,
    IdleHttp2,
}

impl Figure {
    pub const ALL: [Self; 16] = [
        Self::Hop,
        Self::Pair,
        Self::Grpc,
        Self::Handshake,
        Self::PostQuantum,
        Self::Resumed,
        Self::Churn,
        Self::Body64K,
        Self::Body1M,
        Self::Tcp,
        Self::AddedP50,
        Self::AddedP90,
        Self::Start,
        Self::Resident,
        Self::IdleHttp1,
        Self::IdleHttp2,
    ];
    /// Those that the chart shows, CPU µs a request.
    pub const CHART: [Self; 4] = [Self::Hop, Self::Pair, Self::Grpc, Self::Handshake];

    pub fn title(self) -> &'static str {
        match self {
            Self::Hop => "plaintext hop, HTTP/1.1, 64 connections, 100 B",
            Self::Pair => "mTLS pair, the same",
            Self::Grpc => "gRPC pair, 8 connections × 32 streams",
            Self::Handshake => {
                "a new connection with a whole handshake of mutual TLS and one request, at the \
                 called side"
            }
            Self::PostQuantum => "the same with X25519MLKEM768, which sidecars agree on",
            Self::Resumed => "the same with X25519, resumed by a ticket",
            Self::Churn => "mTLS pair, a new connection of the caller's for each request",
            Self::Body64K => "mTLS pair, 64 KiB bodies, 32 connections",
            Self::Body1M => "mTLS pair, 1 MiB bodies, 16 connections",
            Self::Tcp => "mTLS pair, opaque TCP, 4 connections, for each MiB",
            Self::AddedP50 => "mTLS pair, 2,000 requests/s: what it adds to the median, µs",
            Self::AddedP90 => "and to the 90th percentile, µs",
            Self::Start => "exec to the first 200, ms",
            Self::Resident => "resident at idle, MiB",
            Self::IdleHttp1 => "for each idle mTLS connection, KB: HTTP/1",
            Self::IdleHttp2 => "and HTTP/2",
        }
    }

    /// As long as a chart has room for.
    pub fn short_title(self) -> &'static str {
        match self {
            Self::Handshake => "new mTLS connection, at the called side",
            Self::Grpc => "gRPC pair over mTLS",
            Self::Pair => "mTLS pair, HTTP/1.1",
            Self::Hop => "plaintext hop, HTTP/1.1",
            _ => self.title(),
        }
    }
}

/// Values of each figure, for each product.
pub struct Table {
    products: Vec<String>,
    values: Vec<Vec<Vec<f64>>>,
}

impl Table {
    pub fn new(products: Vec<String>) -> Self {
        let values = vec![vec![Vec::new(); products.len()]; Figure::ALL.len()];
        Self { products, values }
    }

    pub fn products(&self) -> &[String] {
        &self.products
    }

    pub fn put(&mut self, figure: Figure, product: usize, value: f64) {
        self.values[figure as usize][product].push(value);
    }

    pub fn median(&self, figure: Figure, product: usize) -> Option<f64> {
        spread(&self.values[figure as usize][product]).map(|[median, ..]| median)
    }

    /// Rows that somebody has a value in.
    pub fn markdown(&self) -> String {
        let mut text = format!("| | {} |\n|---|", self.products.join(" | "));
        text += &"---|".repeat(self.products.len());
        for figure in Figure::ALL {
            let row = &self.values[figure as usize];
            if row.iter().all(Vec::is_empty) {
                continue;
            }
            write!(text, "\n| {} |", figure.title()).expect("a string takes everything");
            for values in row {
                let cell = spread(values).map(cell).unwrap_or_default();
                write!(text, " {cell} |").expect("a string takes everything");
            }
        }
        text + "\n"
    }
}

fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    };
    Some([median, least, most])
}

fn cell([median, least, most]: [f64; 3]) -> String {
    let digits = usize::from(median.abs() < 100.0);
    let [median, least, most] = [median, least, most].map(|value| number(value, digits));
    if least == most { median } else { format!("{median} ({least}–{most})") }
}

/// `1,234` or `12.3`.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, _)| (whole, &text[whole.len()..]));
    let mut grouped = String::new();
    for (nth, digit) in whole.chars().enumerate() {
        let left = whole.len() - nth;
        if nth > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}
