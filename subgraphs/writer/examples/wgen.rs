use std::path::Path;
use uuid::Uuid;
use velvet_kernel::{config::Config, fold::Version, id::UserId, log::*, time::{Clock, SystemClock, derived_id, fresh_id}};
use velvet_matching::{event::SwipeRow, model::SwipeAction};
use velvet_messaging::{model::{ConversationId, MessageId}, row::MessageRow};

fn message(conversation: ConversationId, position: i64, body: &str) -> MessageRow {
    MessageRow { conversation_id: conversation, position, message_id: MessageId { conversation, position }.to_string(), event_id: fresh_id(), client_id: format!("c{position}"), sender_id: UserId(fresh_id()), body: body.to_owned(), sent_at: SystemClock.now(), edited_at: None, deleted: false }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let config = Config::load(Path::new(&args[1]))?;
    let log = Log::connect(&config.kafka)?;
    let topic = Topic::of("messaging", Stage::Decided);
    let swipes = Topic::of("matching", Stage::Decided);
    match args[2].as_str() {
        "messages" => {
            let n: i64 = args[3].parse()?;
            let conversations: Vec<ConversationId> = (0..500).map(|_| ConversationId(fresh_id())).collect();
            for chunk in 0..n / 5000 {
                let events: Vec<NewEvent> = (0..5000).map(|i| { let at = chunk * 5000 + i; let c = conversations[(at % 500) as usize]; let position = at / 500 + 1;
                    NewEvent::new(fresh_id(), "message.sent", c.to_string(), SystemClock.now(), &message(c, position, "Hello there, how was your day? Shall we meet on Friday?")).caused_by(Version::of_offset(at)) }).collect();
                log.append_all(events.iter().map(|e| (&topic, e))).await?;
            }
        }
        "swipes" => {
            let n: i64 = args[3].parse()?;
            for chunk in 0..n / 5000 {
                let events: Vec<NewEvent> = (0..5000).map(|i| { let me = fresh_id(); let at = chunk * 5000 + i;
                    let row = SwipeRow { swiper_id: UserId(me), swiped_id: UserId(fresh_id()), action: SwipeAction::Like, event_id: fresh_id(), swiped_at: SystemClock.now(), matched: false };
                    NewEvent::new(fresh_id(), "matching.swipe", me.to_string(), SystemClock.now(), &row).caused_by(Version::of_offset(at)) }).collect();
                log.append_all(events.iter().map(|e| (&swipes, e))).await?;
            }
        }
        "bad" => {
            let c = ConversationId(derived_id(&["bad", &args[3]]));
            let mut events = Vec::new();
            for position in 1..=400 {
                let version = Version::of_offset(position);
                let row = match position {
                    100 => message(c, 100, "nul \u{0} byte"),
                    200 => message(c, -5, "breaks a check"),
                    _ => message(c, position, "fine"),
                };
                let mut event = NewEvent::new(fresh_id(), "message.sent", c.to_string(), SystemClock.now(), &row).caused_by(version);
                if position == 300 { event.data = b"{\"no\":1}".to_vec(); }
                if position == 350 { event.kind = "message.unheard".to_owned(); }
                events.push(event);
            }
            log.append_all(events.iter().map(|e| (&topic, e))).await?;
            println!("{}", c);
        }
        "dead" => {
            let consumer = Consumer::join(&config.kafka, &format!("dead-{}", fresh_id()), &[Topic::dead_letters()], Start::Earliest)?;
            let mut quiet = 0;
            while quiet < 8 {
                let batch = consumer.read(1000, std::time::Duration::from_secs(1)).await?;
                if batch.events.is_empty() { quiet += 1; }
                for e in batch.events { println!("{}", String::from_utf8_lossy(&e.data).chars().take(300).collect::<String>()); }
            }
        }
        other => anyhow::bail!("{other}"),
    }
    let _ = Uuid::nil();
    Ok(())
}
