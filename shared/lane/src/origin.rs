//! How a generation began: behind which positions it reads, and what it does not send.
//!
//! What a repair leaves out: a generation that reads everything again to have the right state, and sends nothing that the
//! generation before it has sent.
//!
//! A lane is silent up to the position that was committed, and for the windows up to the watermark that it had then; the
//! windows of an output over lanes up to the floor that was closed. Batches are cut at these borders, so that a commit is
//! silent as a whole or not at all.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::position::Sequence;
use tidegate_core::{Error, LaneId, Position, Result, Timestamp};
use tidegate_state::{Head, RegistryView};

/// What the opening of a generation says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// By lane.
    lanes: BTreeMap<String, SilentLane>,
    /// By output over lanes: the floor, in microseconds.
    floors: BTreeMap<String, i64>,
    /// By lane: the sequence number behind which it reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    begins: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SilentLane {
    /// By partition: sequence number, and the place in an aggregated record.
    positions: BTreeMap<String, (String, u64)>,
    /// Microseconds.
    watermark: Option<i64>,
}

/// Up to where one partition of a lane is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SilentUntil {
    pub position: Position,
    pub watermark: Option<Timestamp>,
}

impl Origin {
    /// Of a registry's origin.
    ///
    /// # Errors
    /// Internal when it is damaged.
    pub(crate) fn decode(origin: &[u8]) -> Result<Self> {
        if origin.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(origin)
            .map_err(|error| Error::internal("the origin of the generation cannot be read").with_source(error))
    }

    /// For [`tidegate_state::Opening`].
    pub(crate) fn encode(&self) -> Result<Bytes> {
        if *self == Self::default() {
            return Ok(Bytes::new());
        }
        let text = serde_json::to_vec(self);
        text.map(Bytes::from)
            .map_err(|error| Error::internal("the origin of a generation cannot be written").with_source(error))
    }

    /// What the generation after this one has of it: what was sent stays sent; where it reads is said anew.
    pub(crate) fn renewed(&self) -> Self {
        Self { begins: BTreeMap::new(), ..self.clone() }
    }

    /// Says that a lane reads behind `begin`.
    pub(crate) fn begin_behind(&mut self, lane: &LaneId, begin: &Sequence) {
        self.begins.insert(lane.as_str().to_owned(), begin.to_string());
    }

    /// The position behind which a lane reads: the whole of what the source delivers as one record is left out. `None`:
    /// it reads everything.
    pub(crate) fn begin(&self, lane: &LaneId) -> Result<Option<Position>> {
        let Some(begin) = self.begins.get(lane.as_str()) else { return Ok(None) };
        Ok(Some(Position { sequence: begin.parse()?, sub: u64::MAX }))
    }

    /// Adds what a sealed lane of the old generation had committed. What an earlier repair had not reached stays silent.
    ///
    /// A lane that took no record of its own is not silent: its watermark is that of the lanes it continues.
    pub(crate) fn add_lane(&mut self, lane: &LaneId, head: &Head) -> Result<()> {
        if head.positions.is_empty() {
            return Ok(());
        }
        let known = self.lanes.entry(lane.as_str().to_owned()).or_default();
        for (partition, position) in &head.positions {
            let before = known.positions.get(partition).map(parse).transpose()?;
            let position = before.map_or(*position, |before| before.max(*position));
            known.positions.insert(partition.clone(), (position.sequence.to_string(), position.sub));
        }
        known.watermark = known.watermark.max(head.watermark.map(|at| at.0));
        Ok(())
    }

    /// Adds the closed floors of the old generation.
    pub(crate) fn add_floors(&mut self, registry: &RegistryView) {
        for (output, floor) in &registry.floors {
            let known = self.floors.entry(output.clone()).or_insert(floor.0);
            *known = (*known).max(floor.0);
        }
    }

    /// Up to where a lane's partition is silent. `None`: not at all.
    pub(crate) fn until(&self, lane: &LaneId, partition: &str) -> Result<Option<SilentUntil>> {
        let Some(lane) = self.lanes.get(lane.as_str()) else { return Ok(None) };
        let Some(position) = lane.positions.get(partition) else { return Ok(None) };
        Ok(Some(SilentUntil { position: parse(position)?, watermark: lane.watermark.map(Timestamp) }))
    }

    /// Windows of the output that end at or before this were sent.
    pub(crate) fn floor(&self, output: &str) -> Option<Timestamp> {
        self.floors.get(output).copied().map(Timestamp)
    }
}

fn parse((sequence, sub): &(String, u64)) -> Result<Position> {
    Ok(Position { sequence: sequence.parse::<Sequence>()?, sub: *sub })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(position: u64, watermark: Option<i64>) -> Head {
        let positions = [("p".to_owned(), Position::new(position))].into();
        Head { positions, watermark: watermark.map(Timestamp), ..Head::default() }
    }

    #[test]
    fn what_was_sent_once_stays_silent_through_any_number_of_repairs() {
        let lane = LaneId::new("s", "p");
        let mut origin = Origin::default();
        origin.add_lane(&lane, &head(90, Some(700))).unwrap();
        // The second repair begins before the first one has come that far.
        let mut again = Origin::decode(&origin.encode().unwrap()).unwrap();
        assert_eq!(again, origin);
        again.add_lane(&lane, &head(40, None)).unwrap();
        let until = SilentUntil { position: Position::new(90u64), watermark: Some(Timestamp(700)) };
        assert_eq!(again.until(&lane, "p").unwrap(), Some(until));
        again.add_lane(&lane, &head(120, Some(800))).unwrap();
        let until = SilentUntil { position: Position::new(120u64), watermark: Some(Timestamp(800)) };
        assert_eq!(again.until(&lane, "p").unwrap(), Some(until));
        assert_eq!(again.until(&lane, "q").unwrap(), None);
        let born = LaneId::new("s", "q");
        again.add_lane(&born, &Head { watermark: Some(Timestamp(900)), ..Head::default() }).unwrap();
        again
            .add_lane(&born, &Head { positions: [("q".to_owned(), Position::new(3u64))].into(), ..Head::default() })
            .unwrap();
        let until = SilentUntil { position: Position::new(3u64), watermark: None };
        assert_eq!(again.until(&born, "q").unwrap(), Some(until));
        assert_eq!(again.until(&LaneId::new("s", "q"), "p").unwrap(), None);
    }

    #[test]
    fn a_generation_without_origin_is_not_silent() {
        assert_eq!(Origin::decode(b"").unwrap(), Origin::default());
        assert!(Origin::decode(b"{").is_err());
    }
}
