//! Dead letters to an SQS queue.

use async_trait::async_trait;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde_json::{Map, Value};
use tidegate_core::{Error, Result};

use crate::dead_letter::{DeadLetterStore, cut};

/// Messages in a batch: SQS's own limit.
pub const MAX_BATCH_MESSAGES: usize = 10;
/// Bytes of a message and of a whole batch. SQS takes 1 MiB; queues made before 2025 may still be set to 256 KiB.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Bytes kept free for what is around an original that is cut.
const ENVELOPE_ROOM: usize = 16 * 1024;

/// Sends each dead letter as one message, its JSON as the body.
///
/// An original that is too large for a message is cut; the letter's `cut` says how many bytes of it are missing.
#[derive(Clone, Debug)]
pub struct SqsDeadLetters {
    client: aws_sdk_sqs::Client,
    queue_url: String,
}

impl SqsDeadLetters {
    /// Letters to the queue at `queue_url`. The client should have its timeouts set.
    pub fn new(client: aws_sdk_sqs::Client, queue_url: impl Into<String>) -> Self {
        Self { client, queue_url: queue_url.into() }
    }
}

#[async_trait]
impl DeadLetterStore for SqsDeadLetters {
    async fn keep(&self, lines: &[u8]) -> Result<()> {
        for batch in batches(lines)? {
            let entries = batch
                .into_iter()
                .enumerate()
                .map(|(i, body)| SendMessageBatchRequestEntry::builder().id(i.to_string()).message_body(body).build());
            let entries = entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| {
                Error::internal("a message to the dead-letter queue is not whole").with_source(error)
            })?;
            let sent =
                self.client.send_message_batch().queue_url(&self.queue_url).set_entries(Some(entries)).send().await;
            let sent = sent.map_err(|error| {
                Error::unavailable(format!("dead letters cannot be sent to {}", self.queue_url))
                    .with_source(aws_sdk_sqs::Error::from(error))
                    .with_help("check that the queue exists and that sqs:SendMessage is allowed")
            })?;
            if let Some(first) = sent.failed().first() {
                return Err(Error::unavailable(format!(
                    "{} dead letters were not taken by {}: {} {}",
                    sent.failed().len(),
                    self.queue_url,
                    first.code(),
                    first.message().unwrap_or_default()
                )));
            }
        }
        Ok(())
    }
}

/// Messages, batched by SQS's limits.
fn batches(lines: &[u8]) -> Result<Vec<Vec<String>>> {
    let text = std::str::from_utf8(lines).map_err(|_| Error::internal("dead letters are not UTF-8"))?;
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let message = fitted(line)?;
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_BATCH_MESSAGES && bytes + message.len() <= MAX_MESSAGE_BYTES => {
                bytes += message.len();
                batch.push(message);
            }
            _ => {
                bytes = message.len();
                batches.push(vec![message]);
            }
        }
    }
    Ok(batches)
}

/// The letter, its original cut if it is too large for a message.
fn fitted(line: &str) -> Result<String> {
    if line.len() <= MAX_MESSAGE_BYTES {
        return Ok(line.to_owned());
    }
    let mut letter: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| Error::internal("a dead letter is no JSON").with_source(error))?;
    let base64 = letter.get("encoding").is_some_and(|encoding| encoding == "base64");
    let already = letter.get("cut").and_then(Value::as_u64).unwrap_or(0);
    let payload = match letter.remove("payload") {
        Some(Value::String(payload)) => payload,
        _ => String::new(),
    };
    let mut room = MAX_MESSAGE_BYTES - ENVELOPE_ROOM;
    loop {
        // Base64 is cut at whole groups of four, so that it stays readable.
        let kept = if base64 { &payload[..payload.len().min(room / 4 * 4)] } else { cut(&payload, room) };
        let lost = payload.len() - kept.len();
        let lost = if base64 { lost / 4 * 3 } else { lost };
        letter.insert("payload".into(), kept.into());
        letter.insert("cut".into(), (already + lost as u64).into());
        let text = Value::Object(letter.clone()).to_string();
        // Escapes make text longer, up to six times.
        if text.len() <= MAX_MESSAGE_BYTES || room == 0 {
            return Ok(text);
        }
        room /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit() {
        let line = |payload: &str, encoding: &str| {
            format!("{}\n", serde_json::json!({"id": "1", "payload": payload, "encoding": encoding}))
        };
        let small = line("x", "text").repeat(25);
        let shape: Vec<_> = batches(small.as_bytes()).unwrap().iter().map(Vec::len).collect();
        assert_eq!(shape, [10, 10, 5]);
        for (payload, encoding) in
            [("é".repeat(400_000), "text"), ("\u{1}".repeat(300_000), "text"), ("QUFB".repeat(100_000), "base64")]
        {
            let batch = batches(line(&payload, encoding).as_bytes()).unwrap();
            assert!(batch[0][0].len() <= MAX_MESSAGE_BYTES);
            let letter: Value = serde_json::from_str(&batch[0][0]).unwrap();
            let kept = letter["payload"].as_str().unwrap().len();
            let lost = letter["cut"].as_u64().unwrap() as usize;
            let lost = if encoding == "base64" { lost / 3 * 4 } else { lost };
            assert_eq!(kept + lost, payload.len());
        }
        let large = line(&"x".repeat(200_000), "text").repeat(2);
        assert_eq!(batches(large.as_bytes()).unwrap().len(), 2);
    }
}
