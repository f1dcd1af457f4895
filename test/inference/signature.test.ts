import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Classifier, createSigningKey, loadBundle, readSignature, signBundle, writeBundle } from '@faultline/inference'
import { copyOf, editDescription, withCode } from './bundles.ts'

const maker = createSigningKey()
const stranger = createSigningKey()

async function signed(t: TestContext, key = maker): Promise<string> {
  const directory = await copyOf(t, 'tiny-features')
  await signBundle(await loadBundle(directory), key.privateKey)
  return directory
}

test('a signed bundle is loaded by those who trust its maker', async t => {
  const directory = await signed(t)
  const bundle = await loadBundle(directory, { trusted: [stranger.publicKey, maker.publicKey] })
  assert.deepEqual(await readSignature(bundle), { keyId: maker.keyId, publicKey: maker.publicKey })
  const classifier = await Classifier.load(directory, { engine: 'onnx', trusted: [maker.publicKey] })
  await classifier.dispose()
})

test('a bundle signed by somebody else is refused, also where nobody is trusted', async t => {
  const directory = await signed(t, stranger)
  for (const trusted of [[maker.publicKey], []])
    await assert.rejects(
      loadBundle(directory, { trusted }),
      withCode('BUNDLE_SIGNATURE_INVALID', new RegExp(`${stranger.keyId}.*not trusted`)),
    )
  await assert.rejects(
    Classifier.load(directory, { engine: 'onnx', trusted: [maker.publicKey] }),
    withCode('BUNDLE_SIGNATURE_INVALID'),
  )
})

test('an unsigned bundle is refused only where a trust list is given', async t => {
  const directory = await copyOf(t, 'tiny-features')
  assert.equal(await readSignature(await loadBundle(directory)), undefined)
  await assert.rejects(loadBundle(directory, { trusted: [maker.publicKey] }), withCode('BUNDLE_UNSIGNED'))
})

test('a bundle changed after it was signed is refused', async t => {
  const trusted = [maker.publicKey]
  const described = await signed(t)
  await editDescription(described, description => {
    description.version = '9.9.9'
  })
  await assert.rejects(loadBundle(described, { trusted }), withCode('BUNDLE_SIGNATURE_INVALID', /not the signature/))
  const network = await signed(t)
  const bytes = await readFile(join(network, 'network.onnx'))
  bytes[bytes.length >> 1]! ^= 1
  await writeFile(join(network, 'network.onnx'), bytes)
  await assert.rejects(loadBundle(network, { trusted }), withCode('BUNDLE_DIGEST_MISMATCH'))
})

test("another bundle's signature is refused", async t => {
  const directory = await copyOf(t, 'tiny-signal')
  await copyFile(join(await signed(t), 'bundle.sig'), join(directory, 'bundle.sig'))
  await assert.rejects(loadBundle(directory, { trusted: [maker.publicKey] }), withCode('BUNDLE_SIGNATURE_INVALID'))
})

type SignatureFile = Record<'algorithm' | 'keyId' | 'publicKey' | 'signature', string>

test('a damaged signature is refused and named', async t => {
  const directory = await signed(t)
  const path = join(directory, 'bundle.sig')
  const whole = JSON.parse(await readFile(path, 'utf8')) as SignatureFile
  const damaged: [string, RegExp][] = [
    ['', /bundle\.sig/],
    ['{', /bundle\.sig/],
    ['[]', /bundle\.sig/],
    [JSON.stringify({ ...whole, algorithm: 'none' }), /algorithm/],
    [JSON.stringify({ ...whole, signature: whole.signature.slice(1) }), /signature/],
    [JSON.stringify({ ...whole, signature: 'A'.repeat(86) }), /not the signature/],
    [JSON.stringify({ ...whole, publicKey: stranger.publicKey, keyId: stranger.keyId }), /not the signature/],
    [JSON.stringify({ ...whole, keyId: stranger.keyId }), /not the signature/],
    [JSON.stringify({ ...whole, note: 'more' }), /note/],
  ]
  for (const [text, words] of damaged) {
    await writeFile(path, text)
    await assert.rejects(
      loadBundle(directory, { trusted: [maker.publicKey] }),
      withCode('BUNDLE_SIGNATURE_INVALID', words),
      text,
    )
  }
})

test('what is no Ed25519 key is refused, on either side', async t => {
  const directory = await signed(t)
  const bundle = await loadBundle(directory)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  await assert.rejects(signBundle(bundle, String(rsa)), withCode('CONFIG_INVALID', /rsa/))
  await assert.rejects(signBundle(bundle, 'secret'), withCode('CONFIG_INVALID', /PEM/))
  await assert.rejects(loadBundle(directory, { trusted: ['secret'] }), withCode('CONFIG_INVALID'))
})

test('a bundle that is written anew has no signature', async t => {
  const directory = await signed(t)
  const { formats: _, ...description } = (await loadBundle(directory)).description
  const bundle = await writeBundle(directory, description, { onnx: await readFile(join(directory, 'network.onnx')) })
  assert.equal(await readSignature(bundle), undefined)
})
