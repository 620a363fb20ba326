//! The marker that an environment leaves before it works on a lane for the first time, so that the next one knows if it
//! was killed by what it took.

use tidegate_core::{Error, LaneId, Result};

use crate::keys;
use crate::load::get;
use crate::pipeline::Pipeline;
use crate::ports::{Condition, Item, StoreError};
use crate::record::tries::Tries;
use crate::retry;

impl Pipeline {
    /// What the environment before this one was about to do with a lane. `None`: it has left nothing.
    pub async fn tries(&self, lane: &LaneId) -> Result<Option<Tries>> {
        Ok(self.stored_tries(lane).await?.map(|(tries, _)| tries))
    }

    /// Leaves word of what is begun now. Where another environment leaves word at the same time, one of the two stays:
    /// both work on the lane, and neither was killed by it yet.
    pub async fn set_tries(&self, lane: &LaneId, tries: Tries) -> Result<()> {
        let shared = &self.shared;
        let key = keys::tries(&self.lane_key(lane));
        let version = self.stored_tries(lane).await?.map(|(_, version)| version);
        let condition = version.map_or(Condition::Absent, Condition::Version);
        let version = version.unwrap_or_default() + 1;
        let item = Item { version, attempt: shared.ports.random.next_u128(), data: tries.encode()? };
        let put = retry::read(&shared.ports, || shared.ports.store.put_if(&key, item.clone(), condition)).await;
        match put {
            Ok(_) | Err(StoreError::Unknown(_)) => Ok(()),
            Err(error) => Err(Error::from(error).within(format!("lane {lane}, marker"))),
        }
    }

    async fn stored_tries(&self, lane: &LaneId) -> Result<Option<(Tries, u64)>> {
        let Some(item) = get(&self.shared, keys::tries(&self.lane_key(lane))).await? else { return Ok(None) };
        let tries = Tries::decode(&item.data);
        let tries = tries.map_err(|error| Error::from(error).within(format!("lane {lane}, marker")))?;
        Ok(Some((tries, item.version)))
    }
}
