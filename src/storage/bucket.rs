//! A bucket of an object store: S3, Google Cloud Storage or Azure Blob Storage.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig};
use reqwest::Url;
use tokio::runtime::Runtime;

use super::file_upload::FileUpload;
use super::store_error::sentence;
use super::upload_deadline::UploadDeadline;
use crate::client::tls;
use crate::model::secrets;

/// How long a request is retried. A part that was not written is written with the next one.
const RETRY_TIME: Duration = Duration::from_secs(20);

/// The most retries of a request.
const RETRIES: usize = 3;

/// A bucket, and the prefix of the names in it.
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What the bucket is called in messages.
    name: String,
    runtime: Runtime,
}

impl Bucket {
    /// The bucket of a URL, with the credentials and settings of the usual environment variables.
    pub(super) fn open(url: &Url) -> Result<Self, String> {
        // Messages of servers may quote them.
        let secret_variables = std::env::vars().filter(|(name, _)| secrets::is_secret_key(name));
        secret_variables.for_each(|(_, value)| secrets::remember(&value));
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials belong into environment variables, not into the URL".to_owned());
        }
        tls::install_provider();
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIME, ..RetryConfig::default() };
        let text = url.as_str();
        let store: Result<Arc<dyn ObjectStore>, Error> = match url.scheme() {
            "s3" => AmazonS3Builder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            _ => MicrosoftAzureBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
        };
        let name = url.host_str().unwrap_or_default();
        let store = store.map_err(|error| sentence(&error, name))?;
        let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
        Self::new(store, prefix, name)
    }

    /// A bucket in memory.
    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()), Path::from("a/b"), "memory").unwrap()
    }

    fn new(store: Arc<dyn ObjectStore>, prefix: Path, name: &str) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        Ok(Self { store, prefix, name: name.to_owned(), runtime })
    }

    fn place(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn wait<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
        self.runtime.block_on(request).map_err(|error| sentence(&error, &self.name))
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), String> {
        let place = self.place(name);
        self.wait(self.store.put(&place, bytes.into())).map(drop)
    }

    /// Uploads a file, and tries that again until the deadline.
    pub(super) fn upload(
        &self,
        name: &str,
        file: &mut File,
        deadline: &UploadDeadline,
    ) -> Result<(), String> {
        let upload = FileUpload::new((&*self.store, &self.name), self.place(name), file);
        self.runtime.block_on(upload.run(deadline))
    }

    /// Checks that an object of this name can be written, without writing it.
    pub(super) fn check_writable(&self, name: &str) -> Result<(), String> {
        let place = self.place(name);
        self.wait(async {
            let mut upload = self.store.put_multipart(&place).await?;
            let written = upload.put_part(PutPayload::from_static(b"probe")).await;
            // Without its end, the upload is no object, so that it does no harm if it stays.
            let _ = upload.abort().await;
            written
        })
    }

    /// The names directly below the prefix.
    pub(super) fn file_names(&self) -> Result<Vec<String>, String> {
        let listed = self.wait(self.store.list_with_delimiter(Some(&self.prefix)))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        let objects = self.store.list(Some(&self.prefix)).try_collect::<Vec<_>>();
        let relative = |location: &Path| {
            let parts = location.prefix_match(&self.prefix)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        };
        Ok(self.wait(objects)?.iter().filter_map(|object| relative(&object.location)).collect())
    }

    pub(super) fn append_to(&self, name: &str, to: &mut File) -> Result<(), String> {
        let place = self.place(name);
        let mut chunks = self.wait(self.store.get(&place))?.into_stream();
        while let Some(chunk) = self.wait(chunks.try_next())? {
            to.write_all(&chunk).map_err(|error| format!("cannot write {name}: {error}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn what_is_put_is_listed_below_the_prefix_and_read_back() {
        let bucket = Bucket::in_memory();
        bucket.put("run/shard-000/part-00001.reclog", b"one ".to_vec()).unwrap();
        bucket.put("run/shard-000/part-00002.reclog", b"two".to_vec()).unwrap();
        assert_eq!(bucket.list().unwrap().len(), 2);
        let mut file = tempfile::tempfile().unwrap();
        for name in ["run/shard-000/part-00001.reclog", "run/shard-000/part-00002.reclog"] {
            assert!(bucket.list().unwrap().iter().any(|listed| listed == name));
            bucket.append_to(name, &mut file).unwrap();
        }
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        assert!(
            bucket
                .append_to("run/none", &mut file)
                .unwrap_err()
                .contains("no bucket `memory`, or no such object")
        );
    }

    #[test]
    fn a_check_writes_nothing_and_only_names_directly_below_the_prefix_are_files() {
        let bucket = Bucket::in_memory();
        bucket.check_writable("part").unwrap();
        assert!(bucket.list().unwrap().is_empty());
        for name in ["part", "run/part"] {
            bucket.put(name, b"rows".to_vec()).unwrap();
        }
        assert_eq!(bucket.file_names().unwrap(), ["part"]);
    }

    #[test]
    fn credentials_in_the_url_are_refused() {
        let url = Url::parse("s3://key:sesame@bucket/a").unwrap();
        let error = Bucket::open(&url).err().unwrap();
        assert!(error.contains("environment variables") && !error.contains("sesame"), "{error}");
    }
}
