//! What is known of the partitions of a source that declares their number.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_core::{Error, Position, Result};
use tidegate_lane::{Backlog, Descent, SourceView};

use crate::config::Source;

/// Partitions by their declared number, and everything else from the streams themselves.
pub(crate) struct Declared {
    /// Name, declared partitions, and the stream of each source.
    sources: Vec<(String, Option<u32>, Option<String>)>,
    /// What asks a stream, by its name or ARN.
    streams: Option<Arc<dyn SourceView>>,
}

impl Declared {
    pub(crate) fn new(sources: &[Source], streams: Option<Arc<dyn SourceView>>) -> Self {
        let sources = sources.iter().map(|source| (source.name.clone(), source.partitions, source.from.clone()));
        Self { sources: sources.collect(), streams }
    }

    fn declared(&self, source: &str) -> Option<(u32, Option<&str>)> {
        let (_, partitions, from) = self.sources.iter().find(|(name, ..)| name == source)?;
        Some(((*partitions)?, from.as_deref()))
    }

    /// Whether a stream stands behind the source that can be asked.
    pub(crate) fn can_ask(&self, source: &str) -> bool {
        self.declared(source).is_none() && self.stream(source).is_ok()
    }

    /// What asks the stream of `source`, and the stream's name or ARN.
    fn stream(&self, source: &str) -> Result<(&dyn SourceView, &str)> {
        let from = self.sources.iter().find(|(name, ..)| name == source).and_then(|(.., from)| from.as_deref());
        match (&self.streams, from) {
            (Some(streams), Some(from)) => Ok((streams.as_ref(), from)),
            _ => Err(Error::invalid(format!("source '{source}': its partitions are not known"))
                .with_help("name the Kinesis stream in from:, or declare the topic's partitions: N")),
        }
    }

    /// What stands before a partition's name where several streams feed one pipeline.
    fn prefix(&self, from: Option<&str>) -> String {
        match (self.sources.len(), from) {
            (1, _) | (_, None) => String::new(),
            (_, Some(from)) => format!("{}-", short_name(from)),
        }
    }
}

/// A stream's or topic's name without what an ARN has before it.
pub(crate) fn short_name(origin: &str) -> &str {
    origin.rsplit(['/', ':']).next().unwrap_or(origin)
}

#[async_trait]
impl SourceView for Declared {
    async fn partitions(&self, source: &str) -> Result<Vec<String>> {
        if let Some((partitions, from)) = self.declared(source) {
            let prefix = self.prefix(from);
            return Ok((0..partitions).map(|number| format!("{prefix}{number}")).collect());
        }
        let (streams, from) = self.stream(source)?;
        let prefix = self.prefix(Some(from));
        let found = streams.partitions(from).await.map_err(|error| error.within(format!("source '{source}'")))?;
        Ok(found.into_iter().map(|partition| format!("{prefix}{partition}")).collect())
    }

    async fn backlog(&self, source: &str, partition: &str, after: Option<Position>) -> Result<Backlog> {
        if self.declared(source).is_some() {
            return Ok(Backlog::Unknown);
        }
        let (streams, from) = self.stream(source)?;
        let prefix = self.prefix(Some(from));
        let partition = partition.strip_prefix(&prefix).unwrap_or(partition);
        streams.backlog(from, partition, after).await.map_err(|error| error.within(format!("source '{source}'")))
    }

    async fn lineage(&self, source: &str) -> Result<Vec<Descent>> {
        if self.declared(source).is_some() {
            return Ok(Vec::new());
        }
        // A stream that is not named cannot be asked.
        let Ok((streams, from)) = self.stream(source) else { return Ok(Vec::new()) };
        let prefix = self.prefix(Some(from));
        let mut found = streams.lineage(from).await.map_err(|error| error.within(format!("source '{source}'")))?;
        for name in found.iter_mut().flat_map(|descent| descent.parents.iter_mut().chain([&mut descent.partition])) {
            name.insert_str(0, &prefix);
        }
        Ok(found)
    }

    async fn identity(&self, source: &str) -> Result<Option<String>> {
        if self.declared(source).is_some() {
            return Ok(None);
        }
        let (streams, from) = self.stream(source)?;
        streams.identity(from).await.map_err(|error| error.within(format!("source '{source}'")))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::HashRange;

    use super::*;
    use crate::config;

    const FILE: &str = "
name: p
sources:
  a: { format: json, columns: 'x int', from: topic-a, partitions: 2 }
  b: { format: json, columns: 'x int', from: arn:aws:kinesis:eu-west-1:1:stream/b }
outputs: { o: { query: SELECT x FROM a, target: t } }
targets: { t: { rest: { url: http://127.0.0.1/x } } }
";

    const HASHES: Option<HashRange> = Some(HashRange { first: 3, last: 9 });

    struct Streams;

    #[async_trait]
    impl SourceView for Streams {
        async fn partitions(&self, source: &str) -> Result<Vec<String>> {
            Ok(vec![format!("shard of {source}")])
        }

        async fn backlog(&self, _: &str, partition: &str, _: Option<Position>) -> Result<Backlog> {
            Ok(if partition == "shard-1" { Backlog::Empty } else { Backlog::Waiting })
        }

        async fn lineage(&self, _: &str) -> Result<Vec<Descent>> {
            Ok(vec![Descent {
                partition: "shard-2".into(),
                parents: vec!["shard-0".into(), "shard-1".into()],
                hashes: HASHES,
            }])
        }

        async fn identity(&self, source: &str) -> Result<Option<String>> {
            Ok(Some(format!("identity of {source}")))
        }
    }

    #[test]
    fn declared_numbers_come_first() {
        let file = config::load("p.yaml", FILE, &|_| None).unwrap();
        let run = |view: Declared, source: &str| futures::executor::block_on(view.partitions(source));
        let streams = || Some(Arc::new(Streams) as Arc<dyn SourceView>);
        let with = || Declared::new(&file.sources, streams());
        assert_eq!(run(with(), "a").unwrap(), ["topic-a-0", "topic-a-1"]);
        assert_eq!(run(with(), "b").unwrap(), ["b-shard of arn:aws:kinesis:eu-west-1:1:stream/b"]);
        let error = run(Declared::new(&file.sources, None), "b").unwrap_err();
        assert!(error.help().unwrap().contains("partitions: N"), "{error}");
        let backlog = |source, partition| futures::executor::block_on(with().backlog(source, partition, None)).unwrap();
        assert_eq!(backlog("a", "topic-a-0"), Backlog::Unknown);
        assert_eq!((backlog("b", "b-shard-1"), backlog("b", "b-shard-2")), (Backlog::Empty, Backlog::Waiting));
        let lineage = |view: Declared, source| futures::executor::block_on(view.lineage(source)).unwrap();
        let merged = Descent {
            partition: "b-shard-2".into(),
            parents: vec!["b-shard-0".into(), "b-shard-1".into()],
            hashes: HASHES,
        };
        assert_eq!(lineage(with(), "b"), [merged]);
        assert!(lineage(with(), "a").is_empty() && lineage(Declared::new(&file.sources, None), "b").is_empty());
        let identity = |source| futures::executor::block_on(with().identity(source)).unwrap();
        assert_eq!(identity("b").as_deref(), Some("identity of arn:aws:kinesis:eu-west-1:1:stream/b"));
        assert_eq!(identity("a"), None);
    }
}
