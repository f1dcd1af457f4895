import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { ImageExtents } from './images.ts'

/** Files that are taken for images. */
export const imageEndings: readonly string[] = ['.png', '.jpg', '.jpeg', '.webp', '.raw']

/**
 * Decodes a PNG, JPEG or WebP, turned as its EXIF data says, to bytes of the size asked for in height, width, channel order.
 * The whole picture is kept: one of other proportions is stretched, as most training code does. Colours become grey
 * for one channel; transparency is dropped. Throws `RECORDING_INVALID`, naming `file`.
 */
export async function decodeImage(
  bytes: Uint8Array,
  [height, width, channels]: ImageExtents,
  file: string,
): Promise<Uint8Array> {
  if (channels !== 1 && channels !== 3)
    throw new FaultlineError('RECORDING_INVALID', `${file}: the model takes ${channels} channels, a picture has 1 or 3`)
  // A native library: processes that read no pictures do not load it.
  const { default: sharp } = await import('sharp')
  try {
    const { data, info } = await sharp(bytes)
      .autoOrient()
      .resize(width, height, { fit: 'fill' })
      .removeAlpha()
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== channels) throw new Error(`it decodes to ${info.channels} channels, not ${channels}`)
    return data
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_INVALID', file)
  }
}
