//! An HTTP/1 message as it stood on the wire, and how reading one can fail.

use std::io;

/// A request or response: nothing is normalised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Request line or status line.
    pub start: String,
    /// Names in their case, in their order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The sizes of its chunks, when it was chunked.
    pub chunks: Vec<usize>,
    pub trailers: Vec<(String, String)>,
}

/// Why no whole message came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection ended before its first byte.
    Closed,
    /// The connection ended in the middle.
    Cut,
    Reset,
    TimedOut,
    Malformed(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Broken::TimedOut,
            io::ErrorKind::UnexpectedEof => Broken::Cut,
            _ => Broken::Reset,
        }
    }
}

impl Message {
    /// The head without its final empty line.
    pub fn parse(head: &str) -> Result<Self, Broken> {
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Self { start, headers, ..Self::default() })
    }

    /// The status of a response.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("no status line: {:?}", self.start))
    }

    /// The only value of a header; `None` without it.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} stands {} times: {values:?}", values.len());
        values.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    pub fn reason(&self) -> Option<&str> {
        self.header("x-outrigger-reason")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    fn is_response(&self) -> bool {
        self.start.starts_with("HTTP/")
    }

    /// Whether the sender means to close after this one.
    pub fn closes(&self) -> bool {
        let says = |word: &str| {
            let values = self.all("connection");
            values
                .iter()
                .flat_map(|value| value.split(','))
                .any(|v| v.trim().eq_ignore_ascii_case(word))
        };
        let old = if self.is_response() {
            self.start.starts_with("HTTP/1.0")
        } else {
            self.start.ends_with("HTTP/1.0")
        };
        says("close") || (old && !says("keep-alive"))
    }

    /// How long the body is: `None` is until the end of the connection.
    pub(super) fn framing(&self, answers_head: bool) -> Framing {
        let bodiless = self.is_response() && {
            let status = self.status();
            answers_head || status < 200 || status == 204 || status == 304
        };
        if bodiless {
            Framing::Length(0)
        } else if self.all("transfer-encoding").iter().any(|v| v.ends_with("chunked")) {
            Framing::Chunked
        } else if let Some(length) = self.header("content-length") {
            Framing::Length(length.parse().unwrap_or(usize::MAX))
        } else if self.is_response() {
            Framing::ToEnd
        } else {
            Framing::Length(0)
        }
    }
}

pub(super) enum Framing {
    Length(usize),
    Chunked,
    ToEnd,
}

pub(super) fn field(line: &str) -> Result<(String, String), Broken> {
    let (name, value) =
        line.split_once(':').ok_or_else(|| Broken::Malformed(format!("field line {line:?}")))?;
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}
