//! Whether a lane is at rest, in two reads.

use tidegate_core::{CommitNumber, Error, LaneId, Result};

use crate::keys;
use crate::load::get;
use crate::pipeline::Pipeline;
use crate::record::manifest::Manifest;
use crate::record::registry::Registered;

impl Pipeline {
    /// The head of a registered lane, if its manifest covers it: nothing is owed then and nothing is to be written.
    /// `None`: there are commits behind the manifest, there is no manifest, or something is odd; a load tells more.
    ///
    /// Two strong reads, whatever the size of the ring. Nothing is checked that only a load needs.
    pub async fn covered_head(&self, lane: &LaneId) -> Result<Option<CommitNumber>> {
        let shared = &self.shared;
        let key = self.lane_key(lane);
        let registered = match shared.known_lane(lane) {
            Some(known) => Some(known),
            None => shared.refresh().await?.registry.lanes.get(lane).copied(),
        };
        let Some(registered) = registered else { return Ok(None) };
        // The manifest comes first: a commit that came between the two reads is found in the slot then.
        let Some(item) = get(shared, keys::manifest(&key)).await? else { return Ok(None) };
        let within = |e| Error::from(e).within(format!("lane {lane}, manifest"));
        let manifest = Manifest::decode(&item.data).map_err(within)?;
        if manifest.incarnation != shared.incarnation || manifest.ring != registered.ring {
            return Ok(None);
        }
        let next = manifest.n + 1;
        let slot = get(shared, keys::slot(&key, (next % u64::from(registered.ring)) as u16)).await?;
        let at_rest = slot.map(|slot| slot.version) == before(next, registered);
        Ok(at_rest.then_some(manifest.n))
    }
}

/// The commit that lies in the slot of `next` as long as `next` is not committed.
fn before(next: CommitNumber, lane: Registered) -> Option<CommitNumber> {
    next.checked_sub(u64::from(lane.ring)).filter(|before| *before >= lane.first)
}
