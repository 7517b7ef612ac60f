use std::time::Duration;

use tonic::Streaming;

/// How long a caller may go on sending what is refused already. Most have sent all of an adapter by then.
const LINGER: Duration = Duration::from_secs(1);

/// Takes what a caller still sends, and drops it, before it is answered. An answer before the end of a request is
/// followed by a reset of the stream (RFC 9113, 8.1), at which some clients throw the answer away: curl does, and hyper
/// did, whenever the reset comes before they have read on.
///
/// # Cancel safety
/// Nothing is kept of what was taken.
pub(super) async fn linger<T>(messages: &mut Streaming<T>) {
    let rest = async { while let Ok(Some(_)) = messages.message().await {} };
    // Who sends more, or neither ends nor goes on, is answered all the same.
    let _ = tokio::time::timeout(LINGER, rest).await;
}
