//! The hash slot of a key, as Redis Cluster defines it.

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it when it has none.
pub fn slot_of(key: &str) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(tag_of(key).as_bytes()) % SLOTS
}

fn tag_of(key: &str) -> &str {
    key.split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(slot_of("123456789"), 0x31C3);
        assert_eq!(slot_of("a:{123456789}:b"), 0x31C3);
        assert_eq!(slot_of("{}123456789"), slot_of("{}123456789"));
        assert_ne!(slot_of("{}123456789"), 0x31C3);
    }
}
