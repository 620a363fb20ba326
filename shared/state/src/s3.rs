//! Objects in an S3 bucket.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tidegate_core::error::chain;

use crate::ports::{BlobStore, StoreError, check_blob_key};

/// Bytes that one object may have: what a single put takes.
pub const MAX_OBJECT: usize = 5_000_000_000;

/// A [`BlobStore`] in a bucket, below a prefix.
///
/// It is as patient as its client: set timeouts there, longer ones than for small items.
#[derive(Clone, Debug)]
pub struct S3Blobs {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Blobs {
    /// Objects of `bucket` below `prefix`, which is empty or ends with `/`.
    pub fn new(client: Client, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), prefix: prefix.into() }
    }

    fn full(&self, key: &str) -> Result<String, StoreError> {
        check_blob_key(key)?;
        Ok(format!("{}{key}", self.prefix))
    }
}

fn classify<E>(error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let answer = match error {
        SdkError::ConstructionFailure(_) => return StoreError::NotApplied(chain(error)),
        SdkError::ServiceError(answer) => answer,
        _ => return StoreError::Unknown(chain(error)),
    };
    let said: Vec<&str> = answer.err().code().into_iter().chain(answer.err().message()).collect();
    let text = match said.is_empty() {
        true => format!("an answer with status {}", answer.raw().status().as_u16()),
        false => said.join(": "),
    };
    match (answer.raw().status().as_u16(), answer.err().code()) {
        // Another put of the same object is under way.
        (429 | 503, _) | (409, Some("ConditionalRequestConflict")) => StoreError::Throttled,
        (500.., _) => StoreError::Unknown(text),
        _ => StoreError::NotApplied(text),
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        if data.len() > MAX_OBJECT {
            return Err(StoreError::TooLarge { bytes: data.len() as u64, limit: MAX_OBJECT as u64 });
        }
        let put = self.client.put_object().bucket(&self.bucket).key(self.full(key)?);
        match put.if_none_match("*").body(ByteStream::from(data)).send().await {
            Ok(_) => Ok(()),
            // It is there already, and its name stands for its content.
            Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 412) => Ok(()),
            Err(error) => Err(classify(&error)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.client.get_object().bucket(&self.bucket).key(self.full(key)?).send().await {
            Ok(object) => {
                let body = object.body.collect().await.map_err(|e| StoreError::Unknown(e.to_string()))?;
                Ok(Some(body.into_bytes()))
            }
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => Ok(None),
            Err(error) => Err(classify(&error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let below = format!("{}/", self.full(prefix)?);
        let (mut names, mut next) = (Vec::new(), None);
        loop {
            let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(&below).set_continuation_token(next);
            let page = list.send().await.map_err(|e| classify(&e))?;
            let found = page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
            names.extend(found.filter_map(|key| key.strip_prefix(&self.prefix).map(str::to_owned)));
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(names);
            }
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let delete = self.client.delete_object().bucket(&self.bucket).key(self.full(key)?);
        delete.send().await.map(drop).map_err(|e| classify(&e))
    }
}
