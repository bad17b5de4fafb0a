//! Parsers of the `random-mm` flags' values, in vLLM's notation.

use std::collections::BTreeMap;

use crate::model::run_spec::MediaBucket;

/// The most images and videos in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MediaLimits {
    pub image: u32,
    pub video: u32,
}

/// Sizes of images and their shares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MediaBuckets(pub Vec<MediaBucket>);

/// Reads `{"image": 3, "video": 0}`. A kind that is not named is not allowed.
pub(crate) fn media_limits(text: &str) -> Result<MediaLimits, String> {
    let limits: BTreeMap<String, u32> =
        serde_json::from_str(text).map_err(|_| "write it as {\"image\": 3, \"video\": 0}".to_owned())?;
    match limits.keys().find(|name| !["image", "video"].contains(&name.as_str())) {
        Some(other) => Err(format!("`{other}` is neither image nor video")),
        None => {
            let of = |name| limits.get(name).copied().unwrap_or(0);
            Ok(MediaLimits { image: of("image"), video: of("video") })
        }
    }
}

/// Reads Python's `{(256, 256, 1): 0.5, (720, 1280, 1): 0.5}`: height, width, frames and share. Keys may be quoted.
pub(crate) fn media_buckets(text: &str) -> Result<MediaBuckets, String> {
    let wrong = || "write it as {(HEIGHT, WIDTH, 1): SHARE, …}".to_owned();
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(wrong)?;
    let entries =
        inner.split('(').map(str::trim).skip_while(|part| part.trim_matches(['"', '\'']).is_empty());
    let buckets: Vec<MediaBucket> = entries.map(bucket).collect::<Option<_>>().ok_or_else(wrong)?;
    if buckets.is_empty() {
        return Err(wrong());
    }
    match buckets.iter().find(|bucket| !(bucket.weight >= 0.0 && bucket.weight.is_finite())) {
        Some(bucket) => Err(format!("a share is 0 or more, not {}", bucket.weight)),
        None => Ok(MediaBuckets(buckets)),
    }
}

/// Reads one entry, such as `256, 256, 1): 0.5,`; a quote that opens the next key may follow.
fn bucket(entry: &str) -> Option<MediaBucket> {
    let (size, share) = entry.split_once(')')?;
    let mut numbers = size.split(',').map(|number| number.trim().parse().ok());
    let (height, width, frames) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let share = share.trim().trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?;
    let weight =
        share.trim().trim_end_matches(['"', '\'']).trim().trim_end_matches(',').trim().parse().ok()?;
    (numbers.next().is_none() && frames > 0).then_some(MediaBucket { height, width, frames, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_written_as_in_python() {
        let bucket = |height, width, frames, weight| MediaBucket { height, width, frames, weight };
        for text in [
            "{(256, 256, 1): 0.5, (720, 1280, 16): 0}",
            "{(256,256,1):0.5,(720,1280,16):0.0}",
            r#"{"(256, 256, 1)": 0.5, "(720, 1280, 16)": 0.0}"#,
            " { '(256,256,1)' : 5e-1 , '(720,1280,16)' : 0 , } ",
        ] {
            let expected = MediaBuckets(vec![bucket(256, 256, 1, 0.5), bucket(720, 1280, 16, 0.0)]);
            assert_eq!(media_buckets(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_bucket_is_told() {
        for text in [
            "",
            "{}",
            "256",
            "{(1, 2): 1}",
            "{(1, 2, 3, 4): 1}",
            "{(1, 2, 0): 1}",
            "{(1, -2, 1): 1}",
            "{(1,2,1): x}",
        ] {
            assert!(media_buckets(text).unwrap_err().contains("write it as"), "{text}");
        }
        for text in ["{(1,2,1): -1}", "{(1,2,1): nan}", "{(1,2,1): inf}"] {
            assert!(media_buckets(text).unwrap_err().contains("share"), "{text}");
        }
    }

    #[test]
    fn limits_that_are_not_named_are_zero() {
        assert_eq!(media_limits(r#"{"image": 3}"#), Ok(MediaLimits { image: 3, video: 0 }));
        assert!(media_limits(r#"{"audio": 3}"#).unwrap_err().contains("audio"));
        assert!(media_limits("3").is_err());
    }
}
