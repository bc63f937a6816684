//! rustls's side of a session: what it makes of the bytes that came.

use std::ops::DerefMut;

use bytes::BytesMut;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedConnectionCommon, UnbufferedStatus, WriteTraffic,
};

/// Either end of a session.
pub trait End: DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> {
    type Data;
    const SERVES: bool;

    fn step<'c, 'i>(&'c mut self, heard: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl End for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    const SERVES: bool = false;

    fn step<'c, 'i>(&'c mut self, heard: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(heard)
    }
}

impl End for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const SERVES: bool = true;

    fn step<'c, 'i>(&'c mut self, heard: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(heard)
    }
}

/// How far a session has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Come {
    /// The peer has to say more.
    Waits,
    /// Bytes may be sent.
    Open,
    /// The peer has ended it.
    Over,
}

/// Takes what is in `heard` as far as it goes, and says how much that was: bytes are given to `take`,
/// what the peer is to be told is put to `unsent`, and where bytes may be sent, `write` is called.
pub fn turn<E: End>(
    end: &mut E,
    heard: &mut [u8],
    unsent: &mut BytesMut,
    mut take: impl FnMut(&[u8]),
    mut write: impl FnMut(&mut WriteTraffic<'_, E::Data>) -> Result<(), rustls::Error>,
) -> (usize, Result<Come, rustls::Error>) {
    let mut used = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = end.step(&mut heard[used..]);
        let come = match state {
            Err(error) => {
                used += discard;
                // The peer may be told why, after what it was to be told before.
                while end.wants_write() {
                    let UnbufferedStatus { discard, state } = end.step(&mut heard[used..]);
                    let Ok(ConnectionState::EncodeTlsData(data)) = state else { break };
                    encode(data, unsent);
                    used += discard;
                }
                return (used, Err(error));
            }
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    None => break None,
                    Some(Err(error)) => break Some(Err(error)),
                    Some(Ok(record)) => {
                        discard += record.discard;
                        take(record.payload);
                    }
                }
            },
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, unsent);
                None
            }
            // It is sent, whenever that may be.
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                Some(write(&mut traffic).map(|()| Come::Open))
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Ok(Come::Over)),
            // Early data is never agreed on.
            Ok(_) => Some(Ok(Come::Waits)),
        };
        used += discard;
        if let Some(come) = come {
            return (used, come);
        }
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, unsent: &mut BytesMut) {
    let size = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            required_size
        }
        _ => 0,
    };
    let at = unsent.len();
    unsent.resize(at + size, 0);
    let encoded = data.encode(&mut unsent[at..]);
    debug_assert!(encoded.is_ok_and(|encoded| encoded == size));
}

/// Seals bytes into records; gives their size.
///
/// # Errors
/// There is no room for them, or no more may be sealed with this key.
pub fn encrypt<D>(
    traffic: &mut WriteTraffic<'_, D>,
    plain: &[u8],
    sealed: &mut [u8],
) -> Result<usize, rustls::Error> {
    traffic.encrypt(plain, sealed).map_err(|error| match error {
        EncryptError::InsufficientSize(_) => rustls::Error::General("a record has no room".into()),
        EncryptError::EncryptExhausted => rustls::Error::EncryptError,
    })
}
