use std::time::Duration;

/// How long either side of a call may stand still, sending nothing that is waited for or taking nothing that is sent, before
/// the call is given up.
pub(crate) const STALL: Duration = Duration::from_secs(60);
