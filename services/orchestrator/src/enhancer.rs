//! Prompt upsampling: a language model writes out what a user said in a few words, since the video models were trained on long
//! captions. Any endpoint that speaks OpenAI's chat completions will do; who else enhances prompts so: CogVideo's
//! `inference/convert_demo.py`, whose sampling settings these are.

mod answer;
mod conversation;
mod error;
mod settings;

use std::env;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::Semaphore;

use answer::{MAX_ANSWER_BYTES, prompt_of};
use conversation::Conversation;
pub(crate) use error::EnhancerError;
use error::{cause, reason};
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
    /// Where its key is from, if there is one.
    key: Option<&'static str>,
    /// Of one prompt, all tries together.
    time: Duration,
    connections: Semaphore,
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
        let key_name = key.as_ref().map(|&(name, _)| name);
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
            key: key_name,
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
            let closed = |_| EnhancerError::Connection("none is left".to_owned());
            let _connection = self.connections.acquire().await.map_err(closed)?;
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
            return Err(EnhancerError::Status { status: response.status(), key: self.key });
        }
        prompt_of(&body(response).await?, max_chars).map_err(EnhancerError::Nonsense)
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

/// Logs the cause, which may name the endpoint.
fn lost(error: &reqwest::Error) -> EnhancerError {
    tracing::debug!(reason = cause(error), "the prompt enhancer cannot be reached");
    EnhancerError::Connection(reason(error))
}

/// What is on this machine is behind no proxy.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
