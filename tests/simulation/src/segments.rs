//! The fold's state in segments: windows that a checkpoint moved into objects of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Error, Result, Segment, Segments};

use crate::operators::{Delta, State, Windows};

/// Segments that are merged into one.
const WIDTH: usize = 3;

/// A state, and which part of it lies in segments.
#[derive(Clone, Debug)]
pub struct Held {
    /// The whole state.
    pub state: State,
    store: Option<Arc<dyn Segments>>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    segment: Segment,
    /// Windows that begin earlier are over.
    earliest: i64,
    windows: Windows,
}

impl From<State> for Held {
    fn from(state: State) -> Self {
        Self { state, store: None, parts: Vec::new() }
    }
}

fn add(to: &mut Windows, windows: &Windows) {
    for (place, (sum, count)) in windows {
        let entry = to.entry(*place).or_default();
        *entry = (entry.0 + sum, entry.1 + count);
    }
}

impl Held {
    /// A state that is `state` and what `segments` hold.
    pub async fn restore(
        state: State,
        segments: &[Segment],
        store: Arc<dyn Segments>,
        forgets_open: bool,
    ) -> Result<Self> {
        let mut held = Self { state, store: Some(Arc::clone(&store)), parts: Vec::new() };
        for segment in segments {
            let earliest = segment.about.as_ref().try_into().map(i64::from_le_bytes);
            let earliest = earliest.map_err(|_| Error::internal("a segment says nothing about itself"))?;
            let earliest = if forgets_open { i64::MIN } else { earliest };
            let mut windows = Delta::decode(&store.get(segment).await?)?.windows;
            windows.retain(|(start, _), _| *start >= earliest);
            add(&mut held.state.windows, &windows);
            held.parts.push(Part { segment: segment.clone(), earliest, windows });
        }
        Ok(held)
    }

    /// The same state behind a step, which fetches the segments of windows that have ended by it.
    pub async fn follow(&self, next: State) -> Result<Self> {
        let Some(store) = &self.store else { return Ok(next.into()) };
        for part in &self.parts {
            let ends =
                |place: &&(i64, u64)| self.state.windows.contains_key(place) && !next.windows.contains_key(place);
            if part.windows.keys().any(|place| ends(&place)) {
                let mut windows = Delta::decode(&store.get(&part.segment).await?)?.windows;
                windows.retain(|(start, _), _| *start >= part.earliest);
                if windows != part.windows {
                    return Err(Error::internal("a segment has changed"));
                }
            }
        }
        Ok(Self { state: next, ..self.clone() })
    }

    /// What lies in no segment, and the segments, once `flush` windows in memory have become one.
    pub async fn checkpoint(&self, flush: usize) -> Result<(State, Vec<Segment>, Self)> {
        let mut held = self.clone();
        for part in &mut held.parts {
            let open = |place: &&(i64, u64)| self.state.windows.contains_key(place);
            let earliest = part.windows.keys().filter(open).map(|(start, _)| *start).min();
            part.earliest = earliest.unwrap_or(i64::MAX);
            part.windows.retain(|(start, _), _| *start >= part.earliest);
        }
        held.parts.retain(|part| !part.windows.is_empty());
        let mut rest = self.state.clone();
        for (place, (sum, count)) in held.parts.iter().flat_map(|part| &part.windows) {
            if let Some(entry) = rest.windows.get_mut(place) {
                *entry = (entry.0 - sum, entry.1 - count);
            }
        }
        rest.windows.retain(|_, (_, count)| *count > 0);
        if let Some(store) = &self.store {
            if flush > 0 && rest.windows.len() >= flush {
                held.parts.push(Part::store(&**store, std::mem::take(&mut rest.windows)).await?);
            }
            if held.parts.len() >= WIDTH {
                let mut merged = BTreeMap::new();
                held.parts.iter().for_each(|part| add(&mut merged, &part.windows));
                merged.retain(|place, _| self.state.windows.contains_key(place));
                held.parts = vec![Part::store(&**store, merged).await?];
            }
        }
        let about = |part: &Part| Bytes::copy_from_slice(&part.earliest.to_le_bytes());
        let segments = held.parts.iter().map(|part| Segment { about: about(part), ..part.segment.clone() }).collect();
        Ok((rest, segments, held))
    }
}

impl Part {
    async fn store(store: &dyn Segments, windows: Windows) -> Result<Self> {
        let earliest = windows.keys().map(|(start, _)| *start).min().unwrap_or_default();
        let content = Delta { windows: windows.clone(), ..Delta::default() }.encode();
        Ok(Self { segment: store.put(content, Bytes::new()).await?, earliest, windows })
    }
}
