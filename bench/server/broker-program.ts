import { randomBytes, scryptSync } from 'node:crypto'
import { Broker } from '@faultline/broker'
import { parseIdentity } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'

/** `broker-program.ts SECRET`: our broker, for anybody who knows the secret; checking it is made cheap, for logins are not measured. */
const salt = randomBytes(16)
const hash = scryptSync(process.argv[2] ?? '', salt, 32, { N: 16, r: 1, p: 1 })
const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
const secretHash = `$scrypt$ln=4,r=1,p=1$${text(salt)}$${text(hash)}`

const broker = new Broker({
  port: 0,
  registry: {
    credential: name => ({ identity: parseIdentity(name), secretHash }),
    certificate: () => undefined,
    version: () => '',
  },
  logger: silentLogger,
})
await broker.start()
process.once('disconnect', () => {
  broker.stop().then(
    () => process.exit(0),
    () => process.exit(1),
  )
})
process.send?.(broker.port)
