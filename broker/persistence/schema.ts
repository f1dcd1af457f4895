import type { StoreKind } from '@faultline/runtime'

/**
 * What has to outlive a broker that is killed. Each script runs once, in order; what was released is never edited.
 * `queue.sequence` gives the order of queueing and nothing else (in stores of the first schema it was a time of day);
 * `queue.queued_at` is the time of the store's own clock, by which messages grow old.
 */
export const migrations: readonly string[] = [
  `
CREATE TABLE subscriptions (
  client TEXT NOT NULL,
  topic TEXT NOT NULL,
  qos INTEGER NOT NULL,
  options TEXT NOT NULL,
  PRIMARY KEY (client, topic)
) STRICT, WITHOUT ROWID;
CREATE TABLE queue (
  sequence INTEGER PRIMARY KEY,
  client TEXT NOT NULL,
  broker_id TEXT NOT NULL,
  counter INTEGER NOT NULL,
  message_id INTEGER,
  released INTEGER NOT NULL DEFAULT 0,
  is_order INTEGER NOT NULL,
  topic TEXT NOT NULL,
  payload ANY NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  UNIQUE (client, broker_id, counter)
) STRICT;
CREATE INDEX queue_by_client ON queue (client, sequence, is_order);
CREATE INDEX queue_by_message_id ON queue (client, message_id) WHERE message_id IS NOT NULL;
CREATE TABLE retained (
  topic TEXT PRIMARY KEY,
  payload ANY NOT NULL,
  qos INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE incoming (
  client TEXT NOT NULL,
  message_id INTEGER NOT NULL,
  topic TEXT NOT NULL,
  payload ANY NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  PRIMARY KEY (client, message_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE wills (
  client TEXT PRIMARY KEY,
  broker_id TEXT,
  topic TEXT NOT NULL,
  payload ANY NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL
) STRICT, WITHOUT ROWID;`,
  // What waits already grows old from here on: the clock that it was queued by may have been wrong.
  `
ALTER TABLE queue ADD COLUMN queued_at INTEGER NOT NULL DEFAULT 0;
CREATE TABLE clock (ms INTEGER NOT NULL) STRICT;
INSERT INTO clock (ms) VALUES (0);`,
]

export const brokerStore: StoreKind = {
  name: 'broker store',
  tables: ['subscriptions', 'queue', 'retained', 'incoming'],
  migrations,
  reversals: { 2: 'ALTER TABLE queue DROP COLUMN queued_at; DROP TABLE clock' },
  counts: {
    sessions: 'SELECT count(DISTINCT client) FROM subscriptions',
    'queued messages': 'SELECT count(*) FROM queue',
    'retained messages': 'SELECT count(*) FROM retained',
  },
}
