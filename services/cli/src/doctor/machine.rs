use std::net::{SocketAddr, TcpListener};

use cogwheel_engine::{Runtime, matrix_unit};

use super::Finding;

/// ONNX Runtime, the processor, GPUs and memory.
pub(super) fn findings(memory: Option<u64>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let runtime = Runtime::load();
    findings.push(match &runtime {
        Ok(runtime) => Finding::good("runtime", format!("{}", runtime.library().display())),
        Err(error) => Finding::bad(
            "runtime",
            format!("{error}: `make setup` brings it, or name it in ORT_DYLIB_PATH"),
        ),
    });
    findings.push(processor());
    findings.push(match runtime.is_ok_and(|runtime| runtime.has_cuda()) {
        true => Finding::good("cuda", "this ONNX Runtime has it: --execution-provider cuda --precision fp16, bf16 or fp32"),
        false => Finding::note(
            "cuda",
            "this ONNX Runtime computes on the CPU only; for a GPU name the library of the wheel onnxruntime-gpu in \
             ORT_DYLIB_PATH",
        ),
    });
    findings.push(match memory {
        Some(bytes) => Finding::good("memory", format!("{:.1} GB", bytes as f64 / 1e9)),
        None => Finding::note(
            "memory",
            "this system does not tell how much there is: state --memory-limit",
        ),
    });
    findings
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let features = features().join(" ");
    let text = format!("{cores} cores; {features}");
    match matrix_unit() {
        Some(unit) => Finding::good("processor", format!("{text}; linear layers by {unit}")),
        None if features.contains("avx") || cfg!(target_arch = "aarch64") => {
            Finding::good("processor", text)
        }
        None => Finding::note("processor", format!("{text}; without AVX2 it will be slow")),
    }
}

/// What ONNX Runtime's kernels make use of.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let known = [(std::env::consts::ARCH, true)];
    known.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
}

/// Whether a server can listen there.
pub(super) fn port(address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::good("port", format!("{address} is free")),
        Err(error) => {
            Finding::bad("port", format!("{address}: {error}: choose another with --listen"))
        }
    }
}
