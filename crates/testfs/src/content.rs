//! What the files hold: bytes that differ from file to file and from place to place.

/// Writes what file number `file` holds from `offset` on.
pub fn fill(file: usize, offset: u64, buf: &mut [u8]) {
    let mut at = 0;
    while at < buf.len() {
        let place = offset + at as u64;
        let word = word(file, place / 8).to_le_bytes();
        let within = (place % 8) as usize;
        let count = (8 - within).min(buf.len() - at);
        buf[at..at + count].copy_from_slice(&word[within..within + count]);
        at += count;
    }
}

/// The first place at which `bytes` is not what file number `file` holds from `offset` on.
pub fn mismatch(file: usize, offset: u64, bytes: &[u8]) -> Option<usize> {
    let mut right = vec![0; bytes.len()];
    fill(file, offset, &mut right);
    bytes.iter().zip(&right).position(|(byte, right)| byte != right)
}

/// Eight bytes of a file: splitmix64 of their place.
fn word(file: usize, at: u64) -> u64 {
    scramble((file as u64).wrapping_mul(0xd6e8_feb8_6659_fd93).wrapping_add(at))
}

/// The mixing step of splitmix64.
pub(crate) fn scramble(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_part_of_the_whole() {
        let mut whole = [0; 100];
        fill(3, 0, &mut whole);
        for start in 0..100 {
            for end in start..100 {
                let mut part = vec![0; end - start];
                fill(3, start as u64, &mut part);
                assert_eq!(part, whole[start..end]);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_found() {
        let mut bytes = [0; 64];
        fill(1, 7, &mut bytes);
        assert_eq!(mismatch(1, 7, &bytes), None);
        assert!(mismatch(2, 7, &bytes).is_some() && mismatch(1, 8, &bytes).is_some());
        bytes[40] ^= 1;
        assert_eq!(mismatch(1, 7, &bytes), Some(40));
    }
}
