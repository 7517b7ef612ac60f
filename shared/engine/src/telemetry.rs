/// Keeps ONNX Runtime from recording how it is used: Microsoft's builds do so from the moment the library is loaded, into a
/// file of the user's, unless the environment says otherwise. For the beginning of `main`: it sets a variable, which is
/// sound only while no other thread reads them, and does nothing where there is one.
pub fn without_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count());
    if threads == 1 && std::env::var_os(VARIABLE).is_none() {
        // SAFETY: this is the only thread.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}
