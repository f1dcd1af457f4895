import { join } from 'node:path'
import { type Command, parseInteger } from '@faultline/runtime'
import { mosquittoFiles, writeMosquitto } from '../mosquitto.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags {
  registry: string
  directory: string
  host: string[]
  port: number
}

export function addMosquitto(program: Command): void {
  withRegistry(program.command('mosquitto'))
    .description("write what a Mosquitto in place of this project's broker runs on; again after every change")
    .requiredOption('--directory <directory>', 'for mosquitto.conf, acl, certificates and the store')
    .option('--host <names...>', 'host names and addresses that clients reach it under', ['localhost', '127.0.0.1'])
    .option('--port <port>', 'MQTT over TLS', parseInteger(1, 65_535), 8_883)
    .action(write)
}

async function write({ registry: path, directory, host, port }: Flags): Promise<void> {
  await withOpen(path, async registry => {
    const count = await writeMosquitto(registry, path, { directory, port, hosts: host })
    const configuration = join(directory, mosquittoFiles.configuration)
    say(`wrote ${directory}: the rights of ${count} identities`)
    say(`start    mosquitto -c ${configuration}\nchanged  run this again, and send Mosquitto SIGHUP`)
  })
}
