use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::reloaded::Reloaded;

/// Where a client's token comes from.
#[derive(Clone)]
pub enum TokenSource {
    /// A file with nothing else in it, read again whenever it changes.
    File(PathBuf),
    /// The token itself.
    Text(String),
}

impl fmt::Debug for TokenSource {
    /// Not the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

/// Puts a client's token into its calls.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Token);

#[derive(Clone, Debug, Default)]
enum Token {
    #[default]
    None,
    // Debug of a sensitive value does not tell it.
    Given(MetadataValue<Ascii>),
    File(Arc<Reloaded<MetadataValue<Ascii>>>),
}

impl Credentials {
    /// Reads the token.
    ///
    /// # Errors
    /// A file that cannot be read, and what is no token; it is not told.
    pub(crate) fn read(source: Option<TokenSource>) -> Result<Self, String> {
        Ok(Self(match source {
            None => Token::None,
            Some(TokenSource::Text(text)) => {
                Token::Given(bearer(&text).ok_or_else(|| format!("expected {TOKEN}"))?)
            }
            Some(TokenSource::File(path)) => {
                let token = Reloaded::open("the token", vec![path], |files| {
                    let [file] = files else { return Err(format!("expected {TOKEN}")) };
                    let text = String::from_utf8_lossy(&file.bytes);
                    bearer(&text)
                        .ok_or_else(|| format!("{}: expected {TOKEN}", file.path.display()))
                })?;
                let token = Arc::new(token);
                token.watch();
                Token::File(token)
            }
        }))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = match &self.0 {
            Token::None => return Ok(request),
            Token::Given(value) => value.clone(),
            Token::File(file) => MetadataValue::clone(&file.latest()),
        };
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// What a token is.
const TOKEN: &str = "a token: visible ASCII characters without spaces";

/// The header of a token.
fn bearer(text: &str) -> Option<MetadataValue<Ascii>> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(credentials: &Credentials) -> Option<String> {
        let request = credentials.clone().call(Request::new(())).unwrap();
        request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn calls_carry_the_token_and_nothing_else_tells_it() {
        let given = TokenSource::Text("qzx-token\n".to_owned());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "qzx-token\n").unwrap();
        for source in [given, TokenSource::File(path)] {
            let told = format!("{source:?}");
            let credentials = Credentials::read(Some(source)).unwrap();
            assert_eq!(sent(&credentials).as_deref(), Some("Bearer qzx-token"));
            assert!(!format!("{told}{credentials:?}").contains("qzx"), "{told}{credentials:?}");
        }
        assert_eq!(sent(&Credentials::default()), None);
    }

    #[tokio::test]
    async fn what_is_no_token_is_refused_and_not_told() {
        for text in ["", " \n", "qzx two", "qzx\nqzx", "qzxé"] {
            let told = Credentials::read(Some(TokenSource::Text(text.to_owned()))).unwrap_err();
            assert!(told.starts_with("expected a token") && !told.contains("qzx"), "{told}");
        }
    }
}
