//! Windows over several lanes: watermarks that move without records, closing over all lanes, and state that moves
//! between lanes.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use bytes::Bytes;
use tidegate_core::{Error, HashRange, Result, Timestamp};

use crate::api::{CloseStep, Closing, LaneState, OutputCounts, OutputRows, StateLayout, Step};
use crate::engine::{Engine, Query, later};
use crate::run::finish_now;
use crate::run::window::WindowQuery;
use crate::state::decode_sealed;

impl Engine {
    /// Sets the watermark that a lane begins with: rows of windows that end at or before `at` are late for it. It
    /// never goes back. Does nothing where the source has no watermark.
    pub fn seed_watermark(&self, state: &mut LaneState, at: Timestamp) {
        if self.sources.get(&*state.source).is_some_and(|plan| plan.watermark.is_some()) {
            state.watermark = later(state.watermark, Some(at));
        }
    }

    /// A step without records that raises the watermark to `to`, closing or sealing what has ended by then.
    ///
    /// The watermark never goes back. With a smaller `to` the step changes nothing, unless the state holds windows
    /// that have ended already (see [`Engine::split_state`]): they are closed or sealed.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub async fn advance(&self, source: &str, state: &LaneState, to: Timestamp, now: Timestamp) -> Result<Step> {
        let plan = self.source(source, state)?;
        let _turn = self.turn.lock().await;
        self.clock.set(now.0);
        let mut step = self.empty_step(state);
        self.seed_watermark(&mut step.next, to);
        self.close_ended(plan, vec![None; plan.windows.len()], state.watermark, &mut step).await?;
        Ok(step)
    }

    /// Closes the windows of an output over all lanes that end behind `floor` and at or before `to`.
    ///
    /// `seals` are the rows of [`crate::SealedRows`] of all lanes, at least those that hold such windows, each once, in
    /// any order: the result does not depend on it. Rows of other windows are passed over, so a seal may be given
    /// again to a later close. `now` is what `now()` answers.
    ///
    /// # Errors
    /// An output that is not closed over lanes. Rows of another query, of another format, or damaged ones. A plan
    /// that fails for no group's fault.
    pub async fn close(
        &self,
        output: usize,
        seals: &[Bytes],
        floor: Option<Timestamp>,
        to: Timestamp,
        now: Timestamp,
    ) -> Result<CloseStep> {
        let query = self.closed_over_lanes(output)?;
        let _turn = self.turn.lock().await;
        self.clock.set(now.0);
        // Some aggregates depend on the order of their input. Any order will do, if it is always the same.
        let mut seals: Vec<&Bytes> = seals.iter().collect();
        seals.sort_unstable();
        let schemas = query.state_schemas();
        let mut ended = Vec::with_capacity(seals.len());
        for bytes in seals {
            let rows = decode_sealed(bytes, &query.layout.hash, &schemas)
                .map_err(|e| e.within(format!("output '{}'", self.outputs[output].name)))?;
            ended.extend(query.window.between(rows, floor.map(|at| at.0), to.0)?);
        }
        let mut step = CloseStep { results: Vec::new(), rejected: Vec::new(), counts: OutputCounts::default() };
        if ended.is_empty() {
            return Ok(step);
        }
        step.counts.windows_closed = query.starts(&ended).len() as u64;
        let batch = query.close(&self.runner, output, ended, &mut step.rejected).await?;
        step.rejected.sort_by(|a, b| a.group.cmp(&b.group));
        step.counts.rows_out = batch.num_rows() as u64;
        if batch.num_rows() > 0 {
            step.results.push(OutputRows { output, late: false, batch });
        }
        Ok(step)
    }

    /// The layout of an output's sealed rows; `None` for an output that is not closed over lanes. [`Engine::close`]
    /// refuses rows of another layout.
    pub fn seal_layout(&self, output: usize) -> Option<StateLayout> {
        self.closed_over_lanes(output).ok().map(|query| query.layout.clone())
    }

    /// The states that lanes begin with when they take the place of `parents`: one for each of `children`, which are the
    /// hashes whose records it takes, where that is known. One child merges them.
    ///
    /// Groups of open windows that lanes close by themselves go to the child that takes the hash of their rows
    /// ([`Engine::process_hashed`]). All others go to the first child, in the order of the parents. Every child has the largest watermark of the
    /// parents, so windows of a parent that was behind may have ended: the first child's next step closes or seals
    /// them, [`Engine::advance`] with any time does, too. Without parents the states are new ones.
    ///
    /// # Errors
    /// State of another source, or no children. Invalid where a group belongs to no child, or to one that is not known.
    /// Conflict when a segment is gone.
    pub async fn split_state(
        &self,
        source: &str,
        parents: &[LaneState],
        children: &[Option<HashRange>],
    ) -> Result<Vec<LaneState>> {
        let mut first = self.new_state(source);
        let plan = self.source(source, &first)?;
        if children.is_empty() {
            return Err(Error::internal(format!("source '{source}': state cannot be split among no lanes")));
        }
        for parent in parents {
            self.source(source, parent)?;
            let parent = self.loaded(parent).await?;
            first.watermark = later(first.watermark, parent.watermark);
            first.newest = later(first.newest, parent.newest);
            for (operator, parent) in first.operators.iter_mut().zip(&parent.operators) {
                operator.parts.extend(parent.parts.iter().cloned());
            }
        }
        for (&output, operator) in plan.windows.iter().zip(&mut first.operators) {
            finish_now(self.window(output).merge_if_due(&self.runner, operator))?;
        }
        let (watermark, newest) = (first.watermark, first.newest);
        let others = std::iter::repeat_with(|| LaneState { watermark, newest, ..self.new_state(source) });
        let mut states: Vec<LaneState> = std::iter::once(first).chain(others).take(children.len()).collect();
        if children.len() > 1 {
            for (place, &output) in plan.windows.iter().enumerate() {
                self.divide_groups(output, place, &mut states, children)?;
            }
        }
        Ok(states)
    }

    /// Moves the groups of an output from the first state to those that take their rows, where lanes close its windows.
    fn divide_groups(
        &self,
        output: usize,
        place: usize,
        states: &mut [LaneState],
        children: &[Option<HashRange>],
    ) -> Result<()> {
        let query = self.window(output);
        let parts = std::mem::take(&mut states[0].operators[place].parts);
        if query.closing == Closing::OverLanes || parts.is_empty() {
            states[0].operators[place].parts = parts;
            return Ok(());
        }
        let parts = parts.into_iter().map(|part| part.rows).collect();
        let rows = finish_now(query.merged(&self.runner, parts))?;
        let plan = &self.outputs[output];
        let owners = query.owners(&rows, children).map_err(|homeless| homeless.error(plan, rows.num_rows()))?;
        for (child, state) in states.iter_mut().enumerate() {
            let chosen: BooleanArray = owners.iter().map(|owner| Some(*owner == child)).collect();
            let mine = filter_record_batch(&rows, &chosen);
            let mine = mine.map_err(|e| Error::internal("state rows cannot be divided").with_source(e))?;
            state.operators[place].push(mine, query.window);
        }
        Ok(())
    }

    fn closed_over_lanes(&self, output: usize) -> Result<&WindowQuery> {
        match self.queries.get(output) {
            Some(Query::Window(query)) if query.closing == Closing::OverLanes => Ok(query),
            Some(_) => {
                let name = &self.outputs[output].name;
                Err(Error::internal(format!("output '{name}' is not closed over lanes")))
            }
            None => Err(Error::internal(format!("there is no output {output} in the plan"))),
        }
    }
}
