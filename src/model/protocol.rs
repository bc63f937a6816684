//! What a port says, and which way a connection goes as its workload sees it.

/// What a port or a service declares about its traffic. Everything but `Auto` is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// Not declared: whoever speaks first decides.
    #[default]
    Auto,
    /// HTTP of either version; the far side is spoken to in HTTP/1.1.
    Http,
    /// HTTP/2, with prior knowledge in plaintext.
    Http2,
    /// gRPC, which is HTTP/2.
    Grpc,
    /// Opaque bytes.
    Tcp,
}

impl Protocol {
    /// The word that users write and read.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Auto => "auto",
            Protocol::Http => "http",
            Protocol::Http2 => "http2",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
        }
    }

    /// True where anything that is not HTTP must be refused.
    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Http2 | Protocol::Grpc)
    }

    /// True where the far side is spoken to in HTTP/2 whatever the near side spoke.
    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc)
    }
}

/// The direction of traffic, seen from the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    /// The metric label and log field.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}
