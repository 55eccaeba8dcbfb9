//! Those who use the graph during a run: signed up through the router, near each other, in pairs that have met.

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use velvet_e2e::person::registration;
use velvet_e2e::{Person, conversation_of, meet};
use velvet_kit::Handle;

use crate::arguments::{Arguments, Scenario};
use crate::bench::say;
use crate::schedule::exact;

/// Hashing a password takes a processor for a while, so more at once is no faster.
const AT_ONCE: usize = 4;
/// Berlin, where the demo population is densest.
const HOME: (f64, f64) = (52.524, 13.411);
/// How far apart the homes are, in degrees: a few kilometres.
const STREET: f64 = 0.01;
/// The other side of the market has at least this many people to swipe on, if the population has.
const TARGETS_WANTED: usize = 600;
/// Those who look for people to swipe on; their decks are empty afterwards.
const SCOUTS: usize = 8;
const SCOUT_CARDS: u32 = 50;
const SCOUT_CALLS: usize = 40;

const SETTLE: &str = "mutation($preferences: PreferencesInput!, $place: SetLocationInput!) {
    updateProfile(input: { preferences: $preferences }) { __typename }
    setLocation(input: $place) { __typename }
}";
const SCOUT: &str = "query($first: Int!) { deck(first: $first) { user { id } } }";

pub struct People {
    /// Patrons at even, creators at odd indices.
    pub all: Vec<Person>,
    pub pairs: Vec<Pair>,
    /// Of the demo population, whom a person at an even index may swipe on, and at an odd one.
    pub targets: [Vec<String>; 2],
}

/// Two who have met.
#[derive(Debug, Clone)]
pub struct Pair {
    pub members: [Person; 2],
    pub conversation: String,
}

impl People {
    /// Signs people up and does what the wanted scenarios need done before.
    pub async fn gather(handle: &Handle, arguments: &Arguments) -> Result<Self> {
        let count = arguments.people_needed();
        say(&format!("{count} people sign up"));
        let all: Vec<Person> = stream::iter(0..count)
            .map(|index| sign_up(handle, index))
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .context("signing people up")?;
        let mut people = Self { all, pairs: Vec::new(), targets: [Vec::new(), Vec::new()] };
        if arguments.wants_any(&[Scenario::Deck, Scenario::Swipe]) {
            people.settle().await.context("giving people a home")?;
        }
        if arguments.wants(Scenario::Swipe) {
            people.scout().await.context("finding people to swipe on")?;
        }
        if arguments.wants_any(&[Scenario::Send, Scenario::Live, Scenario::Projector, Scenario::Writer]) {
            people.pair().await.context("making pairs meet")?;
        }
        Ok(people)
    }

    /// Those whose decks nobody has emptied yet.
    pub fn viewers(&self) -> &[Person] {
        if self.targets.iter().all(Vec::is_empty) { &self.all } else { &self.all[SCOUTS.min(self.all.len() / 2)..] }
    }

    async fn settle(&self) -> Result<()> {
        let homes = self.all.iter().enumerate().map(|(index, person)| async move {
            let away = STREET * exact(index as u64 % 10);
            let variables = json!({
                "preferences": {
                    "ageMin": 18, "ageMax": 99, "distanceKmMax": 50,
                    "genders": ["FEMALE", "MALE", "NON_BINARY"], "verifiedOnly": false,
                },
                "place": { "latitude": HOME.0 + away, "longitude": HOME.1 - away },
            });
            let data = person.ask(SETTLE, variables).await?;
            let done = data["updateProfile"]["__typename"] == "ProfileUpdated"
                && data["setLocation"]["__typename"] == "LocationSet";
            if done { Ok(()) } else { bail!("a home was refused: {data}") }
        });
        stream::iter(homes).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn scout(&mut self) -> Result<()> {
        for scout in 0..SCOUTS.min(self.all.len() / 2) {
            let side = scout % 2;
            for _ in 0..SCOUT_CALLS {
                if self.targets[side].len() >= TARGETS_WANTED {
                    break;
                }
                let data = self.all[scout].ask(SCOUT, json!({ "first": SCOUT_CARDS })).await?;
                let cards = data["deck"].as_array().cloned().unwrap_or_default();
                if cards.is_empty() {
                    break;
                }
                self.targets[side].extend(cards.iter().filter_map(|card| id_of(&card["user"])));
            }
        }
        for side in 0..2 {
            let ours: Vec<&String> = self.all.iter().map(|person| &person.id).collect();
            self.targets[side].retain(|id| !ours.contains(&id));
            self.targets[side].sort();
            self.targets[side].dedup();
            if self.targets[side].is_empty() {
                bail!("nobody to swipe on: start the stack with a population (--people)");
            }
        }
        Ok(())
    }

    async fn pair(&mut self) -> Result<()> {
        let pairs = self.all.chunks_exact(2).map(|two| async move {
            let matched = meet(&two[0], &two[1]).await?;
            let conversation = conversation_of(&two[0], &matched).await?;
            Ok::<_, anyhow::Error>(Pair { members: [two[0].clone(), two[1].clone()], conversation })
        });
        self.pairs = stream::iter(pairs).buffered(AT_ONCE).try_collect().await?;
        Ok(())
    }
}

async fn sign_up(handle: &Handle, index: usize) -> Result<Person> {
    let mut input = registration(&format!("load{index}"));
    if index.is_multiple_of(2) {
        input["side"] = json!("PATRON");
        input["gender"] = json!("MALE");
    }
    Person::sign_up_with(handle, &input).await
}

fn id_of(user: &Value) -> Option<String> {
    user["id"].as_str().map(str::to_owned)
}
