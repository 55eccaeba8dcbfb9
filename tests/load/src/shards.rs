//! Where PostgreSQL has which rows: 16 schemas, divided among the servers as the kit does it.

pub const SHARDS: i32 = 16;

/// The schema of a shard.
pub fn schema(shard: i32) -> String {
    format!("shard_{shard:02}")
}

/// The server that has a shard, of so many.
pub fn server_of(shard: i32, servers: usize) -> usize {
    usize::try_from(shard).unwrap_or_default() * servers / usize::try_from(SHARDS).unwrap_or(1)
}

/// The schemas of one of so many servers.
pub fn schemas_of(server: usize, servers: usize) -> Vec<String> {
    (0..SHARDS).filter(|shard| server_of(*shard, servers) == server).map(schema).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_divided_as_the_kit_does_it() {
        assert_eq!([0, 7, 8, 15].map(|shard| server_of(shard, 2)), [0, 0, 1, 1]);
        assert_eq!([0, 15].map(|shard| server_of(shard, 1)), [0, 0]);
        assert_eq!(schemas_of(1, 2).first().map(String::as_str), Some("shard_08"));
    }
}
