//! Places that keep the files of runs: a folder, or a bucket of an object store.

#[cfg(feature = "object-store")]
mod bucket;
mod part_store;

pub(crate) use part_store::PartStore;
