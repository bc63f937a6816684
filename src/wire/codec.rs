//! How messages are written into a call, with buffers as small as the messages are.
//!
//! tonic sets aside 8 KiB each way for every call. A session is a call that lasts for months and says
//! a few bytes every few seconds: the buffers of thousands would be most of what they cost. These
//! begin small and grow with what is said.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::ProstCodec;

/// Room for a heartbeat, a verdict, or a change of one endpoint.
const BUFFER: usize = 512;
/// Of messages that wait, so many bytes are sent together; tonic's own.
const TOGETHER: usize = 32 << 10;

/// Protobuf messages, sent as `T` and taken as `U`.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as tonic::codec::Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as tonic::codec::Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, TOGETHER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, TOGETHER))
    }
}
