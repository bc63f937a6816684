//! The nouns that both ends of the protocol name: services and protocols.

use super::v1;
use crate::model::{Protocol, ServiceName};

impl From<&ServiceName> for v1::ServiceName {
    fn from(name: &ServiceName) -> Self {
        Self {
            name: name.name.to_string(),
            namespace: name.namespace.to_string(),
            port: u32::from(name.port),
        }
    }
}

impl TryFrom<v1::ServiceName> for ServiceName {
    type Error = String;

    fn try_from(from: v1::ServiceName) -> Result<Self, String> {
        let v1::ServiceName { name, namespace, port } = from;
        let port = u16::try_from(port)
            .map_err(|_| format!("{name}.{namespace}: {port} is no port: use 1 to 65535"))?;
        ServiceName::new(&name, &namespace, port).map_err(|error| error.to_string())
    }
}

/// A protocol by its number, as messages carry it.
pub fn protocol_number(protocol: Protocol) -> i32 {
    let protocol = match protocol {
        Protocol::Auto => v1::Protocol::Unspecified,
        Protocol::Http => v1::Protocol::Http,
        Protocol::Http2 => v1::Protocol::Http2,
        Protocol::Grpc => v1::Protocol::Grpc,
        Protocol::Tcp => v1::Protocol::Tcp,
    };
    protocol.into()
}

/// The protocol of a number; `None` is newer than this software.
pub fn protocol_of(number: i32) -> Option<Protocol> {
    Some(match v1::Protocol::try_from(number).ok()? {
        v1::Protocol::Unspecified => Protocol::Auto,
        v1::Protocol::Http => Protocol::Http,
        v1::Protocol::Http2 => Protocol::Http2,
        v1::Protocol::Grpc => Protocol::Grpc,
        v1::Protocol::Tcp => Protocol::Tcp,
    })
}
