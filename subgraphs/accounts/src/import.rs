//! Registering the people of a file, through the log like everyone else.

use crate::{
    DOMAIN_NAME,
    command::RegisterCommand,
    event::RegisterOutcome,
    hasher::Hasher,
    model::{self, Cell, Email, Password, Preferences, PreferencesChange, Side, VerificationStatus},
    settings::Settings,
};
use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use serde::Deserialize;
use std::{collections::HashMap, time::Duration};
use velvet_kernel::{
    api::Serve,
    command::{Decision, Intake, request_id},
    fault::{Code, Fault},
    graph::{Gender, InputInvalid, Problems},
    id::UserId,
    time::fresh_id,
};

/// Registrations that wait for their outcomes at the same time.
const IN_FLIGHT_MAX: usize = 500;
/// Progress is told this often.
const PROGRESS_EVERY: usize = 100;
/// Attempts at one person before the import gives up: each waits for an outcome as long as a request does.
const ATTEMPTS_MAX: usize = 24;
/// Between two attempts when the log or Redis is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    email: String,
    password: String,
    display_name: String,
    #[serde(default)]
    bio: String,
    birth_date: NaiveDate,
    gender: Gender,
    side: Side,
    #[serde(default)]
    latitude: Option<f64>,
    #[serde(default)]
    longitude: Option<f64>,
    #[serde(default)]
    preferences: Option<PreferencesChange>,
    #[serde(default)]
    last_active_seconds_ago: u32,
    #[serde(default)]
    verified: bool,
}

/// Registers everybody in `lines`, one JSON object each, and tells `progress` how many are done. A
/// person whose address is taken counts as done, so running it again changes nothing.
pub async fn run(serve: &Serve, lines: Vec<String>, mut progress: impl FnMut(usize)) -> anyhow::Result<()> {
    let settings = Settings::read(&serve.config)?;
    let (intake, now) = (serve.intake(DOMAIN_NAME), serve.clock.now());
    let mut passwords = Passwords { hasher: Hasher::new()?, known: HashMap::new() };
    let mut commands = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = || format!("line {}", index + 1);
        let person: Person = serde_json::from_str(line).with_context(at)?;
        let hash = passwords.hash(&person.password).await.with_context(at)?;
        commands.push(command(person, hash, now, settings.distance_km_max).with_context(at)?);
    }
    let total = commands.len();
    let mut registered =
        stream::iter(commands.into_iter().map(|command| register(&intake, command))).buffer_unordered(IN_FLIGHT_MAX);
    let mut done = 0;
    while let Some(outcome) = registered.next().await {
        outcome?;
        done += 1;
        if done % PROGRESS_EVERY == 0 || done == total {
            progress(done);
        }
    }
    Ok(())
}

/// Passwords, each hashed once: a demo population shares a few.
struct Passwords {
    hasher: Hasher,
    known: HashMap<String, String>,
}

impl Passwords {
    async fn hash(&mut self, text: &str) -> anyhow::Result<String> {
        if let Some(hash) = self.known.get(text) {
            return Ok(hash.clone());
        }
        let password = Password::choose(text).map_err(|why| anyhow!("the password {why}"))?;
        let hash = self.hasher.hash(&password).await.map_err(|fault| named(&fault))?;
        self.known.insert(text.to_owned(), hash.clone());
        Ok(hash)
    }
}

fn command(
    person: Person,
    password_hash: String,
    now: DateTime<Utc>,
    distance_km_max: i32,
) -> anyhow::Result<RegisterCommand> {
    let mut problems = Problems::default();
    let email = problems.check("email", Email::parse(&person.email));
    let display_name = problems.check("display_name", model::display_name(&person.display_name));
    let bio = problems.check("bio", model::bio(&person.bio));
    let birth_date = problems.check("birth_date", model::birth_date(person.birth_date, now.date_naive()));
    let change = person.preferences.unwrap_or_default();
    change.check("preferences", distance_km_max, &mut problems);
    let preferences = change.applied(&Preferences::first(distance_km_max));
    let cell = match (person.latitude, person.longitude) {
        (Some(latitude), Some(longitude)) => {
            let latitude = problems.check("latitude", model::latitude(latitude));
            let longitude = problems.check("longitude", model::longitude(longitude));
            latitude.zip(longitude).map(|(latitude, longitude)| Cell::snap(latitude, longitude))
        }
        (None, None) => None,
        _ => bail!("latitude and longitude go together"),
    };
    let (Some(email), Some(display_name), Some(bio), Some(birth_date), Some(preferences), true) =
        (email, display_name, bio, birth_date, preferences, problems.is_empty())
    else {
        let fields = InputInvalid::from(problems).fields;
        let fields: Vec<String> =
            fields.into_iter().map(|problem| format!("{} {}", problem.field, problem.message)).collect();
        bail!("out of bounds: {}", fields.join(", "));
    };
    Ok(RegisterCommand {
        command_id: request_id(email.normalized(), "import", Some(""), fresh_id()),
        user_id: UserId(fresh_id()),
        email: email.as_written().to_owned(),
        email_normalized: email.normalized().to_owned(),
        password_hash,
        display_name,
        bio,
        birth_date,
        gender: person.gender,
        side: person.side,
        preferences,
        cell,
        last_active_at: Some(now - TimeDelta::seconds(person.last_active_seconds_ago.into())),
        verification_status: if person.verified {
            VerificationStatus::Verified
        } else {
            VerificationStatus::Unverified
        },
        created_at: now,
    })
}

async fn register(intake: &Intake, command: RegisterCommand) -> anyhow::Result<()> {
    let event = command.event();
    let mut last = None;
    for _ in 0..ATTEMPTS_MAX {
        let outcome: Result<Decision<RegisterOutcome>, Fault> = match last {
            // It is durable: only its outcome is still to come.
            Some(Ok(())) => intake.told(event.id).await,
            None | Some(Err(())) => intake.command(&event).await,
        };
        last = match outcome {
            Ok(Decision::Decided(_)) => return Ok(()),
            Ok(Decision::Pending) => Some(Ok(())),
            Err(fault) if fault.code() == Code::Unavailable => {
                tokio::time::sleep(RETRY_PAUSE).await;
                Some(Err(()))
            }
            Err(fault) => return Err(named(&fault)),
        };
    }
    bail!("a registration has no outcome after {ATTEMPTS_MAX} attempts; run the import again when the writer is up")
}

fn named(fault: &Fault) -> anyhow::Error {
    anyhow!("{}", fault.code().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = r#"{"email":"Alice@Example.com","password":"correct horse","display_name":"Alice","bio":"hi",
        "birth_date":"1990-05-01","gender":"FEMALE","side":"CREATOR","latitude":52.5163,"longitude":13.3777,
        "preferences":{"age_min":25,"age_max":40,"distance_km_max":30,"genders":["MALE"],"verified_only":true},
        "last_active_seconds_ago":3600,"verified":true}"#;

    fn read(line: &str) -> anyhow::Result<RegisterCommand> {
        command(serde_json::from_str(line)?, "hash".to_owned(), "2026-07-27T12:00:00Z".parse()?, 50)
    }

    #[test]
    fn a_line_is_a_registration_with_all_that_is_known() {
        let alice = read(ALICE).unwrap();
        assert_eq!((alice.email.as_str(), alice.email_normalized.as_str()), ("Alice@Example.com", "alice@example.com"));
        assert_eq!(alice.cell, Some(Cell { latitude: 52.525, longitude: 13.375 }));
        assert_eq!(alice.last_active_at, Some("2026-07-27T11:00:00Z".parse().unwrap()));
        assert_eq!(alice.verification_status, VerificationStatus::Verified);
        assert_eq!((alice.preferences.age_min, alice.preferences.genders.as_slice()), (25, [Gender::Male].as_slice()));
    }

    #[test]
    fn a_second_run_asks_the_same_again() {
        let again = ALICE.replace("Alice@Example.com", "alice@example.com");
        assert_eq!(read(ALICE).unwrap().command_id, read(&again).unwrap().command_id);
        let bob = ALICE.replace("Alice@Example.com", "bob@example.com");
        assert_ne!(read(ALICE).unwrap().command_id, read(&bob).unwrap().command_id);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let child =
            ALICE.replace("1990-05-01", "2010-05-01").replace("\"distance_km_max\":30", "\"distance_km_max\":51");
        let error = read(&child).unwrap_err().to_string();
        assert!(error.contains("birth_date") && error.contains("preferences.distanceKmMax"), "{error}");
        assert!(read(&ALICE.replace("\"bio\"", "\"boi\"")).is_err());
    }
}
