//! Prompt upsampling: a language model writes out what a user said in a few words, since the video models were trained on long
//! captions. Any endpoint that speaks OpenAI's chat completions will do; who else enhances prompts so: CogVideo's
//! `inference/convert_demo.py`, whose sampling settings these are.

mod answer;
mod conversation;
mod settings;

use std::env;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::Semaphore;

use answer::{MAX_ANSWER_BYTES, prompt_of};
use conversation::Conversation;
pub use settings::{EnhancerArgs, EnhancerUrl, EnhancerUrlError};

/// Tries of one prompt, within its time.
const MAX_TRIES: u32 = 3;
/// Before the second try; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(200);
/// Requests to the endpoint at once; more wait, within their time.
const MAX_CONNECTIONS: usize = 4;
/// Where the key may be, the first that is set.
const KEYS: [&str; 2] = ["COGWHEEL_PROMPT_ENHANCER_KEY", "OPENAI_API_KEY"];

/// The endpoint that enhances prompts.
#[derive(Debug)]
pub(crate) struct Enhancer {
    client: Client,
    url: Url,
    model: Option<String>,
    /// Of one prompt, all tries together.
    time: Duration,
    connections: Semaphore,
}

/// Why a prompt is not enhanced. None of it names the endpoint or holds a key: clients are told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnhancerError {
    /// There is nothing to say more of.
    #[error("expected a prompt to enhance, found none")]
    Blank,
    /// It took too long.
    #[error("expected an answer within {} s, found none", .0.as_secs_f64())]
    Time(Duration),
    /// The endpoint refused.
    #[error("the endpoint answered {0}")]
    Status(StatusCode),
    /// The endpoint cannot be reached, or the connection ended early.
    #[error("the endpoint cannot be reached")]
    Connection,
    /// What came is no prompt.
    #[error("expected a prompt, found {0}")]
    Nonsense(String),
}

/// Why there can be no enhancer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnhancerSetUpError {
    /// A key that no header can hold.
    #[error("{0}: expected a key of visible ASCII characters, found others")]
    Key(&'static str),
    /// TLS cannot be had, most likely since there are no certificates.
    #[error("--prompt-enhancer: {0}")]
    Client(String),
}

impl Enhancer {
    /// The endpoint of the settings, if they name one, with the key that the environment holds.
    ///
    /// # Errors
    /// A key or system that will not do.
    pub(crate) fn new(args: &EnhancerArgs) -> Result<Option<Self>, EnhancerSetUpError> {
        let key = KEYS.iter().find_map(|&name| {
            let key = env::var(name).ok().filter(|key| !key.trim().is_empty());
            key.map(|key| (name, key.trim().to_owned()))
        });
        Self::with_key(args, key)
    }

    fn with_key(
        args: &EnhancerArgs,
        key: Option<(&'static str, String)>,
    ) -> Result<Option<Self>, EnhancerSetUpError> {
        let Some(url) = args.prompt_enhancer.as_ref().map(EnhancerUrl::completions) else {
            return Ok(None);
        };
        let mut headers = HeaderMap::new();
        if let Some((name, key)) = key {
            let value = HeaderValue::try_from(format!("Bearer {key}"));
            let mut value = value.map_err(|_| EnhancerSetUpError::Key(name))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Another part of this process may have chosen the same already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("cogwheel/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // The key is for this endpoint alone.
            .redirect(Policy::none())
            .pool_max_idle_per_host(1);
        if url.scheme() == "http" {
            // Needs no certificates, which a small container may not have.
            client = client.tls_certs_only([]);
        }
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| EnhancerSetUpError::Client(cause(&error)))?;
        Ok(Some(Self {
            client,
            url,
            model: args.prompt_enhancer_model.clone(),
            time: Duration::from_secs(args.prompt_enhancer_timeout),
            connections: Semaphore::new(MAX_CONNECTIONS),
        }))
    }

    /// A longer prompt of at most `max_chars` characters, on one line.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    ///
    /// # Errors
    /// That of the last try.
    pub(crate) async fn enhance(
        &self,
        prompt: &str,
        max_chars: usize,
    ) -> Result<String, EnhancerError> {
        if prompt.trim().is_empty() {
            return Err(EnhancerError::Blank);
        }
        let tries = async {
            // It is never closed.
            let _connection =
                self.connections.acquire().await.map_err(|_| EnhancerError::Connection)?;
            let mut tries = 1;
            loop {
                match self.ask(prompt, max_chars).await {
                    Err(error) if tries < MAX_TRIES && error.may_pass() => {
                        tracing::debug!(tries, %error, "the prompt enhancer is asked again");
                        tokio::time::sleep(PAUSE * tries).await;
                        tries += 1;
                    }
                    result => return result,
                }
            }
        };
        let within = tokio::time::timeout(self.time, tries).await;
        within.unwrap_or(Err(EnhancerError::Time(self.time)))
    }

    async fn ask(&self, prompt: &str, max_chars: usize) -> Result<String, EnhancerError> {
        let conversation = Conversation::about(prompt, self.model.as_deref());
        let response = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .body(conversation.json())
            .send()
            .await
            .map_err(|error| lost(&error))?;
        if response.status() != StatusCode::OK {
            return Err(EnhancerError::Status(response.status()));
        }
        prompt_of(&body(response).await?, max_chars).map_err(EnhancerError::Nonsense)
    }
}

impl EnhancerError {
    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Blank | Self::Time(_) => false,
            Self::Status(status) => {
                status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(status)
            }
            Self::Connection | Self::Nonsense(_) => true,
        }
    }
}

/// The whole body, if it is not larger than any answer.
async fn body(mut response: Response) -> Result<Vec<u8>, EnhancerError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + piece.len() > MAX_ANSWER_BYTES {
            let found = format!("an answer of more than {MAX_ANSWER_BYTES} bytes");
            return Err(EnhancerError::Nonsense(found));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Logs the reason, which may name the endpoint.
fn lost(error: &reqwest::Error) -> EnhancerError {
    tracing::debug!(reason = cause(error), "the prompt enhancer cannot be reached");
    EnhancerError::Connection
}

/// The innermost cause; those around it hold the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = match std::error::Error::source(error) {
        Some(cause) => cause,
        None => return "no answer".to_owned(),
    };
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What is on this machine is behind no proxy.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
