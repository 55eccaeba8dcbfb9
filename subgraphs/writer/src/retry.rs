//! What an error of the database says about what was asked: was it the data, or the moment?

use sea_orm::{DbErr, RuntimeErr, sqlx};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The same data fails again, whenever it is tried: put it aside.
    Data,
    /// It is the moment's fault, the network's or the operator's: try again, for ever.
    Passing,
}

/// The classes of SQLSTATE (PostgreSQL's appendix A) that are the data's fault: cardinality
/// violations, data exceptions, broken constraints and program limits such as the size of an index
/// entry. All others pass, among them 08 (connection), 40 (serialisation), 42 (not migrated yet),
/// 53 (too many connections, disk full), 57 (shut down, cannot connect now, statement timeout).
const DATA: [&str; 4] = ["21", "22", "23", "54"];

/// Whose fault an error is.
pub fn class_of(error: &DbErr) -> Class {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => match &**error {
            sqlx::Error::Database(error) => class_of_state(error.code().as_deref()),
            sqlx::Error::Encode(_) => Class::Data,
            _ => Class::Passing,
        },
        DbErr::Type(_) | DbErr::Json(_) => Class::Data,
        _ => Class::Passing,
    }
}

fn class_of_state(state: Option<&str>) -> Class {
    let data = state.is_some_and(|state| DATA.iter().any(|class| state.starts_with(class)));
    if data { Class::Data } else { Class::Passing }
}

/// The cause of an error in words that hold none of the data: the state and the constraint.
pub fn cause_of(error: &DbErr) -> String {
    let (DbErr::Exec(RuntimeErr::SqlxError(sql)) | DbErr::Query(RuntimeErr::SqlxError(sql))) = error else {
        return error.to_string();
    };
    let sqlx::Error::Database(sql) = &**sql else {
        return error.to_string();
    };
    let state = sql.code().unwrap_or_default();
    match (sql.table(), sql.constraint()) {
        (Some(table), Some(constraint)) => format!("SQLSTATE {state} on {table}, constraint {constraint}"),
        (Some(table), None) => format!("SQLSTATE {state} on {table}"),
        _ => format!("SQLSTATE {state}"),
    }
}

/// The first pause before another attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest; after an outage the writer goes on within this.
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// Pauses that double up to a bound.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(PAUSE_FIRST)
    }
}

/// The process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process is to end")]
pub struct Stopped;

impl Backoff {
    /// Waits, unless the process is to end.
    pub async fn pause(&mut self, stop: &CancellationToken) -> Result<(), Stopped> {
        let pause = self.0;
        self.0 = (self.0 * 2).min(PAUSE_LONGEST);
        match stop.run_until_cancelled(tokio::time::sleep(pause)).await {
            Some(()) => Ok(()),
            None => Err(Stopped),
        }
    }
}

/// Does `work` until it succeeds or the process is to end.
pub async fn until_done<T, E, W, R>(what: &'static str, stop: &CancellationToken, mut work: W) -> Result<T, Stopped>
where
    E: std::error::Error,
    W: FnMut() -> R,
    R: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::default();
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) => note(what, &error),
        }
        backoff.pause(stop).await?;
    }
}

/// Says that something failed and will be tried again.
pub fn note(what: &'static str, error: &dyn std::error::Error) {
    tracing::warn!(what, error = %velvet_kernel::telemetry::chain(error), "writer.retry");
    metrics::counter!("velvet_writer_retries_total", "what" => what).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_the_datas_own_faults_are_put_aside() {
        for state in ["22021", "22001", "23505", "23514", "23502", "54000", "21000"] {
            assert_eq!(class_of_state(Some(state)), Class::Data, "{state}");
        }
        for state in ["57P01", "57P03", "57014", "53300", "53100", "40001", "40P01", "08006", "25006", "42P01", "3F000"]
        {
            assert_eq!(class_of_state(Some(state)), Class::Passing, "{state}");
        }
        assert_eq!(class_of_state(None), Class::Passing);
    }

    #[test]
    fn lost_connections_and_full_pools_pass() {
        let lost = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        for error in [lost, sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, sqlx::Error::WorkerCrashed] {
            assert_eq!(class_of(&DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))), Class::Passing);
        }
        assert_eq!(class_of(&DbErr::Conn(RuntimeErr::Internal("refused".to_owned()))), Class::Passing);
        assert_eq!(class_of(&DbErr::Type("no such text".to_owned())), Class::Data);
    }

    #[tokio::test]
    async fn work_is_tried_until_it_is_done_or_the_process_ends() {
        let stop = CancellationToken::new();
        let mut attempts = 0;
        let done = until_done("test", &stop, || {
            attempts += 1;
            let outcome = if attempts < 3 { Err(DbErr::Custom("down".to_owned())) } else { Ok(attempts) };
            async move { outcome }
        });
        assert_eq!(done.await, Ok(3));
        stop.cancel();
        let never = until_done("test", &stop, || async { Err::<(), _>(DbErr::Custom("down".to_owned())) });
        assert_eq!(never.await, Err(Stopped));
    }
}
