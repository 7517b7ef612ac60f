use tonic::{Code, Streaming};

use crate::Failure;
use crate::stall::STALL;

/// The next message of what a caller sends up; `None` when it has sent everything.
///
/// # Errors
/// [`Failure::Cancelled`] when the caller left, [`Failure::Stalled`] when it sends nothing for long,
/// [`Failure::Busy`] where too much is being received,
/// [`Failure::Invalid`] for what is no message of this kind.
pub async fn receive<T>(messages: &mut Streaming<T>) -> Result<Option<T>, Failure> {
    match tokio::time::timeout(STALL, messages.message()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) if status.code() == Code::Cancelled => Err(Failure::Cancelled),
        // What stopped it on this side.
        Ok(Err(status)) if status.code() == Code::Aborted => Err(Failure::Stalled(STALL)),
        Ok(Err(status)) if status.code() == Code::ResourceExhausted => {
            Err(Failure::Busy(status.message().to_owned()))
        }
        Ok(Err(status)) => Err(Failure::invalid("request", status.message())),
        Err(_) => Err(Failure::Stalled(STALL)),
    }
}
