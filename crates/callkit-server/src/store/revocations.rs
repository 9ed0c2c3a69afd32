//! Tokens that count no longer, until they would have ended anyway.

use call_protocol::AppId;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::Store;
use crate::clock::unix_s;
use crate::revoked::{Revocation, RevokedKey};
use crate::token::Apps;

/// App and digest to the moment until which tokens were issued that it holds for, and until when it is kept, in s since 1970.
pub(super) const REVOCATIONS: TableDefinition<'static, (&str, &[u8]), (u64, u64)> =
    TableDefinition::new("revocations-1");

pub(super) struct Change {
    app: AppId,
    digest: [u8; 32],
    revocation: Revocation,
}

impl Store {
    /// Keeps the revocation, soon.
    pub(crate) fn revoke(&self, app: &AppId, key: RevokedKey, revocation: Revocation) {
        let change = Change { app: app.clone(), digest: key.digest, revocation };
        self.change(super::Change::Revocation(Box::new(change)));
    }
}

/// Hands what still holds to the apps that are still served, and forgets what is over.
pub(super) fn read(database: &Database, apps: &Apps) -> Result<(), redb::Error> {
    let now_s = unix_s();
    let transaction = database.begin_read()?;
    for row in transaction.open_table(REVOCATIONS)?.iter()? {
        let (key, value) = row?;
        let ((app, digest), (issued_until_s, until_unix_s)) = (key.value(), value.value());
        let (Some(app), Ok(digest)) = (apps.find(app), digest.try_into()) else { continue };
        if until_unix_s >= now_s {
            apps.revoked().add(RevokedKey { app, digest }, Revocation { issued_until_s, until_unix_s }, now_s);
        }
    }
    drop(transaction);
    let transaction = database.begin_write()?;
    transaction.open_table(REVOCATIONS)?.retain(|_, (_, until_unix_s)| until_unix_s >= now_s)?;
    transaction.commit()?;
    Ok(())
}

pub(super) struct Writer<'a>(Table<'a, (&'static str, &'static [u8]), (u64, u64)>);

impl<'a> Writer<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self(transaction.open_table(REVOCATIONS)?))
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<(), redb::Error> {
        let Change { app, digest, revocation: Revocation { issued_until_s, until_unix_s } } = change;
        self.0.insert((app.as_str(), digest.as_slice()), (*issued_until_s, *until_unix_s))?;
        Ok(())
    }
}
