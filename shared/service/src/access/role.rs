use std::fmt;
use std::str::FromStr;

/// What somebody is let in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Making videos, and looking at adapters.
    Generate,
    /// Adding and removing adapters, and looking at them.
    Adapters,
    /// The services of the stages.
    Stage,
    /// Everything.
    Admin,
}

/// A word that is no role.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a role: generate, adapters, stage or admin, found '{0}'")]
pub(crate) struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "generate" => Ok(Self::Generate),
            "adapters" => Ok(Self::Adapters),
            "stage" => Ok(Self::Stage),
            "admin" => Ok(Self::Admin),
            other => Err(RoleError(other.to_owned())),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate => "generate",
            Self::Adapters => "adapters",
            Self::Stage => "stage",
            Self::Admin => "admin",
        })
    }
}

/// Roles of which a call needs one, by its path `/SERVICE/METHOD`; none at all where everybody may call it. What is not
/// known here is for administrators alone.
pub(super) fn needed(path: &str) -> &'static [Role] {
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    match service {
        "grpc.health.v1.Health"
        | "grpc.reflection.v1.ServerReflection"
        | "grpc.reflection.v1alpha.ServerReflection" => &[],
        "cogwheel.generation.v1.GenerationService" => &[Role::Generate],
        "cogwheel.adapter.v1.AdapterService" => match method {
            "GetAdapter" | "ListAdapters" => &[Role::Generate, Role::Adapters],
            _ => &[Role::Adapters],
        },
        "cogwheel.textencoder.v1.TextEncoderService"
        | "cogwheel.denoiser.v1.DenoiserService"
        | "cogwheel.vae.v1.VaeService"
        | "cogwheel.stage.v1.StageService" => &[Role::Stage],
        _ => &[Role::Admin],
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_of_the_protos_has_its_roles() {
        let generate: &[Role] = &[Role::Generate];
        for (path, roles) in [
            ("/cogwheel.generation.v1.GenerationService/GenerateVideo", generate),
            ("/cogwheel.generation.v1.GenerationService/GetModel", generate),
            ("/cogwheel.adapter.v1.AdapterService/ListAdapters", &[Role::Generate, Role::Adapters]),
            ("/cogwheel.adapter.v1.AdapterService/GetAdapter", &[Role::Generate, Role::Adapters]),
            ("/cogwheel.adapter.v1.AdapterService/CreateAdapter", &[Role::Adapters]),
            ("/cogwheel.adapter.v1.AdapterService/DeleteAdapter", &[Role::Adapters]),
            ("/cogwheel.denoiser.v1.DenoiserService/Denoise", &[Role::Stage]),
            ("/grpc.health.v1.Health/Watch", &[]),
            ("/cogwheel.secret.v1.SecretService/Tell", &[Role::Admin]),
            ("/", &[Role::Admin]),
            ("", &[Role::Admin]),
        ] {
            assert_eq!(needed(path), roles, "{path}");
        }
    }

    /// A service that is added must not be forgotten here.
    #[test]
    fn no_service_of_the_protos_is_for_administrators_alone() {
        let files = FileDescriptorSet::decode(cogwheel_api::FILE_DESCRIPTOR_SET).unwrap().file;
        let mut count = 0;
        for file in &files {
            for service in &file.service {
                let full = format!("{}.{}", file.package(), service.name());
                let roles = needed(&format!("/{full}/Anything"));
                assert!(!roles.is_empty() && !roles.contains(&Role::Admin), "{full}");
                count += 1;
            }
        }
        assert!(count >= 6, "{count} services");
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for role in [Role::Generate, Role::Adapters, Role::Stage, Role::Admin] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        let error = "Admin".parse::<Role>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected a role: generate, adapters, stage or admin, found 'Admin'"
        );
    }
}
