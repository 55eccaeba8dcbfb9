//! Making topics, and asking where they end.

use super::{Stage, Topic, client_config};
use crate::config::KafkaConfig;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::time::Duration;

/// Making all topics takes no longer, even on a cold broker.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Facts stay for a week: long enough to fold again after any outage that is noticed.
const RETENTION_MS: &str = "604800000";
/// Warm rows are read at once and never again.
const WARM_RETENTION_MS: &str = "3600000";

/// Makes the topics of these domains that do not exist yet. Partition counts are fixed from then on.
pub async fn ensure_topics(config: &KafkaConfig, domains: &[&str]) -> Result<usize, KafkaError> {
    let mut names: Vec<(String, &str)> =
        vec![(Topic::warmup_requests().0, WARM_RETENTION_MS), (Topic::dead_letters().0, "-1")];
    for domain in domains {
        for stage in Stage::ALL {
            let retention = if stage == Stage::Warm { WARM_RETENTION_MS } else { RETENTION_MS };
            names.push((Topic::of(domain, stage).0, retention));
        }
    }
    let names: Vec<(String, &str)> =
        names.into_iter().map(|(name, retention)| (format!("{}{name}", config.topic_prefix), retention)).collect();
    // A majority of the copies must have a record before it counts; one copy alone must suffice for itself.
    let in_sync = (config.replication / 2 + 1).min(config.replication).to_string();
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|(name, retention)| {
            NewTopic::new(name, config.partitions, TopicReplication::Fixed(config.replication))
                .set("min.insync.replicas", &in_sync)
                .set("retention.ms", retention)
        })
        .collect();
    let admin: AdminClient<DefaultClientContext> = client_config(config).create()?;
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    let mut made = 0;
    for outcome in admin.create_topics(&topics, &options).await? {
        match outcome {
            Ok(_) => made += 1,
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(made)
}

/// Where each partition of a topic ends now: the offset of what will come next.
pub async fn end_offsets(config: &KafkaConfig, topic: &Topic) -> Result<Vec<i64>, KafkaError> {
    Ok(ranges(config, topic).await?.into_iter().map(|(_, end)| end).collect())
}

/// What each partition of a topic has now: the oldest offset that is kept, and the offset of what will come next.
pub async fn ranges(config: &KafkaConfig, topic: &Topic) -> Result<Vec<(i64, i64)>, KafkaError> {
    let config = config.clone();
    let name = format!("{}{}", config.topic_prefix, topic.0);
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = client_config(&config).create()?;
        (0..config.partitions).map(|partition| consumer.fetch_watermarks(&name, partition, ADMIN_TIMEOUT)).collect()
    });
    // The task is never cancelled and does not panic; a join error means that the runtime ends.
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}
