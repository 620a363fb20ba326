//! XXH64 (Yann Collet), in the forms that Spark has for int, bigint and bytes.

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn with_int(hash: u64, word: u32) -> u64 {
    (hash ^ u64::from(word).wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3)
}

fn with_long(hash: u64, word: u64) -> u64 {
    (hash ^ round(0, word)).rotate_left(27).wrapping_mul(P1).wrapping_add(P4)
}

/// Of an int.
pub(super) fn int(value: u32, seed: u64) -> u64 {
    finish(with_int(seed.wrapping_add(P5).wrapping_add(4), value))
}

/// Of a bigint.
pub(super) fn long(value: u64, seed: u64) -> u64 {
    finish(with_long(seed.wrapping_add(P5).wrapping_add(8), value))
}

/// Of bytes.
pub(super) fn bytes(all: &[u8], seed: u64) -> u64 {
    let word = |eight: &[u8]| eight.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let stripes = all.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut hash = if all.len() >= 32 {
        let mut lanes = [seed.wrapping_add(P1).wrapping_add(P2), seed.wrapping_add(P2), seed, seed.wrapping_sub(P1)];
        for stripe in stripes {
            for (lane, eight) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(eight));
            }
        }
        let turns = [1, 7, 12, 18];
        let sum = lanes.iter().zip(turns).fold(0_u64, |sum, (lane, by)| sum.wrapping_add(lane.rotate_left(by)));
        lanes.iter().fold(sum, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4))
    } else {
        seed.wrapping_add(P5)
    };
    hash = hash.wrapping_add(all.len() as u64);
    while let Some((eight, more)) = rest.split_at_checked(8) {
        hash = with_long(hash, word(eight));
        rest = more;
    }
    if let Some((four, more)) = rest.split_at_checked(4) {
        hash = with_int(hash, word(four) as u32);
        rest = more;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    finish(hash)
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_hashes() {
        assert_eq!(super::bytes(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(super::bytes(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(super::bytes(b"abc", 0), 0x44bc_2cf5_ad77_0999);
    }
}
