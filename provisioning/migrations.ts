import { certificateTable, formerSecretTable, registryTable } from '@faultline/protocol'
import type { StoreKind } from '@faultline/runtime'

/** Each runs once, in order; what was released is never edited. */
export const migrations: readonly string[] = [
  registryTable,
  `
ALTER TABLE identities ADD COLUMN site TEXT;
ALTER TABLE identities ADD COLUMN rotated_at TEXT;
CREATE TABLE audit_log (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  action TEXT NOT NULL CHECK (action IN ('enrolled', 'rotated', 'revoked')),
  name TEXT NOT NULL,
  actor TEXT NOT NULL
) STRICT;
CREATE INDEX audit_log_by_name ON audit_log (name, sequence);
CREATE TRIGGER audit_log_keeps_entries BEFORE DELETE ON audit_log
  BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_log_keeps_words BEFORE UPDATE ON audit_log
  BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;`,
  // More can happen to an identity than the first audit log had words for.
  `
${certificateTable};
CREATE INDEX certificates_by_name ON certificates (name);
DROP TRIGGER audit_log_keeps_entries;
DROP TRIGGER audit_log_keeps_words;
ALTER TABLE audit_log RENAME TO audit_log_1;
CREATE TABLE audit_log (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  action TEXT NOT NULL,
  name TEXT NOT NULL,
  actor TEXT NOT NULL
) STRICT;
INSERT INTO audit_log SELECT sequence, at, action, name, actor FROM audit_log_1;
DROP TABLE audit_log_1;
CREATE INDEX audit_log_by_name ON audit_log (name, sequence);
CREATE TRIGGER audit_log_keeps_entries BEFORE DELETE ON audit_log
  BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_log_keeps_words BEFORE UPDATE ON audit_log
  BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;`,
  // Credentials that end as planned, and certificates that devices fetch for themselves.
  `
${formerSecretTable};
CREATE INDEX former_secrets_by_end ON former_secrets (ends_at);
CREATE INDEX certificates_by_expiry ON certificates (expires_at);
CREATE INDEX certificates_by_revocation ON certificates (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE TABLE claims (
  name TEXT PRIMARY KEY REFERENCES identities (name),
  token_hash TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  claimed_at TEXT,
  certificate TEXT
) STRICT;
ALTER TABLE audit_log ADD COLUMN detail TEXT;`,
  // While one authority takes the place of another: who was told of which, and which signed what. Null: not known.
  `
ALTER TABLE identities ADD COLUMN believes TEXT;
ALTER TABLE certificates ADD COLUMN authority TEXT;`,
]

export const registryDatabase: StoreKind = {
  name: 'registry',
  tables: ['identities', 'audit_log'],
  migrations,
  counts: {
    identities: 'SELECT count(*) FROM identities WHERE revoked_at IS NULL',
    'revoked identities': 'SELECT count(*) FROM identities WHERE revoked_at IS NOT NULL',
  },
}
