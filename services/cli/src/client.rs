//! The client side of the public API, and the one place where a server's answer becomes an exit code.

mod adapters;

use std::error::Error as _;

use cogwheel_api::generation::v1::generation_service_client::GenerationServiceClient;
use cogwheel_api::generation::v1::{GenerateVideoRequest, GenerateVideoResponse};
use cogwheel_service::{Address, Dialer, Exit, Failure, Fatal, Link};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

pub use adapters::{Adapters, Upload};

/// Fields of a request whose option has another name; all others are called alike.
const OPTIONS: [(&str, &str); 2] =
    [("output_format", "--output"), ("return_latents", "--output-latents")];
/// Fields of a request that are options under their own name.
const FIELDS: [&str; 17] = [
    "prompt",
    "negative_prompt",
    "enhance_prompt",
    "image",
    "video",
    "strength",
    "width",
    "height",
    "num_frames",
    "fps",
    "num_inference_steps",
    "guidance_scale",
    "scheduler",
    "dynamic_cfg",
    "seed",
    "num_videos",
    "initial_latents",
];

/// A server, and the way to it.
#[derive(Clone, Debug)]
pub struct Server {
    address: Address,
    link: Link,
}

impl Server {
    /// The server at `address`. It is called when something is first asked of it.
    pub fn at(address: Address, dialer: &Dialer) -> Self {
        Self { link: dialer.connect(&address), address }
    }
}

/// A generation in progress. Dropping it stops the work in every stage.
#[derive(Debug)]
pub struct Generation {
    address: Address,
    responses: Streaming<GenerateVideoResponse>,
}

impl Generation {
    /// Asks a server for videos.
    ///
    /// # Errors
    /// What the server answers, or that it cannot be reached.
    pub async fn start(server: &Server, request: GenerateVideoRequest) -> Result<Self, Fatal> {
        let Server { address, link } = server;
        let mut client = GenerationServiceClient::new(link.clone());
        match client.generate_video(request).await {
            Ok(response) => Ok(Self { address: address.clone(), responses: response.into_inner() }),
            Err(status) => {
                Err(too_large(address, &status).unwrap_or_else(|| fatal(address, &status)))
            }
        }
    }

    /// What happens next; `None` at the end.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn next(&mut self) -> Result<Option<GenerateVideoResponse>, Fatal> {
        self.responses.message().await.map_err(|status| fatal(&self.address, &status))
    }
}

/// What a server that refuses so would have made this process end with.
pub fn refusal(failure: Failure) -> Fatal {
    let status = Status::from(failure);
    let message = violations(&status).unwrap_or_else(|| status.message().to_owned());
    Fatal { exit: exit(status.code()), message }
}

fn fatal(address: &Address, status: &Status) -> Fatal {
    Fatal { exit: exit(status.code()), message: message(address, status) }
}

/// What is the caller's to mend ends with 2.
fn exit(code: Code) -> Exit {
    match code {
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Unauthenticated
        | Code::PermissionDenied => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// The refusal of a request that is larger than the server takes: the numbers of its transport's words.
fn too_large(address: &Address, status: &Status) -> Option<Fatal> {
    const WORDS: &str = "message length too large: found ";
    let is_range = status.code() == Code::OutOfRange;
    let (_, told) = status.message().split_once(WORDS).filter(|_| is_range)?;
    let mut numbers = told.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let (found, max) = (numbers.next()?, numbers.next()?);
    Some(Fatal::usage(format!(
        "the server at {address}: expected a request of at most {max} bytes (its --max-request-bytes), found {found}"
    )))
}

fn message(address: &Address, status: &Status) -> String {
    if let Some(violations) = violations(status) {
        return violations;
    }
    // A status that has a cause was made here, by the transport: it never came to an answer.
    if let Some(mut cause) = status.source() {
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        return format!("the server at {address} cannot be reached: {cause}");
    }
    match (status.code(), status.message()) {
        (code, "") => format!("the server at {address} answered: {code}"),
        (Code::Internal | Code::Unknown, told) => {
            format!("the server at {address} failed: {told}")
        }
        (_, told) => told.to_owned(),
    }
}

/// Every violation by its option; `None` where there is none, or where one is not of an option: a
/// stage's own refusal, whose message says which stage it was.
fn violations(status: &Status) -> Option<String> {
    let violations = status.get_details_bad_request()?.field_violations;
    let told: Option<Vec<_>> = violations
        .iter()
        .map(|violation| Some(format!("{}: {}", option(&violation.field)?, violation.description)))
        .collect();
    told.filter(|told| !told.is_empty()).map(|told| told.join("; "))
}

/// The option that a field comes from.
fn option(field: &str) -> Option<String> {
    if let Some((_, option)) = OPTIONS.iter().find(|(name, _)| *name == field) {
        return Some((*option).to_owned());
    }
    FIELDS.contains(&field).then(|| format!("--{}", field.replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use cogwheel_service::Invalid;

    use super::*;

    fn address() -> Address {
        "http://127.0.0.1:1".parse().unwrap()
    }

    #[test]
    fn codes_that_the_caller_can_mend_end_with_2_and_others_with_1() {
        for code in (0..17).map(Code::from_i32) {
            let expected = match code {
                Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::NotFound
                | Code::AlreadyExists
                | Code::Unauthenticated
                | Code::PermissionDenied => Exit::Usage,
                _ => Exit::Failed,
            };
            assert_eq!(fatal(&address(), &Status::new(code, "x")).exit, expected, "{code:?}");
        }
    }

    #[test]
    fn all_violations_are_told_on_one_line_by_their_options() {
        let mut invalid = Invalid::default();
        invalid.add("num_frames", "expected 8n+1, found 10");
        invalid.add("output_format", "expected even sides, found 15");
        let fatal = fatal(&address(), &invalid.or(()).unwrap_err().into());
        assert_eq!(
            fatal.message,
            "--num-frames: expected 8n+1, found 10; --output: expected even sides, found 15"
        );
    }

    #[test]
    fn a_stage_that_refuses_counts_as_the_server() {
        let answer = Failure::Unfit("model.safetensors: expected 10 bytes, found 5".into());
        let status = Failure::of_stage("vae", "http://v:1", answer.into()).into();
        let fatal = fatal(&address(), &status);
        assert_eq!(fatal.exit, Exit::Usage);
        assert_eq!(fatal.message, "vae: model.safetensors: expected 10 bytes, found 5");
    }

    #[test]
    fn what_a_stage_refuses_in_its_own_words_keeps_its_name() {
        let answer = Failure::invalid("size", "needs 3 GB");
        let status = Failure::of_stage("denoiser", "http://d:1", answer.into()).into();
        assert_eq!(fatal(&address(), &status).message, "denoiser: size: needs 3 GB");
    }

    #[test]
    fn every_field_is_an_option_that_generate_has() {
        for name in FIELDS
            .iter()
            .filter_map(|field| option(field))
            .chain(OPTIONS.iter().filter_map(|(field, _)| option(field)))
        {
            let arguments = ["cogwheel", "generate", "--help"].map(Into::into);
            let help = match crate::args::parse(arguments) {
                Ok(crate::args::Invocation::Text(text)) => text.to_string(),
                other => panic!("expected help, found {other:?}"),
            };
            assert!(help.split_whitespace().any(|word| word == name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_its_address() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address: Address = format!("http://127.0.0.1:{port}").parse().unwrap();
        let request = GenerateVideoRequest::default();
        let server = Server::at(address, &Dialer::default());
        let fatal = Generation::start(&server, request).await.unwrap_err();
        assert_eq!(fatal.exit, Exit::Failed);
        let expected = format!("the server at http://127.0.0.1:{port} cannot be reached: ");
        assert!(fatal.message.starts_with(&expected), "{}", fatal.message);
    }
}
