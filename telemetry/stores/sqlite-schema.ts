import type { StoreKind } from '@faultline/runtime'

/** A series is one measurement with one set of tags, as in InfluxDB: few of them, with many points each. */
export const migrations = [
  `CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    measurement TEXT NOT NULL,
    tags TEXT NOT NULL,
    UNIQUE (measurement, tags)
  ) STRICT;
  CREATE TABLE points (
    series INTEGER NOT NULL REFERENCES series (id),
    time INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (series, time, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX points_by_time ON points (time, offset)`,
  `CREATE TABLE rollups (
    tier TEXT NOT NULL,
    series INTEGER NOT NULL REFERENCES series (id),
    time INTEGER NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (tier, series, time)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX rollups_by_time ON rollups (tier, time);
  CREATE TABLE stale (
    tier TEXT NOT NULL,
    time INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    PRIMARY KEY (tier, time)
  ) STRICT, WITHOUT ROWID`,
  'CREATE TABLE clock (ms INTEGER NOT NULL) STRICT; INSERT INTO clock VALUES (0)',
]

export const telemetryDatabase: StoreKind = {
  name: 'telemetry store',
  tables: ['series', 'points'],
  migrations,
  reversals: { 3: 'DROP TABLE clock' },
  counts: { series: 'SELECT count(*) FROM series', points: 'SELECT count(*) FROM points' },
}

// InfluxDB merges the fields of a point written twice; json_patch does the same (RFC 7396, and no field is null).
export const insertPoint = `INSERT INTO points (series, time, offset, fields) VALUES (?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET fields = json_patch(fields, excluded.fields)`
export const insertSeries = 'INSERT INTO series (measurement, tags) VALUES (?, ?) ON CONFLICT DO NOTHING'
export const selectSeries = 'SELECT id FROM series WHERE measurement = ? AND tags = ?'
// In pieces, so that deleting a month of points does not hold up the process.
export const pruneSome = `DELETE FROM points WHERE (series, time, offset) IN
  (SELECT series, time, offset FROM points WHERE time < ? LIMIT 2000)`
// The clock by which points grow old, as it stood last.
export const readClock = 'SELECT ms FROM clock'
export const saveClock = 'UPDATE clock SET ms = ?'
export const pruneRollUps = 'DELETE FROM rollups WHERE tier = ? AND time < ?'
export const pruneSeries = `DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM points WHERE points.series = series.id)
  AND NOT EXISTS (SELECT 1 FROM rollups WHERE rollups.series = series.id)`
