// The parts of shared that need Node: pino logs, directories, path digests and WebSockets through `ws`.
export { checkDataDir, dataDirFault, makeDirectory } from './data-dir.ts';
export { wsDial } from './link/ws-transport.ts';
export { createLog, SECRET_FIELDS } from './pino-log.ts';
export { sidOf } from './sid.ts';
