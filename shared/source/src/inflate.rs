//! Payloads that were compressed with gzip, inflated within limits.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

/// The most bytes that one compressed record may hold. A larger one is rejected.
pub const MAX_INFLATED_RECORD: usize = 16 << 20;

/// The most bytes that the compressed records of one event may hold together. Records past it are rejected, so
/// that a small event cannot fill the memory.
pub const MAX_INFLATED_EVENT: usize = 256 << 20;

/// How a gzip stream starts.
pub(crate) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What is left of [`MAX_INFLATED_EVENT`].
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_INFLATED_EVENT)
    }
}

impl Budget {
    /// Replaces `buffer[start..]` by its inflated form if it is a gzip stream. On failure the buffer is unchanged
    /// and the reason is returned.
    #[inline]
    pub fn inflate(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), String> {
        if buffer[start..].starts_with(&GZIP) { self.inflate_gzip(buffer, start) } else { Ok(()) }
    }

    fn inflate_gzip(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), String> {
        let limit = MAX_INFLATED_RECORD.min(self.0);
        let mut inflated = Vec::new();
        // One byte more than allowed tells "just fits" from "too large".
        MultiGzDecoder::new(&buffer[start..])
            .take(limit as u64 + 1)
            .read_to_end(&mut inflated)
            .map_err(|e| format!("the payload starts as gzip but cannot be inflated: {e}"))?;
        if inflated.len() > MAX_INFLATED_RECORD {
            return Err(format!("the gzip payload holds more than {MAX_INFLATED_RECORD} bytes"));
        }
        if inflated.len() > self.0 {
            return Err(format!("the gzip payloads of this event hold more than {MAX_INFLATED_EVENT} bytes together"));
        }
        self.0 -= inflated.len();
        buffer.truncate(start);
        buffer.append(&mut inflated);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflates_in_place() {
        let mut buffer = b"before".to_vec();
        buffer.extend(gzip(b"hello "));
        buffer.extend(gzip(b"world"));
        Budget::default().inflate(&mut buffer, 6).unwrap();
        assert_eq!(buffer, b"beforehello world");
    }

    #[test]
    fn broken_or_huge_leaves_the_bytes() {
        let broken = [&GZIP[..], b"nonsense"].concat();
        let mut buffer = broken.clone();
        assert!(Budget::default().inflate(&mut buffer, 0).unwrap_err().contains("cannot be inflated"));
        assert_eq!(buffer, broken);
        let huge = gzip(&vec![0; MAX_INFLATED_RECORD + 1]);
        let mut buffer = huge.clone();
        assert!(Budget::default().inflate(&mut buffer, 0).unwrap_err().contains("16777216"));
        assert_eq!(buffer, huge);
        let mut small = Budget(3);
        assert!(small.inflate(&mut gzip(b"four"), 0).unwrap_err().contains("together"));
    }
}
