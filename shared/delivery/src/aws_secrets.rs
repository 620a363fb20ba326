//! Secrets of AWS: Secrets Manager and Systems Manager Parameter Store.
//!
//! Wrap it into [`crate::CachedSecrets`]: each fetch costs a request.

use async_trait::async_trait;
use tidegate_core::secret::{Secret, SecretRef, SecretStore};
use tidegate_core::{Error, Result};

/// Fetches secrets through the SDK. The clients should have their timeouts set.
#[derive(Clone, Debug)]
pub struct AwsSecrets {
    secrets_manager: aws_sdk_secretsmanager::Client,
    ssm: aws_sdk_ssm::Client,
}

impl AwsSecrets {
    /// Through these clients.
    pub fn new(secrets_manager: aws_sdk_secretsmanager::Client, ssm: aws_sdk_ssm::Client) -> Self {
        Self { secrets_manager, ssm }
    }

    async fn secrets_manager_value(&self, secret: &SecretRef, name: &str) -> Result<Secret> {
        let answer = self.secrets_manager.get_secret_value().secret_id(name).send().await.map_err(|error| {
            let missing = error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception());
            fault(secret, missing, "secretsmanager:GetSecretValue", aws_sdk_secretsmanager::Error::from(error))
        })?;
        value(secret, answer.secret_string())
    }

    async fn ssm_value(&self, secret: &SecretRef, name: &str) -> Result<Secret> {
        let answer = self.ssm.get_parameter().name(name).with_decryption(true).send().await.map_err(|error| {
            let missing = error.as_service_error().is_some_and(|error| error.is_parameter_not_found());
            fault(secret, missing, "ssm:GetParameter", aws_sdk_ssm::Error::from(error))
        })?;
        value(secret, answer.parameter().and_then(|parameter| parameter.value()))
    }
}

fn value(secret: &SecretRef, value: Option<&str>) -> Result<Secret> {
    let value = value.filter(|value| !value.is_empty());
    value.map(Secret::new).ok_or_else(|| {
        Error::invalid(format!("{secret} holds no text")).with_help("store the secret as plain text, not as binary")
    })
}

fn fault(
    secret: &SecretRef,
    missing: bool,
    action: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    let error = if missing {
        Error::invalid(format!("{secret} does not exist"))
    } else {
        Error::unavailable(format!("{secret} cannot be read"))
    };
    error.with_source(source).with_help(format!("check its name and that {action} is allowed on it"))
}

#[async_trait]
impl SecretStore for AwsSecrets {
    async fn fetch(&self, secret: &SecretRef) -> Result<Secret> {
        match secret {
            SecretRef::SecretsManager(name) => self.secrets_manager_value(secret, name).await,
            SecretRef::Ssm(name) => self.ssm_value(secret, name).await,
            SecretRef::Env(_) | SecretRef::File(_) => Err(Error::internal(format!("{secret} is not kept in AWS"))),
        }
    }
}
