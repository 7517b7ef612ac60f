use std::collections::HashMap;

use cogwheel_api::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Label of calls of methods that there are not, whatever they are called.
const OTHER: &str = "other";
/// Calls of these say nothing of the load: who watches does so for as long as there is something to watch.
const WATCHERS: [&str; 2] = ["/grpc.", "/cogwheel.stage."];

/// The methods of a server by their paths, so that nobody outside makes up what they are called in metrics and traces.
#[derive(Debug)]
pub(crate) struct Methods(HashMap<String, String>);

impl Methods {
    /// Those of services by their full names, `DenoiserService/Denoise` for one.
    pub(crate) fn of(services: &[&str]) -> Self {
        let mut methods = HashMap::new();
        // It is part of this program.
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default().file;
        for file in &files {
            for service in &file.service {
                let full = format!("{}.{}", file.package(), service.name());
                if !services.contains(&&*full) {
                    continue;
                }
                for method in &service.method {
                    let label = format!("{}/{}", service.name(), method.name());
                    methods.insert(format!("/{full}/{}", method.name()), label);
                }
            }
        }
        Self(methods)
    }

    /// The label of a path; `None` for what is not counted.
    pub(crate) fn label(&self, path: &str) -> Option<&str> {
        if WATCHERS.iter().any(|watcher| path.starts_with(watcher)) {
            return None;
        }
        Some(self.0.get(path).map_or(OTHER, String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_those_of_the_protos_and_no_caller_adds_one() {
        let methods = Methods::of(&["cogwheel.denoiser.v1.DenoiserService"]);
        let label = |path: &str| methods.label(path).map(str::to_owned);
        let known = "/cogwheel.denoiser.v1.DenoiserService/Denoise";
        assert_eq!(label(known), Some("DenoiserService/Denoise".to_owned()));
        let longer = format!("{known}2");
        for stranger in ["/", "/x/y", "/cogwheel.vae.v1.VaeService/Decode", &longer] {
            assert_eq!(label(stranger), Some(OTHER.to_owned()));
        }
        assert_eq!(label("/grpc.health.v1.Health/Watch"), None);
    }
}
