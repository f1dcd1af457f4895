import type { InferenceRow, TelemetryStore } from '@faultline/telemetry'
import type { PastPoint } from '../dashboard/machine-view.ts'
import { maxSamples, type TrendFeature, type TrendSample, trendFeatures } from '../dashboard/trend.ts'

type PointName = Pick<PastPoint, 'device' | 'point'>

/** Newest windows of a machine in which its points are looked for. */
const searchedWindows = 1_000
/** Windows of a point that are read: those of its trend, and revisions of some of them. */
const readWindows = maxSamples + 200
const minuteMs = 60_000
/** How far back summaries are read, for a point of which few windows were published one by one. */
const summariesMs = 6 * 60 * minuteMs

/**
 * What the store holds of a machine's points: those heard of and those among its newest windows, each with the newest of its
 * windows, and with what summaries say where these are few. `key` is `site/machine`. Throws `STORE_FAILED`.
 */
export async function readMachinePast(
  store: TelemetryStore,
  key: string,
  heard: readonly (PointName & { since?: number })[],
): Promise<PastPoint[]> {
  const [site, machine] = key.split('/')
  const found = await store.inferences({ site, machine, limit: searchedWindows })
  const points = new Map<string, PointName & { since?: number }>()
  for (const { device, point } of found) points.set(`${device}/${point}`, { device, point })
  for (const point of heard) points.set(`${point.device}/${point.point}`, point)
  const past: PastPoint[] = []
  for (const { device, point, since } of points.values()) {
    const place = { site, device, point, machine }
    const isWhole = found.length < searchedWindows
    const windows = isWhole
      ? found.filter(row => row.device === device && row.point === point)
      : await store.inferences({ ...place, limit: readWindows })
    past.push({ device, point, windows, summaries: await summariesOf(store, place, windows, since ?? Date.now()) })
  }
  return past
}

/** Means by the minute from before a time, as long as the windows do not fill the trend. */
async function summariesOf(
  store: TelemetryStore,
  place: Record<'site' | 'device' | 'point' | 'machine', string | undefined>,
  windows: readonly InferenceRow[],
  before: number,
): Promise<TrendSample[]> {
  if (windows.length >= maxSamples) return []
  const until = before - (before % minuteMs)
  const minutes = new Map<number, Partial<Record<TrendFeature, number>>>()
  for (const name of trendFeatures) {
    const buckets = await store.series({
      ...place,
      measurement: 'summary',
      field: `feature_${name}_mean`,
      since: until - summariesMs,
      until,
      every: minuteMs,
    })
    for (const { time, mean } of buckets) minutes.set(time, { ...minutes.get(time), [name]: mean })
  }
  return [...minutes].map(([time, features]) => ({ id: `summary minute ${time}`, time: time + minuteMs, features }))
}
