//! People to swipe on: made up from a seed, around real cities, loaded through the log by `velvet import`.

mod cities;
mod names;
mod person;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{NaiveDate, Utc};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

pub use self::cities::{Cities, City};
pub use self::person::{ALICE, BOB, Demo, PASSWORD, Person, demo_people, person};
use crate::binaries::Binaries;
use crate::info::StackInfo;
use crate::progress::Progress;

/// In the state folder: how many people have been loaded.
pub const MARK: &str = "population";
/// The most that `--people` takes.
pub const MOST_PEOPLE: u64 = 1_000_000;
/// Fixed, so that everybody's demo is the same.
const SEED: u64 = 20_260_101;
/// Without any line for this long, the import is stuck.
const SILENCE: Duration = Duration::from_mins(2);
/// How much of the importer's complaint is shown.
const COMPLAINT_BYTES: u64 = 4_000;

/// Whether the two with a sign-in are there.
pub fn has_demo_people(state: &std::path::Path) -> bool {
    state.join(MARK).is_file()
}

/// Loads people until there are `wanted`, and the two with a sign-in; those who are there stay.
pub async fn load(binaries: &Binaries, info: &StackInfo, wanted: u64, progress: Progress) -> Result<()> {
    let mark = info.state.join(MARK);
    let present: u64 = match std::fs::read_to_string(&mark) {
        Ok(text) => text.trim().parse().context("reading how many people there are")?,
        Err(_) => 0,
    };
    if wanted <= present {
        return Ok(());
    }
    let cities = Cities::read(&info.root.join("dev/data/cities.csv"))?;
    let file = info.state.join("people.ndjson");
    let today = Utc::now().date_naive();
    let mut total = wanted - present;
    let mut out = BufWriter::new(File::create(&file).context("writing people")?);
    if present == 0 {
        for person in demo_people(today) {
            write_line(&mut out, &person)?;
            total += 1;
        }
    }
    for index in present..wanted {
        write_line(&mut out, &person(&cities, SEED, index, today))?;
    }
    out.flush().context("writing people")?;
    import(binaries, info, &file, total, progress).await?;
    std::fs::remove_file(&file).context("removing the imported file")?;
    std::fs::write(&mark, wanted.to_string()).context("noting how many people there are")
}

fn write_line(out: &mut impl Write, person: &Person) -> Result<()> {
    serde_json::to_writer(&mut *out, person).context("writing a person")?;
    out.write_all(b"\n").context("writing a person")
}

async fn import(
    binaries: &Binaries,
    info: &StackInfo,
    file: &std::path::Path,
    total: u64,
    progress: Progress,
) -> Result<()> {
    let mut child = Command::new(binaries.path("velvet"))
        .arg("import")
        .arg("--config")
        .arg(&info.config)
        .arg("--file")
        .arg(file)
        .current_dir(&info.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting velvet import")?;
    let stderr = child.stderr.take().context("reading velvet import")?;
    // Read all along, as a full pipe would stop the importer; only the beginning is kept.
    let complaint = tokio::spawn(async move {
        let mut stderr = BufReader::new(stderr);
        let mut kept = Vec::new();
        let _ = (&mut stderr).take(COMPLAINT_BYTES).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&kept).into_owned()
    });
    let mut lines = BufReader::new(child.stdout.take().context("reading velvet import")?).lines();
    let mut bar = progress.bar("people", total);
    loop {
        let line = tokio::time::timeout(SILENCE, lines.next_line())
            .await
            .with_context(|| format!("velvet import was silent for {} s", SILENCE.as_secs()))?;
        let Some(line) = line.context("reading velvet import")? else {
            break;
        };
        if let Some(done) = imported(&line) {
            bar.set(done);
        }
    }
    let status = tokio::time::timeout(SILENCE, child.wait()).await.context("velvet import does not end")??;
    if !status.success() {
        bail!("velvet import failed ({status}): {}", complaint.await.unwrap_or_default().trim());
    }
    Ok(())
}

/// `imported 500/2000`
fn imported(line: &str) -> Option<u64> {
    line.strip_prefix("imported ")?.split('/').next()?.trim().parse().ok()
}

/// The day that many years before `today`, and `days` more.
fn born(today: NaiveDate, years: u32, days: u64) -> NaiveDate {
    let months = chrono::Months::new(years * 12);
    today.checked_sub_months(months).and_then(|date| date.checked_sub_days(chrono::Days::new(days))).unwrap_or(today)
}
