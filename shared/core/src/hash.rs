//! Where a stream puts a record: by a hash of its key, of which each partition takes a range.

/// The hashes of keys whose records come to one partition. Kinesis hashes with MD5, read as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    /// The smallest of them.
    pub first: u128,
    /// The largest of them.
    pub last: u128,
}

impl HashRange {
    /// Whether records with this hash come to the partition.
    pub fn contains(&self, hash: u128) -> bool {
        (self.first..=self.last).contains(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::HashRange;

    #[test]
    fn both_ends_belong_to_a_range() {
        let range = HashRange { first: 3, last: 5 };
        assert_eq!([2, 3, 5, 6].map(|hash| range.contains(hash)), [false, true, true, false]);
    }
}
