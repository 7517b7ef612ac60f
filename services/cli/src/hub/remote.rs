use std::time::Duration;

use cogwheel_service::innermost_cause;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

use super::cache::{set, token};
use super::{HubError, Listing, ModelName, Revision};

/// Where the hub is, unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(30);
/// Between two pieces of an answer. A transfer as a whole may take any time.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of a list of files: a thousand times what a checkpoint's takes.
const MAX_LISTING_BYTES: usize = 16 << 20;
/// A large file has one or two.
const MAX_REDIRECTS: usize = 10;

/// The hub over HTTP.
#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    endpoint: String,
    has_token: bool,
}

impl Remote {
    /// The hub that `HF_ENDPOINT` names, with the token that is set, which goes to that host only.
    ///
    /// # Errors
    /// An endpoint or a token that cannot be used; a system without certificates.
    pub(super) fn of_environment() -> Result<Self, HubError> {
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        // What stands in messages is no place for a password.
        let is_plain = |url: &Url| url.username().is_empty() && url.password().is_none();
        let is_http = |url: &Url| {
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && is_plain(url)
        };
        if !Url::parse(&endpoint).is_ok_and(|url| is_http(&url)) {
            let found = crate::shown::value(&endpoint).into_owned();
            return Err(HubError::Endpoint { found });
        }
        let mut headers = HeaderMap::new();
        let token = token();
        let has_token = token.is_some();
        if let Some((token, source_name)) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| HubError::Token { source_name })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Another part of this process may have chosen the same already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("cogwheel/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(Policy::custom(|attempt| {
                let was_secret = attempt.previous().iter().any(|url| url.scheme() == "https");
                if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error("too many redirects")
                } else if was_secret && attempt.url().scheme() != "https" {
                    attempt.error("a redirect from https to http")
                } else {
                    attempt.follow()
                }
            }))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| unreachable("the hub", &endpoint, &error))?;
        Ok(Self { client, endpoint, has_token })
    }

    /// What a revision of a model consists of.
    ///
    /// # Errors
    /// What the hub answers, or that it does not.
    pub(super) async fn listing(
        &self,
        name: &ModelName,
        revision: &Revision,
    ) -> Result<Listing, HubError> {
        let revision_path = revision.as_str().replace('/', "%2F");
        let path = format!("api/models/{name}/revision/{revision_path}?blobs=true");
        let mut response = self.get(&path, name, revision, None).await?;
        let mut json = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| unreachable(&name.to_string(), &self.endpoint, &error))?
        {
            if json.len() + piece.len() > MAX_LISTING_BYTES {
                let reason =
                    format!("expected a list of at most {MAX_LISTING_BYTES} bytes, found more");
                return Err(HubError::Listing { name: name.clone(), reason });
            }
            json.extend_from_slice(&piece);
        }
        Listing::read(name, &json)
    }

    /// A file's bytes from `start` on; with status 206 where the server took that to heart.
    ///
    /// # Errors
    /// What the hub answers, or that it does not.
    pub(super) async fn file(
        &self,
        name: &ModelName,
        commit: &Revision,
        path: &str,
        start: u64,
    ) -> Result<Response, HubError> {
        let path = format!("{name}/resolve/{commit}/{path}");
        let range = (start > 0).then(|| format!("bytes={start}-"));
        self.get(&path, name, commit, range).await
    }

    async fn get(
        &self,
        path: &str,
        name: &ModelName,
        revision: &Revision,
        range: Option<String>,
    ) -> Result<Response, HubError> {
        let mut request = self.client.get(format!("{}/{path}", self.endpoint));
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unreachable(&name.to_string(), &self.endpoint, &error))?;
        let (name, endpoint) = (name.clone(), self.endpoint.clone());
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let token = if self.has_token { " (the one that is set was sent)" } else { "" };
                Err(HubError::Forbidden { name, status: status.as_u16(), endpoint, token })
            }
            StatusCode::NOT_FOUND => {
                Err(HubError::NotFound { name, revision: revision.clone(), endpoint })
            }
            status => Err(HubError::Status { what: name.to_string(), status: status.as_u16() }),
        }
    }
}

/// What went wrong, without the URL: a redirect's may hold a signature.
fn unreachable(what: &str, endpoint: &str, error: &reqwest::Error) -> HubError {
    HubError::Unreachable {
        what: what.to_owned(),
        endpoint: endpoint.to_owned(),
        reason: reason(error),
    }
}

/// The innermost cause, which says more than those around it, and never a URL.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        let waited = if error.is_connect() { CONNECT } else { SILENCE };
        return format!("nothing came for {} s", waited.as_secs());
    }
    innermost_cause(error).unwrap_or_else(|| "no answer".to_owned())
}
