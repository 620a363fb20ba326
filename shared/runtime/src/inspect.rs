//! What is kept of a pipeline: lanes, positions, watermarks, open windows, what is owed. Reads only.

use std::fmt;

use serde::Serialize;
use tidegate_core::Result;
use tidegate_engine::StoredState;
use tidegate_state::{self as state, LoadRules, StateOptions};

use crate::pipeline::PlannedPipeline;

/// What `tidegate inspect` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its incarnation.
    pub incarnation: String,
    /// Its generation.
    pub generation: u32,
    /// Its lanes.
    pub lanes: Vec<LaneInspection>,
}

/// A lane.
#[derive(Clone, Debug, Serialize)]
pub struct LaneInspection {
    /// Its id.
    pub lane: String,
    /// The number of its last commit.
    pub commit: u64,
    /// The commit up to which its manifest covers.
    pub manifest: u64,
    /// Committed position per source partition.
    pub positions: Vec<(String, String)>,
    /// Its watermark.
    pub watermark: Option<String>,
    /// Whether its last commit is known to be settled. A warm environment may know more.
    pub settled: bool,
    /// What its last commit owed.
    pub outbox: OutboxInspection,
    /// Windows that wait for the watermark.
    pub open_windows: Vec<WindowInspection>,
    /// Bytes of snapshot and segments, and of the changes since.
    pub state_bytes: u64,
    /// Objects that the larger part of a large state lies in.
    pub segments: usize,
}

/// An outbox.
#[derive(Clone, Debug, Serialize)]
pub struct OutboxInspection {
    /// Requests.
    pub requests: usize,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Names of the targets.
    pub targets: Vec<String>,
}

/// Open windows of an output.
#[derive(Clone, Debug, Serialize)]
pub struct WindowInspection {
    /// The output.
    pub output: String,
    /// Windows.
    pub windows: u64,
    /// Groups in them.
    pub groups: u64,
    /// Whether windows and groups are upper bounds: a group may stand in several segments, and these are not fetched.
    pub at_most: bool,
    /// Start of the earliest.
    pub earliest: Option<String>,
    /// Start of the latest.
    pub latest: Option<String>,
}

/// Looks at the state of `pipeline`. `None`: there is none yet.
pub async fn inspect(pipeline: &PlannedPipeline, ports: state::Ports) -> Result<Option<Inspection>> {
    let name = &pipeline.file.name;
    let Some(store) = state::Pipeline::open_existing(ports, name, StateOptions::default()).await? else {
        return Ok(None);
    };
    let mut lanes = Vec::new();
    for report in store.inspect().await? {
        let loaded = store.load(&report.lane, LoadRules::default()).await?;
        let source = report.lane.source();
        let readable = !report.lane.is_close()
            && pipeline.source(source).is_some()
            && pipeline.layout(source).hash == loaded.lane.head().fingerprint;
        let open_windows = if readable { open_windows(pipeline, source, &loaded).await? } else { Vec::new() };
        let mut targets: Vec<String> = report.head.outbox.iter().map(|entry| entry.target.clone()).collect();
        targets.sort();
        targets.dedup();
        lanes.push(LaneInspection {
            lane: report.lane.to_string(),
            commit: report.head.n,
            manifest: report.manifest_n,
            positions: report.head.positions.iter().map(|(name, at)| (name.clone(), at.to_string())).collect(),
            watermark: report.head.watermark.map(|watermark| watermark.to_string()),
            settled: report.head.settled,
            outbox: OutboxInspection {
                requests: report.head.outbox.len(),
                rows: report.head.outbox.iter().map(|entry| u64::from(entry.rows)).sum(),
                bytes: report.outbox_bytes,
                targets,
            },
            open_windows,
            state_bytes: report.snapshot_bytes + report.segment_bytes + report.delta_bytes,
            segments: report.segments,
        });
    }
    Ok(Some(Inspection {
        pipeline: name.clone(),
        incarnation: store.incarnation().to_string(),
        generation: store.generation().0,
        lanes,
    }))
}

async fn open_windows(
    pipeline: &PlannedPipeline,
    source: &str,
    loaded: &state::Loaded,
) -> Result<Vec<WindowInspection>> {
    let deltas: Vec<_> = loaded.deltas.iter().filter(|delta| !delta.is_empty()).cloned().collect();
    let stored = StoredState { segments: &loaded.segments, store: loaded.lane.segments() };
    let restored = pipeline.engine.restore_stored(source, loaded.snapshot.as_deref(), stored, &deltas).await?;
    let open = pipeline.engine.open_windows(&restored).await?.into_iter().map(|open| WindowInspection {
        output: pipeline.outputs[open.output].name.clone(),
        windows: open.windows,
        groups: open.groups,
        at_most: open.at_most,
        earliest: open.earliest.map(|start| start.to_string()),
        latest: open.latest.map(|start| start.to_string()),
    });
    Ok(open.collect())
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pipeline {}, incarnation {}, generation {}", self.pipeline, self.incarnation, self.generation)?;
        for lane in &self.lanes {
            writeln!(f, "\nlane {}", lane.lane)?;
            writeln!(
                f,
                "  commit     {} (manifest {}), {} bytes of state{}",
                lane.commit,
                lane.manifest,
                lane.state_bytes,
                if lane.segments > 0 { format!(" in {} segments", lane.segments) } else { String::new() }
            )?;
            for (partition, position) in &lane.positions {
                writeln!(f, "  position   {partition}: {position}")?;
            }
            writeln!(f, "  watermark  {}", lane.watermark.as_deref().unwrap_or("none"))?;
            for open in &lane.open_windows {
                writeln!(
                    f,
                    "  open       {}: {}{} windows, {} groups, {} to {}",
                    open.output,
                    if open.at_most { "at most " } else { "" },
                    open.windows,
                    open.groups,
                    open.earliest.as_deref().unwrap_or("-"),
                    open.latest.as_deref().unwrap_or("-")
                )?;
            }
            let state = if lane.settled { "settled" } else { "not known to be settled" };
            writeln!(
                f,
                "  outbox     {state}: {} requests, {} rows, {} bytes{}{}",
                lane.outbox.requests,
                lane.outbox.rows,
                lane.outbox.bytes,
                if lane.outbox.targets.is_empty() { "" } else { " to " },
                lane.outbox.targets.join(", ")
            )?;
        }
        Ok(())
    }
}
