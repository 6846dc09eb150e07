//! What a database has to do for us: run one piece of work in one transaction. Everything above it is written once, in SQL that SQLite and
//! PostgreSQL both speak; what differs is in `sqlite.rs` and `postgres.rs`.

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::StoreError;

/// A value in a statement or a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

/// Kept bit by bit: numbers of batches may use all 64.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(value.cast_signed())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of an answer, read column by column.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    fn column(&self, i: usize) -> Result<&Value, StoreError> {
        self.0.get(i).ok_or(StoreError::Row { column: i })
    }

    pub(crate) fn int(&self, i: usize) -> Result<i64, StoreError> {
        self.opt_int(i)?.ok_or(StoreError::Row { column: i })
    }

    pub(crate) fn opt_int(&self, i: usize) -> Result<Option<i64>, StoreError> {
        match self.column(i)? {
            Value::Int(value) => Ok(Some(*value)),
            Value::Null => Ok(None),
            _ => Err(StoreError::Row { column: i }),
        }
    }

    pub(crate) fn u64(&self, i: usize) -> Result<u64, StoreError> {
        self.int(i).map(i64::cast_unsigned)
    }

    pub(crate) fn opt_u64(&self, i: usize) -> Result<Option<u64>, StoreError> {
        Ok(self.opt_int(i)?.map(i64::cast_unsigned))
    }

    pub(crate) fn u32(&self, i: usize) -> Result<u32, StoreError> {
        u32::try_from(self.int(i)?).map_err(|_| StoreError::Row { column: i })
    }

    pub(crate) fn opt_u32(&self, i: usize) -> Result<Option<u32>, StoreError> {
        self.opt_int(i)?.map(u32::try_from).transpose().map_err(|_| StoreError::Row { column: i })
    }

    pub(crate) fn text(&self, i: usize) -> Result<&str, StoreError> {
        self.opt_text(i)?.ok_or(StoreError::Row { column: i })
    }

    pub(crate) fn opt_text(&self, i: usize) -> Result<Option<&str>, StoreError> {
        match self.column(i)? {
            Value::Text(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            _ => Err(StoreError::Row { column: i }),
        }
    }

    pub(crate) fn bytes(&self, i: usize) -> Result<&[u8], StoreError> {
        match self.column(i)? {
            Value::Bytes(value) => Ok(value),
            _ => Err(StoreError::Row { column: i }),
        }
    }

    /// A text that is one of the domain's words or names.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, i: usize) -> Result<T, StoreError> {
        self.text(i)?.parse().map_err(|_| StoreError::Row { column: i })
    }

    pub(crate) fn opt_parsed<T: std::str::FromStr>(&self, i: usize) -> Result<Option<T>, StoreError> {
        self.opt_text(i)?.map(str::parse).transpose().map_err(|_| StoreError::Row { column: i })
    }
}

/// What changed, for those who wait for it. A hint only: whoever hears it looks; whoever does not looks a little later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Something of a site: a control, a limit.
    Site(String),
    /// Limits of a group.
    Group(String),
    /// Prices of a zone.
    Zone(String),
    /// The utility's own keys or what it knows from the KMC, now in that version.
    Keys(u64),
    /// Something in the log of changes.
    Log,
    /// Perhaps anything: for a while nothing was heard.
    All,
}

impl Hint {
    /// As text for PostgreSQL's NOTIFY.
    pub(crate) fn payload(&self) -> String {
        match self {
            Self::Site(id) => format!("site {id}"),
            Self::Group(id) => format!("group {id}"),
            Self::Zone(id) => format!("zone {id}"),
            Self::Keys(version) => format!("keys {version}"),
            Self::Log => "log".to_owned(),
            Self::All => "all".to_owned(),
        }
    }

    /// From text; what is not understood is only a hint to look.
    pub(crate) fn from_payload(text: &str) -> Self {
        match text.split_once(' ') {
            Some(("site", id)) => Self::Site(id.to_owned()),
            Some(("group", id)) => Self::Group(id.to_owned()),
            Some(("zone", id)) => Self::Zone(id.to_owned()),
            Some(("keys", version)) => version.parse().map_or(Self::All, Self::Keys),
            None if text == "log" => Self::Log,
            _ => Self::All,
        }
    }
}

/// A transaction under way.
pub(crate) trait Tx: Send {
    /// Runs a statement whose parameters are `$1`, `$2` ... in that order, and gives its rows.
    fn query<'a>(&'a mut self, sql: &'a str, params: &'a [Value]) -> BoxFuture<'a, Result<Vec<Row>, StoreError>>;

    /// Runs a statement, and gives the number of rows it changed.
    fn execute<'a>(&'a mut self, sql: &'a str, params: &'a [Value]) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// From here on no other transaction that called this runs until this one has ended: numbers and the log of changes keep their order.
    fn alone(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Told to those who wait when, and only when, the transaction has been committed.
    fn hint(&mut self, hint: Hint);
}

/// Work in one transaction: committed if it succeeds, rolled back if not.
pub(crate) type Work = Box<dyn for<'t> FnOnce(&'t mut dyn Tx) -> BoxFuture<'t, Result<(), StoreError>> + Send>;

/// A database.
pub(crate) trait Backend: Send + Sync {
    /// Runs work that changes something. When it returns `Ok` the work is on the disk.
    fn write(&self, work: Work) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Runs work that only reads, on one state of the database.
    fn read(&self, work: Work) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What changes from now on, here and at other replicas.
    fn hints(&self) -> broadcast::Receiver<Hint>;

    /// `sqlite` or `postgres`.
    fn name(&self) -> &'static str;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_survives_the_way_through_the_database() {
        for hint in [
            Hint::Site("a".into()),
            Hint::Group("n/f".into()),
            Hint::Zone("SE3".into()),
            Hint::Keys(7),
            Hint::Log,
            Hint::All,
        ] {
            assert_eq!(Hint::from_payload(&hint.payload()), hint);
        }
        assert_eq!(Hint::from_payload("nonsense of a later version"), Hint::All);
    }

    #[test]
    fn a_row_that_holds_something_else_is_an_error_and_never_a_panic() {
        let row = Row(vec![Value::Text("x".into()), Value::Null, Value::Int(-1)]);
        assert!(row.int(0).is_err() && row.text(1).is_err() && row.u32(2).is_err() && row.int(3).is_err());
        assert_eq!((row.opt_int(1).unwrap(), row.u64(2).unwrap()), (None, u64::MAX));
    }
}
