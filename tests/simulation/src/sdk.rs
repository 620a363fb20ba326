//! The store as the AWS SDK sees it: the real client and the real adapter, over a connection that speaks DynamoDB's JSON
//! with the simulated store. No socket is opened; the SDK's time and pauses are those of the schedule.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::{
    AsyncSleep, BehaviorVersion, Credentials, IdentityCache, Region, Sleep, StalledStreamProtectionConfig,
};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::base64;
use aws_smithy_types::body::SdkBody;
use serde_json::{Map, Value, json};
use tidegate_state::dynamodb::{DynamoStore, tuned};
use tidegate_state::{Condition, ConditionalStore, Item, ItemKey, PutOutcome, StoreError, TransactOp, TransactOutcome};

use crate::environment::EPOCH;
use crate::store::StorePort;
use crate::world::{Cell, Shared};

/// A schedule begins: what the SDK draws for its pauses follows from the seed.
pub fn begin(seed: u64) {
    fastrand::seed(seed);
}

/// Items of a page of a query.
const PAGE: usize = 3;

/// The store of an environment, through the SDK.
pub fn store(port: StorePort) -> DynamoStore {
    let world = port.world.clone();
    let connection = Connection(Arc::new(port));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url("http://dynamodb.test")
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .identity_cache(IdentityCache::no_cache())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .time_source(Time(world.clone()))
        .sleep_impl(Time(world))
        .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(connection.clone())));
    // What clients of one process share is not shared between schedules.
    let partition = RetryPartition::custom("environment").token_bucket(TokenBucket::default()).build();
    let config = tuned(config).retry_partition(partition);
    DynamoStore::new(Client::from_conf(config.build()), "table")
}

struct Time(Shared);

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(EPOCH as u64 + self.0.lock().now)
    }
}

impl AsyncSleep for Time {
    fn sleep(&self, duration: Duration) -> Sleep {
        let cell: Cell<()> = Cell::default();
        let waking = cell.clone();
        self.0.lock().later(duration.as_micros() as u64, move |_| waking.fill(()));
        Sleep::new(cell)
    }
}

/// Requests arrive at the simulated store.
#[derive(Clone)]
struct Connection(Arc<StorePort>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let port = self.0.clone();
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let body = request.body().bytes().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or(Value::Null);
        HttpConnectorFuture::new(async move {
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            answer(&port, &operation, &body).await
        })
    }
}

type Answer = Result<HttpResponse, ConnectorError>;

async fn answer(port: &StorePort, operation: &str, body: &Value) -> Answer {
    let done = match operation {
        "GetItem" => match port.get(&key(&body["Key"])).await {
            Ok(found) => Ok(found.map_or(json!({}), |item| json!({ "Item": attributes(&key(&body["Key"]), &item) }))),
            Err(error) => Err(error),
        },
        "PutItem" => {
            let (key, item) = (key(&body["Item"]), item(&body["Item"]));
            put_answer(&key, port.put_if(&key, item, condition(body)).await)?
        }
        "DeleteItem" => {
            let key = key(&body["Key"]);
            let Condition::Version(version) = condition(body) else { return bad("a removal without a version") };
            put_answer(&key, port.delete_if(&key, version).await)?
        }
        "Query" => query(port, body).await,
        "TransactWriteItems" => {
            let ops: Vec<TransactOp> = body["TransactItems"].as_array().into_iter().flatten().map(op).collect();
            let keys: Vec<ItemKey> = ops.iter().map(|op| op.key().clone()).collect();
            match port.transact(ops).await {
                Ok(TransactOutcome::Refused(refusals)) => return respond(400, &cancelled(&keys, &refusals)),
                Ok(TransactOutcome::Applied) => Ok(json!({})),
                Err(StoreError::Throttled) => return respond(400, &conflict(keys.len())),
                Err(error) => Err(error),
            }
        }
        _ => return bad("no such operation"),
    };
    match done {
        Ok(Value::String(refusal)) => respond(400, &serde_json::from_str(&refusal).unwrap_or(Value::Null)),
        Ok(body) => respond(200, &body),
        Err(error) => failure(&error),
    }
}

/// What a conditional write of one item is answered. A refusal is text, to tell it from success.
fn put_answer(
    key: &ItemKey,
    outcome: Result<PutOutcome, StoreError>,
) -> Result<Result<Value, StoreError>, ConnectorError> {
    Ok(match outcome {
        Ok(PutOutcome::Applied) => Ok(json!({})),
        Ok(PutOutcome::Refused(old)) => {
            let mut refused = error("ConditionalCheckFailedException", "The conditional request failed");
            if let Some(old) = old {
                refused["Item"] = attributes(key, &old);
            }
            Ok(Value::String(refused.to_string()))
        }
        Err(error) => Err(error),
    })
}

async fn query(port: &StorePort, body: &Value) -> Result<Value, StoreError> {
    let partition = body["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap_or_default();
    let after = body["ExclusiveStartKey"]["sk"]["S"].as_str();
    let found = port.query(partition).await?;
    let rest: Vec<_> = found.iter().filter(|(key, _)| after.is_none_or(|after| key.sort.as_str() > after)).collect();
    let page = &rest[..rest.len().min(PAGE)];
    let items: Vec<Value> = page.iter().map(|(key, item)| attributes(key, item)).collect();
    let mut answer = json!({ "Count": items.len(), "Items": items });
    if rest.len() > PAGE
        && let Some((last, _)) = page.last()
    {
        answer["LastEvaluatedKey"] = json!({ "pk": { "S": last.partition }, "sk": { "S": last.sort } });
    }
    Ok(answer)
}

fn op(op: &Value) -> TransactOp {
    match (op.get("Put"), op.get("ConditionCheck")) {
        (Some(put), _) => {
            TransactOp::Put { key: key(&put["Item"]), item: item(&put["Item"]), condition: condition(put) }
        }
        (None, check) => {
            let check = check.unwrap_or(&Value::Null);
            TransactOp::Check { key: key(&check["Key"]), condition: condition(check) }
        }
    }
}

fn cancelled(keys: &[ItemKey], refusals: &[tidegate_state::Refusal]) -> Value {
    let mut reasons = vec![json!({ "Code": "None" }); keys.len()];
    for refusal in refusals {
        let mut reason = json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" });
        if let Some(old) = &refusal.old {
            reason["Item"] = attributes(&keys[refusal.op], old);
        }
        reasons[refusal.op] = reason;
    }
    let mut all = error("TransactionCanceledException", "Transaction cancelled");
    all["CancellationReasons"] = Value::Array(reasons);
    all
}

/// Another transaction is at work on one of the items.
fn conflict(ops: usize) -> Value {
    let mut reasons = vec![json!({ "Code": "None" }); ops];
    if let Some(first) = reasons.first_mut() {
        *first = json!({ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" });
    }
    let mut all = error("TransactionCanceledException", "Transaction cancelled");
    all["CancellationReasons"] = Value::Array(reasons);
    all
}

fn error(code: &str, message: &str) -> Value {
    json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message, "Message": message })
}

fn failure(failure: &StoreError) -> Answer {
    match failure {
        StoreError::Throttled => respond(400, &error("ProvisionedThroughputExceededException", "too fast")),
        StoreError::TooLarge { .. } => respond(400, &error("ValidationException", "Item size has exceeded the limit")),
        StoreError::Unknown(why) if why.starts_with("500") => respond(500, &error("InternalServerError", why)),
        StoreError::Unknown(why) => Err(ConnectorError::io(why.clone().into())),
        other => respond(400, &error("InvalidSignatureException", &other.to_string())),
    }
}

fn bad(why: &str) -> Answer {
    respond(400, &error("ValidationException", why))
}

fn respond(status: u16, body: &Value) -> Answer {
    let status = status.try_into().map_err(|_| ConnectorError::other("no such status".into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body.to_string()));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(response)
}

fn text<'a>(attributes: &'a Value, name: &str, kind: &str) -> &'a str {
    attributes[name][kind].as_str().unwrap_or_default()
}

fn key(attributes: &Value) -> ItemKey {
    ItemKey::new(text(attributes, "pk", "S"), text(attributes, "sk", "S"))
}

fn item(attributes: &Value) -> Item {
    Item {
        version: text(attributes, "version", "N").parse().unwrap_or_default(),
        attempt: u128::from_str_radix(text(attributes, "attempt", "S"), 16).unwrap_or_default(),
        data: base64::decode(text(attributes, "data", "B")).unwrap_or_default().into(),
    }
}

fn attributes(key: &ItemKey, item: &Item) -> Value {
    let mut all = Map::new();
    all.insert("pk".into(), json!({ "S": key.partition }));
    all.insert("sk".into(), json!({ "S": key.sort }));
    all.insert("version".into(), json!({ "N": item.version.to_string() }));
    all.insert("attempt".into(), json!({ "S": format!("{:032x}", item.attempt) }));
    all.insert("data".into(), json!({ "B": base64::encode(&item.data) }));
    Value::Object(all)
}

fn condition(request: &Value) -> Condition {
    match request["ConditionExpression"].as_str() {
        Some("version = :wanted") => {
            let wanted = request["ExpressionAttributeValues"][":wanted"]["N"].as_str().unwrap_or_default();
            Condition::Version(wanted.parse().unwrap_or_default())
        }
        _ => Condition::Absent,
    }
}
