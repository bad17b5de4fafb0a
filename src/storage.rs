//! Places that keep the files of runs: a folder, or a bucket of an object store.

#[cfg(feature = "object-store")]
mod bucket;
#[cfg(feature = "object-store")]
mod file_upload;
mod part_store;
#[cfg(feature = "object-store")]
mod store_error;
mod unfinished_part;
mod upload_deadline;

pub(crate) use part_store::PartStore;
pub(crate) use unfinished_part::UnfinishedPart;
pub(crate) use upload_deadline::UploadDeadline;
