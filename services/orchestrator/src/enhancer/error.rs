use std::error::Error;
use std::io;
use std::time::Duration;

use cogwheel_service::innermost_cause;
use reqwest::StatusCode;

use super::KEYS;

/// Why a prompt is not enhanced. None of it names the endpoint or holds a key: clients are told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnhancerError {
    /// There is nothing to say more of.
    #[error("expected a prompt to enhance, found none")]
    Blank,
    /// It took too long.
    #[error("expected an answer within {} s (--prompt-enhancer-timeout), found none", .0.as_secs_f64())]
    Time(Duration),
    /// The endpoint refused.
    #[error("the endpoint answered {status}{}", advice(*status, *key))]
    Status {
        /// Its answer.
        status: StatusCode,
        /// Where the key is from that it was sent, if it was.
        key: Option<&'static str>,
    },
    /// The endpoint cannot be reached, or the connection ended early.
    #[error("the endpoint cannot be reached (--prompt-enhancer): {0}")]
    Connection(String),
    /// What came is no prompt.
    #[error("expected a prompt, found {0}")]
    Nonsense(String),
}

impl EnhancerError {
    /// Whether asking again may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Blank | Self::Time(_) => false,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(status)
            }
            Self::Connection(_) | Self::Nonsense(_) => true,
        }
    }
}

/// What would most likely help.
fn advice(status: StatusCode, key: Option<&'static str>) -> String {
    match (status, key) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(name)) => {
            format!(": it does not accept the key in {name}")
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
            format!(": it expects a key, in {} or {}, found none", KEYS[0], KEYS[1])
        }
        // Of a path, or of a model.
        (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _) => {
            ": expected chat completions at --prompt-enhancer, of the model that \
             --prompt-enhancer-model names"
                .to_owned()
        }
        (StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY, _) => {
            ": it may expect the name of a model that it has, in --prompt-enhancer-model".to_owned()
        }
        (status, _) if status.is_redirection() => {
            ": expected the URL that this leads to in --prompt-enhancer, since a key goes to no other"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// Why there was no answer, in words that do not name the endpoint.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut told = "the connection ended early".to_owned();
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        if error.to_string().starts_with("dns error") {
            return "no address is known for its name".to_owned();
        }
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => {
                return "its certificate is not one to trust".to_owned();
            }
            Some(_) => return "it does not speak TLS as https expects".to_owned(),
            None => {}
        }
        link = match error.downcast_ref::<io::Error>() {
            Some(error) => match error.get_ref() {
                // What it holds is not what it names as its source.
                Some(inner) => Some(inner),
                None => {
                    told = error.kind().to_string();
                    None
                }
            },
            None => error.source(),
        };
    }
    told
}

/// The innermost cause; those around it hold the URL.
pub(super) fn cause(error: &reqwest::Error) -> String {
    innermost_cause(error).unwrap_or_else(|| "no answer".to_owned())
}
