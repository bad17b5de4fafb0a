//! The upload of one file to a bucket, which is tried again until it is given up.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt as _};
use tracing::warn;

use super::store_error::sentence;
use super::upload_deadline::UploadDeadline;

/// The time between two attempts, each with the retries of the bucket.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(5);

/// How long after its first attempt an upload is tried again.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most bytes of a request. One request is in memory at a time. S3 demands 5 MiB of each but the last.
const PIECE_BYTES: u64 = 8 << 20;

/// How long the store may take to drop the pieces of an upload that is given up.
const ABORT_TIME: Duration = Duration::from_secs(5);

/// A file on its way to a bucket, where it appears whole or not at all.
pub(super) struct FileUpload<'a> {
    store: &'a dyn ObjectStore,
    /// What the bucket is called in messages.
    bucket: &'a str,
    location: Path,
    file: &'a mut File,
    /// Whether there was no object of this name before the first attempt.
    is_free: bool,
    /// The upload in pieces that has begun and not ended.
    pieces: Option<Box<dyn MultipartUpload>>,
    /// Why the last attempt failed.
    error: Option<String>,
    interval: Duration,
    patience: Duration,
}

/// An attempt that failed.
struct FailedAttempt {
    why: String,
    /// Whether another attempt would fail as well.
    is_final: bool,
}

impl<'a> FileUpload<'a> {
    /// The upload of a file to a store that has this name in messages.
    pub(super) fn new(
        (store, bucket): (&'a dyn ObjectStore, &'a str),
        location: Path,
        file: &'a mut File,
    ) -> Self {
        Self {
            store,
            bucket,
            location,
            file,
            is_free: false,
            pieces: None,
            error: None,
            interval: ATTEMPT_INTERVAL,
            patience: PATIENCE,
        }
    }

    /// Uploads the file, unless the deadline passes first.
    ///
    /// # Errors
    /// Why the bucket does not have it, in a clause.
    pub(super) async fn run(mut self, deadline: &UploadDeadline) -> Result<(), String> {
        let ended = tokio::select! {
            // After the deadline, nothing is sent any more.
            biased;
            () = deadline.passed() => None,
            outcome = self.attempts() => Some(outcome),
        };
        self.abort().await;
        ended
            .unwrap_or_else(|| Err(self.error.unwrap_or_else(|| "the upload did not end in time".to_owned())))
    }

    async fn attempts(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let Err(FailedAttempt { why, is_final }) = self.attempt().await else { return Ok(()) };
            if is_final || began.elapsed() >= self.patience {
                return Err(why);
            }
            warn!(error = why, file = %self.location, "a file was not uploaded; it is tried again");
            self.error = Some(why);
            self.abort().await;
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn attempt(&mut self) -> Result<(), FailedAttempt> {
        self.require_free().await?;
        self.file.rewind().map_err(unreadable)?;
        let piece = next_piece(self.file)?;
        if (piece.len() as u64) < PIECE_BYTES {
            let put = self.store.put(&self.location, piece.into()).await;
            return put.map(drop).map_err(|error| failed(&error, self.bucket));
        }
        self.put_pieces(piece).await
    }

    /// Refuses a name that another run has taken. An object that appears after the first attempt is from that attempt,
    /// whose answer was lost.
    async fn require_free(&mut self) -> Result<(), FailedAttempt> {
        if self.is_free {
            return Ok(());
        }
        match self.store.head(&self.location).await {
            Err(Error::NotFound { .. }) => self.is_free = true,
            Err(error) => return Err(failed(&error, self.bucket)),
            Ok(_) => {
                let why = "another run has written a file of this name".to_owned();
                return Err(FailedAttempt { why, is_final: true });
            }
        }
        Ok(())
    }

    /// Uploads a file of several pieces. They become an object together.
    async fn put_pieces(&mut self, mut piece: Vec<u8>) -> Result<(), FailedAttempt> {
        let bucket = self.bucket;
        let begun = self.store.put_multipart(&self.location).await;
        let pieces = self.pieces.insert(begun.map_err(|error| failed(&error, bucket))?);
        while !piece.is_empty() {
            pieces.put_part(piece.into()).await.map_err(|error| failed(&error, bucket))?;
            piece = next_piece(self.file)?;
        }
        pieces.complete().await.map_err(|error| failed(&error, bucket))?;
        self.pieces = None;
        Ok(())
    }

    /// Drops the pieces of an upload that has not ended. Those that stay have no name in the bucket.
    async fn abort(&mut self) {
        if let Some(mut pieces) = self.pieces.take() {
            let _ = tokio::time::timeout(ABORT_TIME, pieces.abort()).await;
        }
    }
}

/// The next bytes of a file; none at its end.
fn next_piece(file: &mut File) -> Result<Vec<u8>, FailedAttempt> {
    let mut piece = Vec::new();
    file.take(PIECE_BYTES).read_to_end(&mut piece).map_err(unreadable)?;
    Ok(piece)
}

fn failed(error: &Error, bucket: &str) -> FailedAttempt {
    FailedAttempt { why: sentence(error, bucket), is_final: false }
}

fn unreadable(error: io::Error) -> FailedAttempt {
    FailedAttempt { why: format!("the temporary file cannot be read: {error}"), is_final: true }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use object_store::RetryConfig;
    use object_store::aws::AmazonS3Builder;
    use object_store::memory::InMemory;

    use super::*;
    use crate::client::tls;
    use crate::testing::scripted_server::{Script, ScriptedServer, serve};

    const ABSENT: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    const DENIED: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    const STORED: &str = "HTTP/1.1 200 OK\r\netag: \"a\"\r\ncontent-length: 0\r\n\r\n";

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// Uploads bytes as `a/part`, with short pauses. Without patience, there is one attempt.
    fn upload(
        store: &dyn ObjectStore,
        bytes: &[u8],
        patience: Duration,
        deadline: &UploadDeadline,
    ) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut file = file(bytes);
        let upload = FileUpload {
            interval: Duration::from_millis(1),
            patience,
            ..FileUpload::new((store, "memory"), Path::from("a/part"), &mut file)
        };
        runtime.block_on(upload.run(deadline))
    }

    fn stored(store: &InMemory) -> Option<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let got = runtime.block_on(async { store.get(&Path::from("a/part")).await?.bytes().await });
        got.ok().map(Into::into)
    }

    fn s3(server: &ScriptedServer) -> impl ObjectStore + use<> {
        tls::install_provider();
        AmazonS3Builder::new()
            .with_endpoint(server.target().base_url)
            .with_allow_http(true)
            .with_bucket_name("bucket")
            .with_access_key_id("key")
            .with_secret_access_key("sesame")
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .build()
            .unwrap()
    }

    /// The methods of the requests that a server received.
    fn methods(server: &ScriptedServer) -> Vec<String> {
        let requests = server.requests();
        requests.iter().map(|request| request.split(' ').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_file_of_any_length_becomes_one_object() {
        let piece = usize::try_from(PIECE_BYTES).unwrap();
        for length in [0, 3, piece - 1, piece, 2 * piece, 2 * piece + 5] {
            let store = InMemory::new();
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            upload(&store, &bytes, Duration::ZERO, &UploadDeadline::default()).unwrap();
            assert!(stored(&store).unwrap() == bytes, "{length} bytes");
        }
    }

    #[test]
    fn an_object_of_another_run_is_not_replaced() {
        let store = InMemory::new();
        upload(&store, b"first", Duration::MAX, &UploadDeadline::default()).unwrap();
        let error = upload(&store, b"second", Duration::MAX, &UploadDeadline::default()).unwrap_err();
        assert!(error.contains("another run"), "{error}");
        assert_eq!(stored(&store).unwrap(), b"first");
    }

    #[test]
    fn an_upload_that_fails_is_tried_again() {
        let answers = [DENIED, ABSENT, DENIED, STORED].map(str::to_owned);
        let server = serve(vec![Script::Answers(answers.to_vec())]);
        upload(&s3(&server), b"rows", Duration::MAX, &UploadDeadline::default()).unwrap();
        assert_eq!(methods(&server), ["HEAD", "HEAD", "PUT", "PUT"], "the name is checked until it is free");
    }

    #[test]
    fn an_upload_that_fails_for_long_is_given_up_with_its_reason() {
        let answers = [ABSENT, DENIED].map(str::to_owned);
        let server = serve(vec![Script::Answers(answers.to_vec())]);
        let error = upload(&s3(&server), b"rows", Duration::ZERO, &UploadDeadline::default()).unwrap_err();
        assert!(error.contains("access to `memory` is denied") && !error.contains("sesame"), "{error}");
        assert_eq!(methods(&server), ["HEAD", "PUT"]);
    }

    #[test]
    fn nothing_is_sent_after_the_deadline() {
        let store = InMemory::new();
        let deadline = UploadDeadline::default();
        deadline.set_after(Duration::ZERO);
        let error = upload(&store, b"late", Duration::MAX, &deadline).unwrap_err();
        assert!(error.contains("did not end in time"), "{error}");
        assert_eq!(stored(&store), None);
    }

    #[test]
    fn the_deadline_ends_an_upload_that_has_no_answer() {
        let server = serve(vec![Script::Answers(vec![ABSENT.to_owned()]), Script::Open(String::new())]);
        let deadline = UploadDeadline::default();
        let late = deadline.clone();
        let (store, bytes) = (s3(&server), b"rows");
        std::thread::scope(|scope| {
            let uploaded = scope.spawn(|| upload(&store, bytes, Duration::MAX, &deadline));
            while !methods(&server).contains(&"PUT".to_owned()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            late.set_after(Duration::ZERO);
            assert!(uploaded.join().unwrap().unwrap_err().contains("did not end in time"));
        });
    }
}
