export { createSigningKey, publicKeyText } from '@faultline/protocol'
export { type AuditAccount, AuditLedger, type AuditLedgerState } from './audits/audit-ledger.ts'
export { type AuditTarget, auditRateFor, auditsFor } from './audits/audit-rate.ts'
export type { Bundle } from './bundle/bundle.ts'
export {
  type BundleDescription,
  bundleDescription,
  type InputDescription,
  type ReliabilityTable,
} from './bundle/description.ts'
export { verifyGolden } from './bundle/golden.ts'
export { imageExtents, inputShape, inputSize, needsShaftSpeed, type PreparedInput, prepare } from './bundle/input.ts'
export { describeBundle, type LoadOptions, loadBundle } from './bundle/loader.ts'
export { probabilitiesOf } from './bundle/output.ts'
export { readSignature, signBundle } from './bundle/signature.ts'
export { type BundleNetworks, recalibrateBundle, type TfjsArtifacts, writeBundle } from './bundle/writer.ts'
export {
  Calibration,
  type CalibrationModel,
  calibrationModel,
  type FitOptions,
  type LabelledAnswer,
} from './calibration/calibration.ts'
export { type Outcome, type Reliability, type ReliabilityBin, reliabilityOf } from './calibration/reliability.ts'
export {
  FEWEST_CONTRADICTIONS,
  type PairedAnswer,
  ServerTrust,
  type ServerTrustModel,
} from './calibration/server-trust.ts'
export { type Classification, classificationOf, isValid } from './classification.ts'
export {
  type Classified,
  Classifier,
  type ClassifierOptions,
  type LoadedClassifier,
  loadClassifier,
} from './classifier.ts'
export {
  Commissioning,
  type CommissioningOptions,
  type CommissioningSnapshot,
  type CommissioningState,
  type Judgement,
  rateSupportedBy,
} from './commissioning/commissioning.ts'
export { type ChooseOptions, chooseEngine, type EngineChoice } from './engines/choose.ts'
export { createEngine } from './engines/create.ts'
export { type Engine, type EngineName, engineNames, type Network } from './engines/engine.ts'
export { type OnnxFile, openOnnx } from './engines/onnx.ts'
export { importTfjsNode } from './engines/tfjs-node.ts'
export { AuditedPolicy, type AuditOptions } from './policies/audit.ts'
export { createPolicy, type PolicySettings, policyNames } from './policies/create.ts'
export { type EpisodeOptions, EpisodicPolicy } from './policies/episodes.ts'
export { type PolicyModel, policyModelOf } from './policies/factory.ts'
export type {
  Decision,
  DecisionContext,
  DecisionToken,
  ErrorCosts,
  Feedback,
  LocalResult,
  Policy,
  PolicyState,
} from './policies/policy.ts'
export { checkEvidence } from './pooling/check.ts'
export { capped, type Evidence, MOST_VERDICTS, type Poolable, pooled } from './pooling/evidence.ts'
export { type Circumstances, checkPriceList, leastPrice, type Quote, quote, unitOf } from './prices/price.ts'
export { Random, type RandomState } from './random.ts'
export * from './recordings/index.ts'
export { type Bearing, type BearingGeometry, bearingOf, frequenciesHz, skf6203, skf6205 } from './signal/bearing.ts'
export {
  type BearingDescription,
  bearingDescription,
  bearingFrom,
  knownBearings,
} from './signal/bearing-description.ts'
export { checkWindow } from './signal/check.ts'
export { envelope, envelopeSpectrum, wideBand } from './signal/envelope.ts'
export { checkFeatureNames, extractFeatures, featureNames, featureVector } from './signal/features.ts'
export { orderBands } from './signal/order-bands.ts'
export { type Cursor, type Portrait, portraitOf, type SpectrumLine } from './signal/portrait.ts'
export { represent, representationNames } from './signal/representations.ts'
export { Resampler, type ResamplingRatio, resample, resamplingRatio } from './signal/resampling.ts'
export { amplitudeSpectrum, bandShares, type Spectrum } from './signal/spectrum.ts'
export { type TimeFeatures, timeFeatures } from './signal/time-features.ts'
export { velocityRms } from './signal/velocity.ts'
export { BearingSimulator, type SimulatorOptions } from './simulation/bearing-simulator.ts'
export { type Growth, growing, type Severity } from './simulation/severity.ts'
export type { Window } from './window.ts'
