use std::str::FromStr;

use clap::Args;
use reqwest::Url;

/// Who enhances prompts. The key is not among them: it is read from `COGWHEEL_PROMPT_ENHANCER_KEY`, or else `OPENAI_API_KEY`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Prompts")]
pub struct EnhancerArgs {
    /// Endpoint that speaks OpenAI's chat completions and writes prompts out for requests that ask for it, such as
    /// http://127.0.0.1:8080/v1. Its key is read from COGWHEEL_PROMPT_ENHANCER_KEY, or else OPENAI_API_KEY
    #[arg(long, env = "COGWHEEL_PROMPT_ENHANCER", value_name = "URL")]
    pub prompt_enhancer: Option<EnhancerUrl>,
    /// Its model; an endpoint with only one may not need its name
    #[arg(long, env = "COGWHEEL_PROMPT_ENHANCER_MODEL", value_name = "NAME")]
    pub prompt_enhancer_model: Option<String>,
    /// Seconds for one prompt; past them it is used as it is
    #[arg(long, env = "COGWHEEL_PROMPT_ENHANCER_TIMEOUT", value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub prompt_enhancer_timeout: u64,
}

impl Default for EnhancerArgs {
    /// The defaults of the flags.
    fn default() -> Self {
        Self { prompt_enhancer: None, prompt_enhancer_model: None, prompt_enhancer_timeout: 30 }
    }
}

/// The URL of an endpoint, as its provider states it: with `/v1` or another path at its end, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnhancerUrl(Url);

/// Why a text is no such URL.
#[derive(Debug, thiserror::Error)]
pub enum EnhancerUrlError {
    /// Another scheme, no host, or no URL.
    #[error("expected a URL such as http://127.0.0.1:8080/v1, found another text")]
    Url,
    /// It would be shown and logged.
    #[error(
        "expected a URL without user and password: the key is read from COGWHEEL_PROMPT_ENHANCER_KEY"
    )]
    Secret,
}

impl FromStr for EnhancerUrl {
    type Err = EnhancerUrlError;

    fn from_str(text: &str) -> Result<Self, EnhancerUrlError> {
        let url = Url::parse(text).map_err(|_| EnhancerUrlError::Url)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(EnhancerUrlError::Url);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EnhancerUrlError::Secret);
        }
        Ok(Self(url))
    }
}

impl EnhancerUrl {
    /// Where it is asked. `/v1` is added only where there is no path: providers have other ones, such as `/api/paas/v4`.
    pub(super) fn completions(&self) -> Url {
        let mut url = self.0.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        let path = match &*path {
            "" => "/v1/chat/completions".to_owned(),
            path if path.ends_with("/chat/completions") => path.to_owned(),
            path => format!("{path}/chat/completions"),
        };
        url.set_path(&path);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_be_stated_with_or_without_its_path() {
        for (text, expected) in [
            ("http://h:1", "http://h:1/v1/chat/completions"),
            ("http://h:1/", "http://h:1/v1/chat/completions"),
            ("http://h:1/v1", "http://h:1/v1/chat/completions"),
            ("https://h/v1/", "https://h/v1/chat/completions"),
            ("https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions"),
            ("https://h/v1/chat/completions", "https://h/v1/chat/completions"),
            ("https://h/x?version=2", "https://h/x/chat/completions?version=2"),
        ] {
            assert_eq!(text.parse::<EnhancerUrl>().unwrap().completions().as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_endpoint_or_holds_a_secret_is_refused_without_being_shown() {
        for text in ["", "h:1", "ftp://h", "file:///etc", "https://user:secret@h/v1"] {
            let error = text.parse::<EnhancerUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
