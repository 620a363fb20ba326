//! State in a DynamoDB table with string keys `pk` and `sk`.
//!
//! An item has the attributes `version` (number), `attempt` (32 hex digits) and `data` (bytes).

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use sha2::{Digest, Sha256};
use tidegate_core::error::chain;

use crate::ports::{
    Condition, ConditionalStore, Item, ItemKey, PutOutcome, Refusal, StoreError, TransactOp, TransactOutcome,
    check_transaction,
};

/// Connecting to DynamoDB takes at most this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// One delivery of a request takes at most this.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// A request with all its deliveries takes at most this.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(6);
/// Deliveries of one request.
pub const MAX_ATTEMPTS: u32 = 3;
/// First pause between deliveries.
pub const BACKOFF_BASE: Duration = Duration::from_millis(25);
/// Longest pause between deliveries.
pub const BACKOFF_CAP: Duration = Duration::from_secs(1);
/// Bytes that an item may have, names of attributes included.
pub const MAX_ITEM: usize = 400 * 1024;

/// What the attributes other than `data` take: names, version, attempt token.
const ATTRIBUTE_BYTES: usize = 100;
/// Throttling and its like: nothing happened, try again.
const THROTTLED: [&str; 8] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "TransactionConflictException",
    "TransactionInProgressException",
    "LimitExceededException",
    "ReplicatedWriteConflictException",
];

/// Sets the timeouts and retries that the store relies on. The SDK's own only limit connecting, and pause for a second.
pub fn tuned(config: Builder) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(BACKOFF_BASE)
        .with_max_backoff(BACKOFF_CAP);
    config.timeout_config(timeouts).retry_config(retries)
}

/// A [`ConditionalStore`] in a DynamoDB table.
#[derive(Clone, Debug)]
pub struct DynamoStore {
    client: Client,
    table: String,
}

impl DynamoStore {
    /// The store in `table`. Make the client's configuration with [`tuned`].
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    fn put(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<Put, StoreError> {
        check_size(key, &item)?;
        let (expression, values) = expression(condition);
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(attributes(key, item)))
            .condition_expression(expression)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|e| StoreError::NotApplied(e.to_string()))
    }

    fn check(&self, key: &ItemKey, condition: Condition) -> Result<ConditionCheck, StoreError> {
        let (expression, values) = expression(condition);
        ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key_attributes(key)))
            .condition_expression(expression)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|e| StoreError::NotApplied(e.to_string()))
    }
}

type Attributes = HashMap<String, AttributeValue>;

fn expression(condition: Condition) -> (&'static str, Option<Attributes>) {
    match condition {
        Condition::Absent => ("attribute_not_exists(pk)", None),
        // `version` is a reserved word nowhere in DynamoDB's list, so it needs no placeholder.
        Condition::Version(wanted) => {
            ("version = :wanted", Some(HashMap::from([(":wanted".into(), AttributeValue::N(wanted.to_string()))])))
        }
    }
}

fn check_size(key: &ItemKey, item: &Item) -> Result<(), StoreError> {
    let bytes = item.data.len() + key.partition.len() + key.sort.len() + ATTRIBUTE_BYTES;
    match bytes <= MAX_ITEM {
        true => Ok(()),
        false => Err(StoreError::TooLarge { bytes: bytes as u64, limit: MAX_ITEM as u64 }),
    }
}

fn key_attributes(key: &ItemKey) -> Attributes {
    HashMap::from([
        ("pk".into(), AttributeValue::S(key.partition.clone())),
        ("sk".into(), AttributeValue::S(key.sort.clone())),
    ])
}

fn attributes(key: &ItemKey, item: Item) -> Attributes {
    let mut attributes = key_attributes(key);
    attributes.insert("version".into(), AttributeValue::N(item.version.to_string()));
    attributes.insert("attempt".into(), AttributeValue::S(format!("{:032x}", item.attempt)));
    attributes.insert("data".into(), AttributeValue::B(Blob::new(Vec::from(item.data))));
    attributes
}

fn item(mut attributes: Attributes) -> Result<Item, StoreError> {
    let version = attributes.get("version").and_then(|v| v.as_n().ok()).and_then(|n| n.parse().ok());
    let attempt = attributes.get("attempt").and_then(|v| v.as_s().ok());
    let attempt = attempt.and_then(|hex| u128::from_str_radix(hex, 16).ok());
    match (version, attempt, attributes.remove("data")) {
        (Some(version), Some(attempt), Some(AttributeValue::B(data))) => {
            Ok(Item { version, attempt, data: data.into_inner().into() })
        }
        _ => Err(StoreError::Damaged("an item without version, attempt or data".into())),
    }
}

/// The item of a refusal. One that cannot be read is as good as none: nothing may be concluded from it.
fn old_item(attributes: Option<Attributes>) -> Option<Item> {
    attributes.filter(|attributes| !attributes.is_empty()).and_then(|attributes| item(attributes).ok())
}

/// The same for deliveries of the same request, another one for any other: made of all that identifies it.
fn request_token(ops: &[TransactOp]) -> String {
    let mut hash = Sha256::new();
    for op in ops {
        let (version, attempt) = match op {
            TransactOp::Put { item, .. } => (item.version, item.attempt),
            TransactOp::Check { .. } => (0, 0),
        };
        hash.update(format!("{}\n{:?} {version} {attempt:x}\n", op.key(), op.condition()));
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What an error says about the data. Only an answer from the service itself proves that nothing happened.
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
    let code = answer.err().code().unwrap_or_default();
    if THROTTLED.contains(&code) {
        return StoreError::Throttled;
    }
    let status = answer.raw().status().as_u16();
    if code.is_empty() || status >= 500 { StoreError::Unknown(text) } else { StoreError::NotApplied(text) }
}

/// What a cancelled transaction says: all conditions that did not hold, unless something else was in the way.
fn cancelled(reasons: Vec<CancellationReason>) -> Result<TransactOutcome, StoreError> {
    let mut refusals = Vec::new();
    let mut other = None;
    for (op, reason) in reasons.into_iter().enumerate() {
        match reason.code() {
            None | Some("None") => {}
            Some("ConditionalCheckFailed") => refusals.push(Refusal { op, old: old_item(reason.item) }),
            Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded") => {
                other = other.or(Some(StoreError::Throttled));
            }
            Some(code) => {
                let text = format!("{code}: {}", reason.message().unwrap_or_default());
                other = Some(StoreError::NotApplied(text));
            }
        }
    }
    // Next to a conflict the refusals are not complete: some conditions were not looked at.
    match (other, refusals.is_empty()) {
        (Some(error), _) => Err(error),
        (None, false) => Ok(TransactOutcome::Refused(refusals)),
        (None, true) => Err(StoreError::Unknown("a transaction was cancelled without a reason".into())),
    }
}

#[async_trait]
impl ConditionalStore for DynamoStore {
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key_attributes(key)));
        let output = get.consistent_read(true).send().await.map_err(|e| classify(&e))?;
        output.item.map(item).transpose()
    }

    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError> {
        check_size(key, &item)?;
        let (expression, values) = expression(condition);
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(attributes(key, item)))
            .condition_expression(expression)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(PutOutcome::Applied),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(PutOutcome::Refused(old_item(refused.item.clone())))
                }
                _ => Err(classify(&error)),
            },
        }
    }

    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        let mut found = Vec::new();
        let mut start = None;
        loop {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", AttributeValue::S(partition.to_owned()))
                .consistent_read(true)
                .set_exclusive_start_key(start);
            let page = query.send().await.map_err(|e| classify(&e))?;
            for attributes in page.items.unwrap_or_default() {
                let sort = attributes.get("sk").and_then(|sort| sort.as_s().ok()).cloned();
                let sort = sort.ok_or_else(|| StoreError::Damaged("an item without sk".into()))?;
                found.push((ItemKey::new(partition, sort), item(attributes)?));
            }
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError> {
        check_transaction(&ops)?;
        let token = request_token(&ops);
        let mut items = Vec::with_capacity(ops.len());
        for op in ops {
            let item = TransactWriteItem::builder();
            items.push(match op {
                TransactOp::Put { key, item: new, condition } => item.put(self.put(&key, new, condition)?),
                TransactOp::Check { key, condition } => item.condition_check(self.check(&key, condition)?),
            });
        }
        let items = items.into_iter().map(|item| item.build()).collect();
        let request = self.client.transact_write_items().set_transact_items(Some(items)).client_request_token(token);
        match request.send().await {
            Ok(_) => Ok(TransactOutcome::Applied),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(why)) => {
                    cancelled(why.cancellation_reasons.clone().unwrap_or_default())
                }
                _ => Err(classify(&error)),
            },
        }
    }

    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError> {
        let (expression, values) = expression(Condition::Version(version));
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key_attributes(key)))
            .condition_expression(expression)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match delete.send().await {
            Ok(_) => Ok(PutOutcome::Applied),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(PutOutcome::Refused(old_item(refused.item.clone())))
                }
                _ => Err(classify(&error)),
            },
        }
    }
}
