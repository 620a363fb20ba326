//! Secrets: text that never reaches logs, errors, state or dead letters.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

/// A secret value. `Debug` and `Display` print a placeholder.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for the moment of sending only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret is kept. This is what configuration and state hold; it is safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; one trailing line break is cut off.
    File(String),
    /// AWS Secrets Manager, by name or ARN.
    SecretsManager(String),
    /// AWS Systems Manager Parameter Store, by name.
    Ssm(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::SecretsManager(name) => write!(f, "Secrets Manager secret {name}"),
            Self::Ssm(name) => write!(f, "SSM parameter {name}"),
        }
    }
}

/// The port to where secrets are kept.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// Fetches the secret. Implementations may cache for a bounded time.
    async fn fetch(&self, secret: &SecretRef) -> Result<Secret>;

    /// Fetches it from where it is kept, past every cache: for a receiver that refused what [`Self::fetch`] gave.
    async fn fetch_again(&self, secret: &SecretRef) -> Result<Secret> {
        self.fetch(secret).await
    }
}
