use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::MemoryNeed;

/// How long a client is told to wait before it tries a full queue again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long before it tries again what a process could not finish: another one may take it at once.
const RETRY_ELSEWHERE: Duration = Duration::from_secs(1);

/// Whose reasons those of `ErrorInfo` details are.
const DOMAIN: &str = "cogwheel";
/// Reason of what a process refuses or cuts because it is about to end.
pub(crate) const DRAINING: &str = "DRAINING";
/// Reason of a violation: it needs more memory than there is.
pub(crate) const MEMORY: &str = "MEMORY";

/// One field of a request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's name in the request, e.g. `num_frames`.
    pub field: String,
    /// What was expected and what was found.
    pub description: String,
    /// Which kind, where a program may want to know; else empty.
    reason: &'static str,
}

/// Every violation of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalid(pub Vec<Violation>);

impl Invalid {
    /// Notes a violation.
    pub fn add(&mut self, field: &str, description: impl fmt::Display) {
        self.violate(field, description, "");
    }

    /// Notes that a field asks for more memory than there is, for `what` if that is not plain.
    pub fn add_memory(&mut self, field: &str, what: &str, need: MemoryNeed) {
        self.violate(field, format!("{what} {need}").trim_start(), MEMORY);
    }

    fn violate(&mut self, field: &str, description: impl fmt::Display, reason: &'static str) {
        let (field, description) = (field.to_owned(), description.to_string());
        self.0.push(Violation { field, description, reason });
    }

    /// `value`, unless something was violated.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with all violations.
    pub fn or<T>(self, value: T) -> Result<T, Failure> {
        if self.0.is_empty() { Ok(value) } else { Err(Failure::Invalid(self)) }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Violation { field, description, .. }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {description}")?;
        }
        Ok(())
    }
}

/// Why a call does not get its answer. Deliberately few: a client acts on the kind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The request asks for what cannot be computed.
    #[error("{0}")]
    Invalid(Invalid),
    /// A checkpoint or file on the server's side is missing or unfit; asking again does not help.
    #[error("{0}")]
    Unfit(String),
    /// Too much is waiting already.
    #[error("{what} is full: {limit} requests are waiting")]
    Full {
        /// Which queue.
        what: &'static str,
        /// Its bound.
        limit: usize,
    },
    /// Too much at once; asking again later helps.
    #[error("{0}")]
    Busy(String),
    /// More than this process keeps.
    #[error("{0}")]
    Exhausted(String),
    /// What the request names is not here.
    #[error("{kind}: expected {expected}, found '{name}'")]
    NotFound {
        /// What it is, e.g. `adapter`.
        kind: &'static str,
        /// Its name or digest.
        name: String,
        /// What is here, in words.
        expected: String,
    },
    /// A name that stands for something else.
    #[error("{kind} '{name}': expected a name that is free, found {found}")]
    AlreadyExists {
        /// What has the name, e.g. `adapter`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What the name stands for.
        found: String,
    },
    /// The caller has not shown who it is.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller may not have this.
    #[error("{0}")]
    PermissionDenied(String),
    /// A peer cannot be reached, or went away.
    #[error("{0}")]
    Unavailable(String),
    /// This process takes no new work because it is about to end.
    #[error("shutting down, try another replica")]
    Draining,
    /// The caller went away.
    #[error("cancelled")]
    Cancelled,
    /// The caller's deadline passed.
    #[error("the deadline passed")]
    Deadline,
    /// The caller neither reads what it asked for nor sends what it announced.
    #[error("the stream stood still for {0:?}")]
    Stalled(Duration),
    /// A defect, here or in the runtime.
    #[error("{0}")]
    Internal(String),
    /// A stage answered so; the message names it.
    #[error("{stage}: {message}")]
    Stage {
        /// Name of the stage.
        stage: &'static str,
        /// The stage's own message.
        message: String,
        /// The stage's own answer, details included.
        status: Box<Status>,
    },
}

impl Failure {
    /// Something that is not here, where nobody can say what may have been meant.
    pub fn not_found(kind: &'static str, name: String) -> Self {
        Self::NotFound { kind, name, expected: "one that is here".to_owned() }
    }

    /// What a stage answered, under the stage's name and address.
    pub fn of_stage(stage: &'static str, address: &str, status: Status) -> Self {
        // A status with a source was made on this side: by tonic's own timer, or of an error of the
        // transport, where a connection that was cut has many names.
        if status.source().is_some_and(|source| source.is::<TimeoutExpired>()) {
            return Self::Deadline;
        }
        let cut = matches!(status.code(), Code::Unknown | Code::Cancelled | Code::Internal);
        let status = match status.source() {
            Some(_) if cut => Status::unavailable(status.message()),
            _ => status,
        };
        let message = match status.code() {
            // The transport's own words ("tcp connect error") do not say who.
            Code::Unavailable => format!("{address} cannot be reached ({})", status.message()),
            _ => status.message().to_owned(),
        };
        Self::Stage { stage, message, status: Box::new(status) }
    }

    /// The name of what a stage lacks, where it lacks something of this kind and said so.
    pub fn lacks(&self, kind: &str) -> Option<String> {
        let Self::Stage { status, .. } = self else { return None };
        let resource = status.get_details_resource_info()?;
        let lacks = status.code() == Code::NotFound && resource.resource_type == kind;
        lacks.then_some(resource.resource_name)
    }

    /// What a stage said, or what was said of it, where it cannot be reached, went away, or is about to end: another
    /// replica may do the same work.
    pub fn lost(&self) -> Option<&Status> {
        let Self::Stage { status, .. } = self else { return None };
        (status.code() == Code::Unavailable).then_some(status)
    }

    /// Whether a stage has too much waiting already, and said when to come back.
    pub fn is_full(&self) -> bool {
        let Self::Stage { status, .. } = self else { return false };
        status.code() == Code::ResourceExhausted && status.get_details_retry_info().is_some()
    }

    /// A request that violates one field.
    pub fn invalid(field: &str, description: impl fmt::Display) -> Self {
        let mut invalid = Invalid::default();
        invalid.add(field, description);
        Self::Invalid(invalid)
    }
}

/// The one place where failures become statuses.
impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Invalid(invalid) => {
                let violations =
                    invalid.0.into_iter().map(|Violation { field, description, reason }| {
                        FieldViolation {
                            reason: reason.to_owned(),
                            ..FieldViolation::new(field, description)
                        }
                    });
                let details = ErrorDetails::with_bad_request(violations.collect::<Vec<_>>());
                Self::with_error_details(Code::InvalidArgument, message, details)
            }
            Failure::Unfit(_) => Self::failed_precondition(message),
            Failure::Full { .. } | Failure::Busy(_) => {
                let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
                Self::with_error_details(Code::ResourceExhausted, message, details)
            }
            Failure::Exhausted(_) => Self::resource_exhausted(message),
            Failure::NotFound { kind, name, .. } => {
                of_resource(Code::NotFound, message, kind, name)
            }
            Failure::AlreadyExists { kind, name, .. } => {
                of_resource(Code::AlreadyExists, message, kind, name)
            }
            Failure::Unauthenticated(_) => Self::unauthenticated(message),
            Failure::PermissionDenied(_) => Self::permission_denied(message),
            Failure::Unavailable(_) => Self::unavailable(message),
            Failure::Draining => {
                let mut details = ErrorDetails::with_retry_info(Some(RETRY_ELSEWHERE));
                details.set_error_info(DRAINING, DOMAIN, HashMap::new());
                Self::with_error_details(Code::Unavailable, message, details)
            }
            Failure::Cancelled => Self::cancelled(message),
            Failure::Deadline => Self::deadline_exceeded(message),
            Failure::Stalled(_) => Self::aborted(message),
            Failure::Internal(_) => Self::internal(message),
            Failure::Stage { status, .. } => {
                // The details travel on; only the message gains the stage's name.
                let details = bytes_of(&status);
                Self::with_details(status.code(), message, details)
            }
        }
    }
}

/// Names the resource in a `ResourceInfo` detail, so that a client need not read the message.
fn of_resource(code: Code, message: String, kind: &str, name: String) -> Status {
    let details = ErrorDetails::with_resource_info(kind, name, "", message.clone());
    Status::with_error_details(code, message, details)
}

fn bytes_of(status: &Status) -> tonic::codegen::Bytes {
    tonic::codegen::Bytes::copy_from_slice(status.details())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_becomes_a_field_violation() {
        let mut invalid = Invalid::default();
        invalid.add("num_frames", "expected 8n+1, found 10");
        invalid.add("width", "expected a multiple of 16, found 7");
        let status = Status::from(invalid.or(()).unwrap_err());
        assert_eq!(status.code(), Code::InvalidArgument);
        let fields = status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<_> = fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(fields, ["num_frames", "width"]);
        assert!(status.message().contains("expected 8n+1, found 10"));
    }

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let status = Status::from(Failure::Full { what: "the denoiser's queue", limit: 4 });
        assert_eq!(status.code(), Code::ResourceExhausted);
        let retry = status.get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(RETRY_AFTER));
        assert!(Failure::of_stage("denoiser", "http://d:1", status).is_full());
        let memory = Status::from(Failure::Exhausted("memory".to_owned()));
        assert!(!Failure::of_stage("denoiser", "http://d:1", memory).is_full());
    }

    #[test]
    fn what_a_drain_refuses_or_cuts_may_be_tried_again_elsewhere() {
        let status = Status::from(Failure::Draining);
        assert_eq!(status.code(), Code::Unavailable);
        let retry = status.get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(RETRY_ELSEWHERE));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), (DRAINING, DOMAIN));
        // Also where a stage said it.
        let status = Status::from(Failure::of_stage("vae", "http://v:1", status));
        assert_eq!(status.get_details_error_info().unwrap().reason, DRAINING);
    }

    #[test]
    fn a_violation_for_lack_of_memory_says_so_to_programs() {
        let mut invalid = Invalid::default();
        invalid.add_memory("num_frames", "", MemoryNeed { need: 2, limit: 1 });
        let status = Status::from(Failure::Invalid(invalid));
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].reason, MEMORY);
    }

    #[test]
    fn what_is_not_there_is_named_in_a_detail_that_travels_through_the_chain() {
        let missing = Failure::not_found("adapter", "ab12".to_owned());
        let status = Status::from(missing);
        assert_eq!(status.code(), Code::NotFound);
        let resource = status.get_details_resource_info().unwrap();
        assert_eq!((&*resource.resource_type, &*resource.resource_name), ("adapter", "ab12"));
        let of_stage = Failure::of_stage("denoiser", "http://d:1", status);
        assert_eq!(of_stage.lacks("adapter").as_deref(), Some("ab12"));
        assert_eq!(of_stage.lacks("model"), None);
        let unimplemented = Failure::of_stage("denoiser", "http://d:1", Status::not_found("x"));
        assert_eq!(unimplemented.lacks("adapter"), None);
    }

    #[test]
    fn what_a_stage_answers_keeps_its_code_and_details_and_gains_its_name() {
        let answer = Status::from(Failure::invalid("width", "too large"));
        let status = Status::from(Failure::of_stage("denoiser", "http://d:1", answer));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "denoiser: width: too large");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), 1);
        assert!(Failure::of_stage("vae", "v", Status::internal("x")).lost().is_none());
        let down = Failure::of_stage("vae", "http://v:1", Status::unavailable("refused"));
        assert_eq!(down.lost().map(Status::message), Some("refused"));
        assert_eq!(down.to_string(), "vae: http://v:1 cannot be reached (refused)");
    }
}
