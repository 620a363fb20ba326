//! The simulated store of objects.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_state::{BlobStore, StoreError};

use crate::environment;
use crate::fault::{Fault, Site};
use crate::world::{Cell, SECOND, Shared, World};

/// The objects that are stored.
#[derive(Default)]
pub struct Objects(BTreeMap<String, Bytes>);

impl Objects {
    /// An object.
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.0.get(key)
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Names, in order.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

type Got = Result<Option<Bytes>, StoreError>;

impl World {
    fn send_object(&mut self, environment: usize, key: String, data: Bytes) -> Cell<Result<(), StoreError>> {
        let cell = Cell::default();
        let answer = cell.clone();
        let (mut there, back) = (self.latency(environment), self.latency(environment));
        let struck = self.strike(environment, Site::BlobPut);
        let unknown = || StoreError::Unknown("no answer in time".into());
        let lost = match struck {
            Some((Fault::BlobPutLost, mut draw)) => {
                self.later(draw.within(SECOND, 5 * SECOND), move |_| answer.fill(Err(unknown())));
                return cell;
            }
            Some((Fault::BlobPutAnswerLost, _)) => true,
            Some((_, mut draw)) => {
                there += draw.spread(10_000, 20 * SECOND);
                false
            }
            None => false,
        };
        self.later(there, move |world| {
            world.note(21, || format!("  objects: env {environment} wrote {} bytes", data.len()));
            world.objects.0.entry(key).or_insert(data);
            world.later(back, move |_| answer.fill(if lost { Err(unknown()) } else { Ok(()) }));
        });
        cell
    }

    fn read_object(&mut self, environment: usize, key: String) -> Cell<Got> {
        let cell = Cell::default();
        let answer = cell.clone();
        // The end of a window reads the segments that hold it.
        self.environments[environment].reads += u64::from(!key.contains("/segment/"));
        let (there, back) = (self.latency(environment), self.latency(environment));
        let struck = self.strike(environment, Site::BlobGet).map(|(fault, _)| fault);
        self.later(there, move |world| {
            let found = world.objects.get(&key).cloned();
            let got = match (struck, found) {
                (Some(Fault::BlobGetMissing), _) => Ok(None),
                (Some(Fault::BlobGetTimedOut), _) => Err(StoreError::Unknown("no answer in time".into())),
                (Some(Fault::BlobGetTruncated), Some(found)) => Ok(Some(found.slice(..found.len() / 2))),
                (Some(_), Some(found)) => {
                    let mut bytes = found.to_vec();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x40;
                    Ok(Some(bytes.into()))
                }
                (_, found) => Ok(found),
            };
            world.later(back, move |_| answer.fill(got));
        });
        cell
    }
}

/// The objects as one environment sees them.
pub struct BlobPort {
    /// The world.
    pub world: Shared,
    /// Whose requests these are.
    pub environment: usize,
}

#[async_trait]
impl BlobStore for BlobPort {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        environment::struck(&self.world, self.environment).await;
        let cell = self.world.lock().send_object(self.environment, key.to_owned(), data);
        cell.await
    }

    async fn get(&self, key: &str) -> Got {
        environment::struck(&self.world, self.environment).await;
        let cell = self.world.lock().read_object(self.environment, key.to_owned());
        cell.await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let below = format!("{prefix}/");
        let world = self.world.lock();
        let names = world.objects.names().filter(|name| name.starts_with(&below)).cloned().collect();
        Ok(crate::plant::listed(&world, names))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let mut world = self.world.lock();
        world.note(22, || format!("  objects: env {} removes {key}", self.environment));
        world.check.path(crate::paths::Path::ObjectRemoved);
        world.objects.remove(key);
        Ok(())
    }
}
