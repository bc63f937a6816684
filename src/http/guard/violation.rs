//! The rules a request can break, each with the sentence its sender gets to read.
//!
//! One variant a rule, so that a test, a log line and the answer name the same thing. Which status
//! a violation becomes is decided where answers are made; here only "too large" is told apart.

/// What was refused, and where. Made by [`Guard::check`](super::Guard::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    rule: Rule,
    in_body: bool,
}

impl Violation {
    pub(super) fn new(rule: Rule, in_body: bool) -> Self {
        Self { rule, in_body }
    }

    /// The rule that was broken.
    #[must_use]
    pub fn rule(self) -> Rule {
        self.rule
    }

    /// Whether it happened in the body or trailers of a request whose head was passed already.
    #[must_use]
    pub fn in_body(self) -> bool {
        self.in_body
    }

    /// What is wrong, in one plain sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.rule.sentence()
    }

    /// Whether a bound on headers or trailers was passed (431) and not the grammar broken (400).
    #[must_use]
    pub fn too_large(self) -> bool {
        matches!(self.rule, Rule::SectionTooLarge | Rule::TooManyFields)
    }
}

/// The rules; [`Rule::sentence`] explains each. Those about lines and fields hold for heads and for
/// trailer sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    BareLf,
    BareCr,
    Nul,
    ControlByte,
    EmptyLines,
    SectionTooLarge,
    TooManyFields,

    RequestLine,
    Method,
    Version,
    TargetByte,
    Fragment,
    TargetForm,
    AuthorityForm,
    AsteriskForm,
    ConnectTarget,
    TargetAuthority,

    LeadingWhitespace,
    ObsFold,
    EmptyFieldName,
    SpaceInFieldName,
    MissingColon,
    FieldName,
    DisguisedFieldName,

    MissingHost,
    SeveralHosts,
    Host,
    HostContradiction,

    ContentLength,
    SeveralContentLengths,
    TransferEncoding,
    SeveralTransferEncodings,
    TransferEncodingInHttp10,
    LengthAndTransferEncoding,
    ConnectBody,

    ChunkSize,
    ChunkExtension,
    ChunkLineTooLong,
    ChunkExtensionsTooLong,
    ChunkEnd,
    TrailerField,
}

impl Rule {
    /// The rule as one plain sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::BareLf => "A line must end in CRLF, not in LF alone",
            Self::BareCr => "A CR may only stand before the LF that ends a line",
            Self::Nul => "A NUL byte may not stand in a request",
            Self::ControlByte => "A control character may not stand in a request",
            Self::EmptyLines => "At most one empty line may stand before a request",
            Self::SectionTooLarge => {
                "The request line and headers may have 64 KiB together, and so may the trailers"
            }
            Self::TooManyFields => "A request may have at most 100 headers and 100 trailers",
            Self::RequestLine => {
                "The request line must be a method, a target and a version, with one space between"
            }
            Self::Method => "The method must be a token",
            Self::Version => "The version must be HTTP/1.0 or HTTP/1.1",
            Self::TargetByte => "The request target has a byte that must be percent-encoded",
            Self::Fragment => "The request target may not have a fragment",
            Self::TargetForm => {
                "The request target must be a path or an absolute http or https address"
            }
            Self::AuthorityForm => "Only CONNECT may have host:port as its target",
            Self::AsteriskForm => "Only OPTIONS may have * as its target",
            Self::ConnectTarget => "CONNECT must have host:port as its target",
            Self::TargetAuthority => "The request target does not name a valid host and port",
            Self::LeadingWhitespace => "Whitespace may not stand before the first header",
            Self::ObsFold => "A header may not be folded over several lines",
            Self::EmptyFieldName => "A header must have a name",
            Self::SpaceInFieldName => "Whitespace may not stand in or after a header's name",
            Self::MissingColon => "A header must have a colon after its name",
            Self::FieldName => "A header's name must be a token",
            Self::DisguisedFieldName => {
                "Content-Length and Transfer-Encoding may not be written with an underscore"
            }
            Self::MissingHost => "An HTTP/1.1 request must have a Host header",
            Self::SeveralHosts => "A request may have only one Host header",
            Self::Host => "The Host header must be a host name or address, with or without a port",
            Self::HostContradiction => "The request target and the Host header name two hosts",
            Self::ContentLength => "Content-Length must be one plain decimal number",
            Self::SeveralContentLengths => "A request may have only one Content-Length header",
            Self::TransferEncoding => "Transfer-Encoding must be chunked and nothing else",
            Self::SeveralTransferEncodings => "A request may have only one Transfer-Encoding",
            Self::TransferEncodingInHttp10 => "An HTTP/1.0 request may not be transfer-encoded",
            Self::LengthAndTransferEncoding => {
                "Content-Length and Transfer-Encoding may not stand together"
            }
            Self::ConnectBody => "A CONNECT request may not have a body",
            Self::ChunkSize => "A chunk must begin with its size: hexadecimal digits and CRLF",
            Self::ChunkExtension => "A chunk extension must be ;name or ;name=value",
            Self::ChunkLineTooLong => "A chunk's size and extensions may have 256 bytes together",
            Self::ChunkExtensionsTooLong => "The chunk extensions of a body may have 16 KiB",
            Self::ChunkEnd => "A chunk must end in CRLF after as many bytes as its size said",
            Self::TrailerField => "This header may not be sent as a trailer",
        }
    }
}
