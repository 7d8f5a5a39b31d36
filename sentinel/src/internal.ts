// Exports for the command and the tests of this repository, without a promise to users. Loads neither `ws` nor the wiring.
export { KeysChange } from './access/keys-change.ts';
export {
  defaultKeysFile,
  keysOf,
  type NamedKey,
  nameFault,
  patternFault,
  readKeysFile,
} from './access/keys-file.ts';
export { CLOSE } from './close-codes.ts';
export { readSentinelConfig, SENTINEL_VARIABLES, type SentinelConfig } from './config.ts';
