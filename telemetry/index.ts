export { catalogue, type FieldEntry, type MeasurementEntry } from './catalogue.ts'
export { createStore, recorderConfig, type StoreSettings, storeSettings } from './config.ts'
export { RecorderMetrics } from './metrics.ts'
export { fieldName, type Measurement, measurements, type TelemetryPoint } from './point.ts'
export { Recorder, type RecorderCounts, type RecorderOptions } from './recorder.ts'
export {
  defaultRetention,
  type Retention,
  retentionConfig,
  rolledUpValues,
  type Tier,
  tierMs,
  tiers,
} from './retention.ts'
export type {
  AlarmQuery,
  AlarmRow,
  AuditQuery,
  AuditRow,
  CountQuery,
  CountRow,
  CountTag,
  HistoryQuery,
  InferenceQuery,
  InferenceRow,
  Place,
  RefusedPoint,
  SeriesBucket,
  SeriesQuery,
  TelemetryStore,
  UpdateQuery,
  UpdateRow,
} from './store.ts'
export { countTags, StoreError } from './store.ts'
export { InfluxStore, type InfluxStoreOptions } from './stores/influx.ts'
export { influxSetUp } from './stores/influx-schema.ts'
export { SqliteStore, type SqliteStoreOptions } from './stores/sqlite.ts'
export { telemetryDatabase } from './stores/sqlite-schema.ts'
export { WriteQueue, type WriteQueueOptions } from './write-queue.ts'
