import { type TopicAddress, topicKinds, topicTemplates } from '@faultline/protocol'
import fc from 'fast-check'

/** Any valid identifier: 1 to 63 of a-z, 0-9 and "-", not starting with "-". */
export const identifier: fc.Arbitrary<string> = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/)

/** Any address of the contract, built without the functions under test but for its type. */
export const address: fc.Arbitrary<TopicAddress> = fc.constantFrom(...topicKinds).chain(kind => {
  const names = [...topicTemplates[kind].matchAll(/\{(\w+)\}/g)].map(match => match[1]!)
  return fc
    .tuple(...names.map(() => identifier))
    .map(values => ({ kind, ...Object.fromEntries(names.map((name, i) => [name, values[i]])) }) as TopicAddress)
})
