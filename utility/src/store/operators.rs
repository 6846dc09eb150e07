//! Operators: who may use the API, as what. Of a token only its SHA-256 is kept: it is 32 random bytes, so a slow hash would add nothing.

use std::fmt;
use std::str::FromStr;

use secure_http::crypto::sha256;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use utility_wire::UnixTime;

use super::backend::Row;
use super::log::note;
use super::{Store, StoreError};
use crate::limits::OPERATORS_MAX;

/// What an operator may do; greater may more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Make sites, prices, limits and controls.
    Operator,
    /// Make operators.
    Admin,
}

/// No such role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected viewer, operator or admin")]
pub struct RoleError;

impl Role {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(s: &str) -> Result<Self, RoleError> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|r| r.as_str() == s).ok_or(RoleError)
    }
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When they were made.
    pub made: UnixTime,
    /// By whom.
    pub by: String,
}

/// A bearer token: `ID.SECRET`, 8 and 32 random bytes in hexadecimal. The first part finds the operator, the second proves.
#[derive(Clone)]
pub struct Token {
    id: String,
    secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}..)", self.id)
    }
}

const ID_HEX: usize = 16;
const SECRET_HEX: usize = 64;

impl Token {
    /// From random bytes.
    pub fn new(random: &[u8; 40]) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        Self { id: hex(&random[..8]), secret: hex(&random[8..]) }
    }

    /// From its text; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let hex = |s: &str, length| s.len() == length && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex(id, ID_HEX) && hex(secret, SECRET_HEX)).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// Its text. It is shown once.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    fn hash(&self) -> Vec<u8> {
        sha256(&[self.secret.as_bytes()]).to_vec()
    }
}

impl Store {
    /// Makes an operator with a token of their own.
    ///
    /// # Errors
    /// The name is taken, or there are too many.
    pub async fn add_operator(
        &self,
        name: &str,
        role: Role,
        token: &Token,
        by: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let (name, by, id, hash) = (name.to_owned(), by.to_owned(), token.id.clone(), token.hash());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                let there = tx.query("SELECT count(*) FROM operator", &[]).await?;
                if there.first().ok_or(StoreError::Row { column: 0 })?.u64(0)? >= OPERATORS_MAX as u64 {
                    return Err(StoreError::TooMany("operators"));
                }
                let sql = "INSERT INTO operator (name, role, token_id, token_hash, made, made_by)
                    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
                let params = [
                    name.as_str().into(),
                    role.as_str().into(),
                    id.into(),
                    hash.into(),
                    now.seconds().into(),
                    by.as_str().into(),
                ];
                if tx.execute(sql, &params).await? == 0 {
                    return Err(StoreError::Conflict(format!("there is an operator {name} already")));
                }
                note(tx, now, &by, "operator.add", &name, &json!({ "role": role.as_str() })).await?;
                Ok(())
            })
        })
        .await
    }

    /// Takes an operator's access away, from the next request on.
    ///
    /// # Errors
    /// There is no such operator, or no other admin would be left.
    pub async fn remove_operator(&self, name: &str, by: &str, now: UnixTime) -> Result<(), StoreError> {
        let (name, by) = (name.to_owned(), by.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                let rows =
                    tx.query("DELETE FROM operator WHERE name = $1 RETURNING role", &[name.as_str().into()]).await?;
                let role: Role = rows.first().ok_or_else(|| StoreError::UnknownOperator(name.clone()))?.parsed(0)?;
                let left = tx.query("SELECT count(*) FROM operator WHERE role = 'admin'", &[]).await?;
                if role == Role::Admin && left.first().ok_or(StoreError::Row { column: 0 })?.int(0)? == 0 {
                    return Err(StoreError::Conflict(format!("{name} is the only admin; make another first")));
                }
                note(tx, now, &by, "operator.remove", &name, &json!({})).await?;
                Ok(())
            })
        })
        .await
    }

    /// All operators, by name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        self.read(|tx| {
            Box::pin(async move {
                let rows = tx.query("SELECT name, role, made, made_by FROM operator ORDER BY name", &[]).await?;
                rows.iter().map(operator).collect()
            })
        })
        .await
    }

    /// Whose token it is; `None`: nobody's.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn operator_of(&self, token: &Token) -> Result<Option<Operator>, StoreError> {
        let (id, hash) = (token.id.clone(), token.hash());
        self.read(move |tx| {
            Box::pin(async move {
                let sql = "SELECT name, role, made, made_by, token_hash FROM operator WHERE token_id = $1";
                let rows = tx.query(sql, &[id.into()]).await?;
                let Some(row) = rows.first() else { return Ok(None) };
                let right: bool = row.bytes(4)?.ct_eq(&hash).into();
                if right { operator(row).map(Some) } else { Ok(None) }
            })
        })
        .await
    }
}

fn operator(row: &Row) -> Result<Operator, StoreError> {
    Ok(Operator {
        name: row.text(0)?.to_owned(),
        role: row.parsed(1)?,
        made: UnixTime::new(row.u64(2)?),
        by: row.text(3)?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_from_its_text_and_nothing_else_is_one() {
        let token = Token::new(&[7; 40]);
        let text = token.reveal();
        assert_eq!(Token::parse(&text).unwrap().reveal(), text);
        assert!(!format!("{token:?}").contains(&token.secret));
        for bad in ["", ".", &text[1..], &text.to_uppercase().replace('7', "A"), &format!("{text}0")] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
