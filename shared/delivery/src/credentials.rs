//! Credentials of a request: fetched when it is sent, never stored, never shown.

use tidegate_core::Result;
use tidegate_core::secret::{Secret, SecretStore};

use crate::config::Auth;

/// What goes into the `Authorization` header, and what must not show in messages.
pub(crate) struct Credentials {
    authorization: Option<Secret>,
    hidden: Vec<Secret>,
}

impl Credentials {
    pub(crate) async fn fetch(auth: &Auth, secrets: &dyn SecretStore) -> Result<Self> {
        let (authorization, secret) = match auth {
            Auth::None => return Ok(Self { authorization: None, hidden: Vec::new() }),
            Auth::Bearer(secret) => {
                let secret = secrets.fetch(secret).await?;
                (format!("Bearer {}", secret.expose()), secret)
            }
            Auth::Basic { user, password } => {
                let secret = secrets.fetch(password).await?;
                let pair = format!("{user}:{}", secret.expose());
                (format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair.as_bytes())), secret)
            }
        };
        let encoded = authorization.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
        Ok(Self { authorization: Some(Secret::new(authorization)), hidden: vec![Secret::new(encoded), secret] })
    }

    pub(crate) fn authorization(&self) -> Option<Secret> {
        self.authorization.clone()
    }

    /// `text` without the secret, which a target may repeat in its answer.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.hidden
            .iter()
            .filter(|secret| !secret.expose().is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "[secret]"))
    }
}
