//! Where secrets are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_core::secret::{Secret, SecretRef, SecretStore};
use tidegate_core::{Clock, Error, Result};

/// A fetched secret is used for so long before it is fetched again.
pub const DEFAULT_SECRET_TTL: Duration = Duration::from_secs(5 * 60);
/// Bytes of a secret file at most.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Looks a variable up in the environment that `main` has read.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Environment variables and files; AWS through another store.
#[derive(Clone)]
pub struct Secrets {
    environment: Environment,
    aws: Option<Arc<dyn SecretStore>>,
}

impl Secrets {
    /// Without AWS.
    pub fn new(environment: Environment) -> Self {
        Self { environment, aws: None }
    }

    /// Secrets Manager and SSM through `store`.
    #[must_use]
    pub fn with_aws(mut self, store: Arc<dyn SecretStore>) -> Self {
        self.aws = Some(store);
        self
    }
}

#[async_trait]
impl SecretStore for Secrets {
    async fn fetch(&self, secret: &SecretRef) -> Result<Secret> {
        match (secret, &self.aws) {
            (SecretRef::Env(name), _) => {
                let value = (self.environment)(name).filter(|value| !value.is_empty());
                value.map(Secret::new).ok_or_else(|| {
                    Error::invalid(format!("{secret} is not set")).with_help(format!("set {name} before the start"))
                })
            }
            (SecretRef::File(path), _) => from_file(path),
            (_, Some(aws)) => aws.fetch(secret).await,
            (_, None) => Err(Error::invalid(format!("{secret} cannot be read: this build has no AWS secrets"))
                .with_help("use an environment variable or a file")),
        }
    }
}

fn from_file(path: &str) -> Result<Secret> {
    let fault = |error| {
        Error::invalid(format!("secret file {path} cannot be read"))
            .with_source(error)
            .with_help("check that it exists and that this user may read it")
    };
    if std::fs::metadata(path).map_err(fault)?.len() > MAX_SECRET_BYTES {
        return Err(Error::invalid(format!("secret file {path} is larger than {MAX_SECRET_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(fault)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(Error::invalid(format!("secret file {path} is empty"))) } else { Ok(Secret::new(text)) }
}

/// Keeps what another store fetched for a bounded time. Holds as many secrets as the pipeline file names.
pub struct CachedSecrets<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    known: Mutex<HashMap<SecretRef, (Duration, Secret)>>,
}

impl<S: SecretStore> CachedSecrets<S> {
    /// Keeps secrets of `inner` for `ttl` (see [`DEFAULT_SECRET_TTL`]).
    pub fn new(inner: S, clock: Arc<dyn Clock>, ttl: Duration) -> Self {
        Self { inner, clock, ttl, known: Mutex::default() }
    }
}

#[async_trait]
impl<S: SecretStore> SecretStore for CachedSecrets<S> {
    async fn fetch(&self, secret: &SecretRef) -> Result<Secret> {
        let now = self.clock.elapsed();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(secret).cloned();
        if let Some((until, value)) = known.filter(|(until, _)| now < *until) {
            let _ = until;
            return Ok(value);
        }
        self.fetch_again(secret).await
    }

    async fn fetch_again(&self, secret: &SecretRef) -> Result<Secret> {
        let value = self.inner.fetch_again(secret).await?;
        let entry = (self.clock.elapsed() + self.ttl, value.clone());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.clone(), entry);
        Ok(value)
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
