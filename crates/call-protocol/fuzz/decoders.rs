//! What holds for any bytes: the decoders do not panic, and what they read they write in a way that they read again.

use call_protocol::wire::*;

/// Feeds the bytes to every decoder.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(Some(message)) = decode_call(bytes) {
        assert_eq!(decode_call(&encode_call(&message)), Ok(Some(message)));
    }
    if let Ok(Some(chat)) = decode_chat(bytes) {
        assert_eq!(decode_chat(&encode_chat(&chat)), Ok(Some(chat)));
    }
    if let Ok(frame) = decode_client_frame(bytes) {
        assert_eq!(decode_client_frame(&encode_client_frame(&frame)), Ok(frame));
    }
    if let Ok(frame) = decode_server_frame(bytes) {
        assert_eq!(decode_server_frame(&encode_server_frame(&frame)), Ok(frame));
    }
}
