//! Credentials of a request: fetched when it is sent, never stored, never shown.

use tidegate_core::Result;
use tidegate_core::secret::{Secret, SecretRef, SecretStore};

use crate::config::Auth;

/// What goes into the `Authorization` header, and what must not show in messages.
pub(crate) struct Credentials {
    authorization: Option<Secret>,
    hidden: Vec<Secret>,
}

impl Credentials {
    pub(crate) async fn fetch(auth: &Auth, secrets: &dyn SecretStore) -> Result<Self> {
        match reference(auth) {
            None => Ok(Self { authorization: None, hidden: Vec::new() }),
            Some(name) => Ok(Self::new(auth, secrets.fetch(name).await?)),
        }
    }

    /// After a target refused these: from where they are kept, past every cache. `None` where they are the same
    /// still, or cannot be had now.
    pub(crate) async fn fetch_again(&self, auth: &Auth, secrets: &dyn SecretStore) -> Option<Self> {
        let mut fresh = Self::new(auth, secrets.fetch_again(reference(auth)?).await.ok()?);
        fresh.hidden.extend(self.hidden.iter().cloned());
        (fresh.authorization != self.authorization).then_some(fresh)
    }

    fn new(auth: &Auth, secret: Secret) -> Self {
        let authorization = match auth {
            Auth::Basic { user, .. } => {
                let pair = format!("{user}:{}", secret.expose());
                format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair.as_bytes()))
            }
            _ => format!("Bearer {}", secret.expose()),
        };
        let encoded = authorization.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
        Self { authorization: Some(Secret::new(authorization)), hidden: vec![Secret::new(encoded), secret] }
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

/// Where the secret is kept.
fn reference(auth: &Auth) -> Option<&SecretRef> {
    match auth {
        Auth::None => None,
        Auth::Bearer(secret) | Auth::Basic { password: secret, .. } => Some(secret),
    }
}
