use std::io::{self, Write as _};

use crate::Fatal;

/// Ends the process, saying on standard error what went wrong, if anything did.
///
/// It leaves without running the destructors of C++ statics: a thread may still be making a session
/// of ONNX Runtime, which cannot be interrupted and would crash as they are taken from under it.
pub fn leave(result: Result<(), Fatal>) -> ! {
    let code = match result {
        Ok(()) => 0,
        Err(fatal) => fatal.report(),
    };
    let _ = io::stdout().flush();
    // SAFETY: `_exit` takes any code, touches no memory of ours and does not return.
    unsafe { libc::_exit(code) }
}
