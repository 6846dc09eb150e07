//! PostgreSQL: any number of replicas on one database. A few connections are kept; a transaction takes one. A connection of its own
//! listens for what other replicas change.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, broadcast};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement};

use super::StoreError;
use super::backend::{Backend, Hint, Row, Tx, Value, Work};
use crate::limits::{HINTS_MAX, RECONNECT_FIRST, RECONNECT_MAX, STORE_QUEUE_MAX};

/// Where changes are told (LISTEN, NOTIFY).
const CHANNEL: &str = "heg_utility";
/// Held by whoever changes what has an order: numbers, versions, the log. "HEGU".
const LOCK: i64 = 0x4845_4755;
/// A free connection is waited for so long before the work counts as too much.
const WAIT: Duration = Duration::from_secs(10);
/// The server gives a statement up after this.
const STATEMENT_TIMEOUT_MS: u32 = 8_000;
/// And we the whole work after this: the server may have gone without a word.
const WORK_TIMEOUT: Duration = Duration::from_secs(10);
/// It is reached within this, or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Postgres {
    config: Config,
    idle: Mutex<Vec<Connected>>,
    places: Semaphore,
    waiting: Semaphore,
    hints: broadcast::Sender<Hint>,
}

struct Connected {
    client: Client,
    statements: HashMap<Box<str>, Statement>,
}

impl Postgres {
    /// Connects, brings the database to the newest of `migrations`, and begins to listen.
    pub(crate) async fn open(mut config: Config, connections: usize, migrations: &[&str]) -> Result<Self, StoreError> {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let hints = broadcast::Sender::new(HINTS_MAX);
        let postgres = Self {
            config,
            idle: Mutex::new(Vec::new()),
            places: Semaphore::new(connections),
            waiting: Semaphore::new(STORE_QUEUE_MAX),
            hints,
        };
        let mut connected = postgres.connect().await?;
        migrate(&mut connected.client, migrations).await?;
        postgres.give_back(connected);
        tokio::spawn(listen(postgres.config.clone(), postgres.hints.clone()));
        Ok(postgres)
    }

    async fn connect(&self) -> Result<Connected, StoreError> {
        // TLS toward the database is the job of a local proxy, or of a Unix socket that needs none.
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a connection to the database was lost");
            }
        });
        client
            .batch_execute(&format!("SET statement_timeout = {STATEMENT_TIMEOUT_MS}; SET synchronous_commit = on"))
            .await?;
        Ok(Connected { client, statements: HashMap::new() })
    }

    /// A kept connection that still stands, else a new one.
    async fn take(&self) -> Result<Connected, StoreError> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match kept {
                Some(connected) if !connected.client.is_closed() => return Ok(connected),
                Some(_) => {}
                None => return self.connect().await,
            }
        }
    }

    fn give_back(&self, connected: Connected) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connected);
    }

    async fn run(&self, work: Work, begin: &'static str) -> Result<(), StoreError> {
        let _waiting = self.waiting.try_acquire().map_err(|_| StoreError::Busy)?;
        let place = tokio::time::timeout(WAIT, self.places.acquire()).await.map_err(|_| StoreError::Busy)?;
        let _place = place.map_err(|_| StoreError::Busy)?;
        let gone = || StoreError::Unavailable(format!("PostgreSQL did not answer within {} s", WORK_TIMEOUT.as_secs()));
        tokio::time::timeout(WORK_TIMEOUT, self.carry_out(work, begin)).await.unwrap_or_else(|_| Err(gone()))
    }

    async fn carry_out(&self, work: Work, begin: &'static str) -> Result<(), StoreError> {
        let mut connected = self.take().await?;
        // Dropped in the middle (the task was cancelled), a connection takes its open transaction with it.
        connected.client.batch_execute(begin).await?;
        let mut tx = Transaction { connected: &mut connected, hints: Vec::new() };
        let result = work(&mut tx).await;
        let hints = std::mem::take(&mut tx.hints);
        let ended = match &result {
            Ok(()) => commit(&connected.client, &hints).await,
            Err(_) => connected.client.batch_execute("ROLLBACK").await.map_err(StoreError::from),
        };
        if ended.is_ok() {
            self.give_back(connected);
        }
        result?;
        ended?;
        for hint in hints {
            // Nobody may be listening. Replicas hear it by NOTIFY, this one sooner.
            let _ = self.hints.send(hint);
        }
        Ok(())
    }
}

/// NOTIFY is part of the transaction: told if, and only if, it is committed.
async fn commit(client: &Client, hints: &[Hint]) -> Result<(), StoreError> {
    for hint in hints {
        client.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &hint.payload()]).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

async fn migrate(client: &mut Client, migrations: &[&str]) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    transaction.batch_execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").await?;
    let row = transaction.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await?;
    let found = u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or(u32::MAX);
    let known = migrations.len() as u32;
    if found > known {
        return Err(StoreError::TooNew { what: "the database".to_owned(), found, known });
    }
    for step in &migrations[found as usize..] {
        transaction.batch_execute(step).await?;
    }
    transaction.batch_execute("DELETE FROM schema_version").await?;
    transaction.execute("INSERT INTO schema_version VALUES ($1)", &[&i64::from(known)]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Hears what other replicas change, for as long as anybody here might want to know.
async fn listen(config: Config, hints: broadcast::Sender<Hint>) {
    let mut delay = RECONNECT_FIRST;
    loop {
        match listen_once(&config, &hints).await {
            Ok(()) => delay = RECONNECT_FIRST,
            Err(error) => {
                tracing::warn!(%error, "changes of other replicas are not heard; trying again");
                delay = (delay * 2).min(RECONNECT_MAX);
            }
        }
        tokio::time::sleep(delay).await;
    }
}

async fn listen_once(config: &Config, hints: &broadcast::Sender<Hint>) -> Result<(), StoreError> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let subscribe = format!("LISTEN {CHANNEL}");
    let mut subscribed = std::pin::pin!(client.batch_execute(&subscribe));
    let mut listening = false;
    loop {
        let message = std::future::poll_fn(|cx| connection.poll_message(cx));
        tokio::select! {
            done = &mut subscribed, if !listening => {
                done?;
                listening = true;
                // What happened until now was not heard.
                let _ = hints.send(Hint::All);
            }
            message = message => match message {
                Some(Ok(AsyncMessage::Notification(heard))) => {
                    // Nobody may be waiting.
                    let _ = hints.send(Hint::from_payload(heard.payload()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}

struct Transaction<'c> {
    connected: &'c mut Connected,
    hints: Vec<Hint>,
}

impl Transaction<'_> {
    async fn statement(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.connected.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.connected.client.prepare(sql).await?;
        self.connected.statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }
}

impl Tx for Transaction<'_> {
    fn query<'a>(&'a mut self, sql: &'a str, params: &'a [Value]) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let statement = self.statement(sql).await?;
            let rows = self.connected.client.query(&statement, &by_reference(params)).await?;
            rows.iter().map(row).collect()
        })
    }

    fn execute<'a>(&'a mut self, sql: &'a str, params: &'a [Value]) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let statement = self.statement(sql).await?;
            Ok(self.connected.client.execute(&statement, &by_reference(params)).await?)
        })
    }

    fn alone(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.execute("SELECT pg_advisory_xact_lock($1)", &[Value::Int(LOCK)]).await?;
            Ok(())
        })
    }

    fn hint(&mut self, hint: Hint) {
        self.hints.push(hint);
    }
}

fn by_reference(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let values = row.columns().iter().enumerate().map(|(i, column)| {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(i).map(Value::from),
            Type::INT4 => row.try_get::<_, Option<i32>>(i).map(|v| v.map(i64::from).into()),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(i).map(Value::from),
            Type::TEXT => row.try_get::<_, Option<String>>(i).map(Value::from),
            _ => return Err(StoreError::Row { column: i }),
        };
        value.map_err(StoreError::from)
    });
    values.collect::<Result<_, _>>().map(Row)
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(i) => i.to_sql(ty, out),
            Self::Text(t) => t.to_sql(ty, out),
            Self::Bytes(b) => b.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}

impl Backend for Postgres {
    fn write(&self, work: Work) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run(work, "BEGIN"))
    }

    fn read(&self, work: Work) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run(work, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    fn name(&self) -> &'static str {
        "postgres"
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => Self::Postgres(format!("{} ({})", said.message(), said.code().code())),
            // Its own text names only the kind; the cause says what happened.
            None => {
                let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
                Self::Unavailable(format!("{error}{cause}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_sent_as_the_three_types_of_our_columns_only() {
        for ty in [Type::INT8, Type::TEXT, Type::BYTEA] {
            assert!(<Value as ToSql>::accepts(&ty));
        }
        assert!(!<Value as ToSql>::accepts(&Type::INT4) && !<Value as ToSql>::accepts(&Type::BOOL));
        let mut out = BytesMut::new();
        assert!(Value::Text("x".into()).to_sql_checked(&Type::INT4, &mut out).is_err());
    }
}
