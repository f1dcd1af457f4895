export { createStore, recorderConfig, type StoreSettings, storeSettings } from './config.ts'
export { fieldName, type Measurement, measurements } from './point.ts'
export { Recorder, type RecorderOptions } from './recorder.ts'
export type {
  AuditQuery,
  AuditRow,
  CountQuery,
  CountRow,
  CountTag,
  HistoryQuery,
  InferenceQuery,
  InferenceRow,
  Place,
  SeriesBucket,
  SeriesQuery,
  TelemetryStore,
} from './store.ts'
export { StoreError } from './store.ts'
export { InfluxStore, type InfluxStoreOptions } from './stores/influx.ts'
export { SqliteStore, type SqliteStoreOptions } from './stores/sqlite.ts'
