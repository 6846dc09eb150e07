//! How a centre begins, and what is done with its root key: with the daemon stopped, since the database has one owner.

use std::path::Path;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use secure_http::crypto::{KemKey, SigningKey};
use secure_http::{
    Fingerprint, PartyId, RevocationList, Role, Rules, Serial, Statement, StatementDraft, UnixTime, Validity,
};
use zeroize::Zeroizing;

use super::{BACKDATE_S, CentreError, DAY_S, POLICY_S, Stating, issue_policy};
use crate::key_file::{self, KeyFileError, Passphrase};
use crate::keyring::{KeyBytes, Keyring, KeyringError, Purpose, keys_of};
use crate::limits::ROOT_DAYS;
use crate::store::{Change, Standing, Stated, Store, issuer_id};

/// Why nothing was done with the root key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// A key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The centre itself.
    #[error(transparent)]
    Centre(#[from] CentreError),
    /// The key is another centre's.
    #[error("this is not the root key of this centre")]
    OtherRoot,
    /// Nobody of that name whose keys others know.
    #[error("there is no gateway or utility {0} with a statement in force")]
    Nobody(PartyId),
    /// The copy does not read back as it was written; the key is left where it is.
    #[error("the copy of the root key does not read back")]
    Copy,
    /// The file that was copied could not be removed.
    #[error("the root key was copied but {path} can't be removed", path = path.display())]
    Remove {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What a new centre is.
#[derive(Clone, Debug)]
pub struct Founding {
    /// Its name.
    pub id: PartyId,
    /// First half of its root key's thumbprint, which all tokens name.
    pub fingerprint: Fingerprint,
}

/// Makes a centre in `dir`: keys, its first statements, policy and empty list.
///
/// # Errors
/// There is one, or a file can't be written.
pub fn found(
    dir: &Path,
    keyring: &Keyring,
    id: PartyId,
    issuing_days: u64,
    now: UnixTime,
) -> Result<Founding, CentreError> {
    let mut rng = UnwrapErr(SysRng);
    let mut store = Store::create(dir)?;
    let (root, issuing) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
    let (sig, kem) = (SigningKey::generate(&mut rng), KemKey::generate(&mut rng));
    let mut storage = Zeroizing::new([0; 32]);
    rand_core::Rng::fill_bytes(&mut rng, storage.as_mut());
    for (purpose, key) in [
        (Purpose::Root, &root.to_bytes()),
        (Purpose::Issuing, &issuing.to_bytes()),
        (Purpose::Sig, &sig.to_bytes()),
        (Purpose::Kem, &kem.to_bytes()),
        (Purpose::Storage, &storage),
    ] {
        keyring.add(purpose, key, &mut rng)?;
    }
    let change = store.begin()?;
    let root_statement = by_root(&change, id, (Role::Root, root.public()), None, ROOT_DAYS, &root, now)?;
    let issuing_statement = by_root(&change, id, (Role::Issuing, issuing.public()), None, issuing_days, &root, now)?;
    let fingerprint = Fingerprint::of(root.public());
    let stating = Stating {
        subject: id,
        role: Role::Kmc,
        sig: sig.public(),
        kem: kem.public(),
        previous: None,
        seconds: secure_http::limits::STATEMENT_S_MAX - BACKDATE_S,
    };
    let draft = StatementDraft {
        kmc: id,
        subject: stating.subject,
        role: stating.role,
        serial: change.next_serial()?,
        validity: validity(now, stating.seconds)?,
        sig: stating.sig,
        kem: Some(stating.kem),
        previous: None,
        link: change.link_of(issuer_id(&issuing_statement))?,
    };
    add(&change, issuer_id(&issuing_statement), draft.issue(&issuing)?, now)?;
    change.add_policy(&issue_policy(id, 1, POLICY_S, &Rules::default(), &issuing, now)?, now)?;
    change.add_revocations(&RevocationList::issue(id, 1, now, Vec::new(), &issuing)?, now)?;
    change.audit(now, "kmc", "founded", id.as_str(), &super::hex(&fingerprint.0))?;
    debug_assert_eq!(root_statement.serial(), Serial(1));
    change.commit()?;
    Ok(Founding { id, fingerprint })
}

/// Copies the root key into a file under a passphrase of its own, reads it back, and then removes it here if that is wanted.
///
/// # Errors
/// No root key here, or a file that can't be written or removed.
pub fn export_root(
    store: &mut Store,
    keyring: &Keyring,
    to: &Path,
    passphrase: &Passphrase,
    remove: bool,
    now: UnixTime,
) -> Result<(), RootError> {
    let change = store.begin().map_err(CentreError::from)?;
    let root = own_root(&change)?;
    let key = keyring.signing(Purpose::Root, root.kid()).map_err(CentreError::from)?;
    key_file::write_new(to, key.to_bytes().as_ref(), Some(passphrase), &mut UnwrapErr(SysRng))?;
    if *key_file::read(to, Some(passphrase))? != key.to_bytes()[..] {
        return Err(RootError::Copy);
    }
    let audited =
        change.audit(now, "operator", "root-exported", root.kmc().as_str(), if remove { "removed here" } else { "" });
    audited.and_then(|()| change.commit()).map_err(CentreError::from)?;
    if remove {
        let path = keyring.path(Purpose::Root);
        std::fs::remove_file(&path).map_err(|source| RootError::Remove { path, source })?;
    }
    Ok(())
}

/// Puts an exported root key back.
///
/// # Errors
/// A file that is no key file, the wrong passphrase, or another centre's key.
pub fn import_root(
    store: &mut Store,
    keyring: &Keyring,
    from: &Path,
    passphrase: &Passphrase,
    now: UnixTime,
) -> Result<(), RootError> {
    let change = store.begin().map_err(CentreError::from)?;
    let root = own_root(&change)?;
    let (bytes, _) = exported(from, passphrase, &root)?;
    keyring.add(Purpose::Root, &bytes, &mut UnwrapErr(SysRng)).map_err(CentreError::from)?;
    let audited = change.audit(now, "operator", "root-imported", root.kmc().as_str(), "");
    Ok(audited.and_then(|()| change.commit()).map_err(CentreError::from)?)
}

/// Makes a new issuing key and has the root key state it: the one here, or one in an exported file. The daemon makes its own statement,
/// policy and list anew with it when it starts; parties get new statements when they ask.
///
/// # Errors
/// No root key, another centre's, or a lifetime beyond the bound.
pub fn sign_issuing(
    store: &mut Store,
    keyring: &Keyring,
    root_file: Option<(&Path, &Passphrase)>,
    days: u64,
    now: UnixTime,
) -> Result<UnixTime, RootError> {
    let change = store.begin().map_err(CentreError::from)?;
    let root = own_root(&change)?;
    let key = match root_file {
        Some((path, passphrase)) => exported(path, passphrase, &root)?.1,
        None => keyring.signing(Purpose::Root, root.kid()).map_err(CentreError::from)?,
    };
    let until = next_issuing(&change, keyring, &key, days, now)?;
    change.commit().map_err(CentreError::from)?;
    Ok(until)
}

/// The root key's word for the keys in force of a party that has lost those it had before: peers that know these go over to the new ones.
///
/// # Errors
/// No root key, another centre's, or nobody of that name in force.
pub fn recover(
    store: &mut Store,
    keyring: &Keyring,
    party: &PartyId,
    root_file: Option<(&Path, &Passphrase)>,
    now: UnixTime,
) -> Result<Serial, RootError> {
    let change = store.begin().map_err(CentreError::from)?;
    let root = own_root(&change)?;
    let active = change.active(party).map_err(CentreError::from)?;
    let active = active.filter(|stated| matches!(stated.statement.role(), Role::Gateway | Role::Utility));
    let active = active.ok_or(RootError::Nobody(*party))?;
    let key = match root_file {
        Some((path, passphrase)) => exported(path, passphrase, &root)?.1,
        None => keyring.signing(Purpose::Root, root.kid()).map_err(CentreError::from)?,
    };
    let serial = active.statement.serial();
    let proof = secure_http::confirm_succession(&active.statement, &key).map_err(CentreError::from)?;
    let done = change.set_succession(serial, &proof);
    let done = done.and_then(|()| change.audit(now, "operator", "recovered", &serial.0.to_string(), party.as_str()));
    done.and_then(|()| change.commit()).map_err(CentreError::from)?;
    Ok(serial)
}

fn next_issuing(
    change: &Change<'_>,
    keyring: &Keyring,
    root: &SigningKey,
    days: u64,
    now: UnixTime,
) -> Result<UnixTime, CentreError> {
    let old = change.own(Role::Issuing)?.ok_or(CentreError::Incomplete("issuing statement"))?;
    let issuing = SigningKey::generate(&mut UnwrapErr(SysRng));
    keyring.add(Purpose::Issuing, &issuing.to_bytes(), &mut UnwrapErr(SysRng))?;
    change.set_standing(old.statement.serial(), Standing::Superseded, None)?;
    let subject = (Role::Issuing, issuing.public());
    let previous = Some(old.statement.serial());
    let statement = by_root(change, old.statement.kmc(), subject, previous, days, root, now)?;
    change.audit(now, "operator", "issuing-key", &statement.serial().0.to_string(), &statement.kid().to_string())?;
    Ok(statement.validity().until())
}

fn own_root(change: &Change<'_>) -> Result<Statement, CentreError> {
    Ok(change.own(Role::Root)?.ok_or(CentreError::Incomplete("root statement"))?.statement)
}

/// The root key in an exported file, if it is this centre's.
fn exported(path: &Path, passphrase: &Passphrase, root: &Statement) -> Result<(KeyBytes, SigningKey), RootError> {
    let secret = key_file::read(path, Some(passphrase))?;
    let bytes = keys_of(&secret).ok_or_else(|| KeyFileError::Form(path.to_owned()))?.swap_remove(0);
    let key =
        SigningKey::from_bytes(&bytes).map_err(|error| CentreError::from(KeyringError::Key(path.to_owned(), error)))?;
    if key.public() != root.sig() {
        return Err(RootError::OtherRoot);
    }
    Ok((bytes, key))
}

/// Issues and adds a statement of the root key.
fn by_root(
    change: &Change<'_>,
    kmc: PartyId,
    (role, sig): (Role, &secure_http::crypto::VerifyingKey),
    previous: Option<Serial>,
    days: u64,
    root: &SigningKey,
    now: UnixTime,
) -> Result<Statement, CentreError> {
    let issuer = secure_http::key_id(root.public().to_bytes());
    let draft = StatementDraft {
        kmc,
        subject: kmc,
        role,
        serial: change.next_serial()?,
        validity: validity(now, days * DAY_S - BACKDATE_S)?,
        sig,
        kem: None,
        previous,
        link: change.link_of(issuer)?,
    };
    add(change, issuer, draft.issue(root)?, now)
}

fn validity(now: UnixTime, seconds: u64) -> Result<Validity, CentreError> {
    let from = UnixTime(now.0.saturating_sub(BACKDATE_S));
    Ok(Validity::new(from, now.plus(seconds)).ok_or(secure_http::StatementError::NotValid)?)
}

/// Adds a statement of the centre itself, active at once.
fn add(
    change: &Change<'_>,
    issuer: secure_http::KeyId,
    statement: Statement,
    now: UnixTime,
) -> Result<Statement, CentreError> {
    let stated = Stated {
        lineage: statement.serial(),
        standing: Standing::Active,
        made: now,
        sig_since: now,
        kem_since: now,
        overlap_until: None,
        succession: None,
        token: None,
        challenge: None,
        statement,
    };
    change.add(issuer, &stated)?;
    Ok(stated.statement)
}
