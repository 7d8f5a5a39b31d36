// The parts of shared that need Node: data directories, pino logs, sids, and WebSockets through `ws`.
import './env/require-node.ts';

export { AdmissionToken, findLocalKey } from './access/admission-token.ts';
export { ensureLocalKey, localKeyFile, readTokenFile, rotateLocalKey } from './access/local-key-file.ts';
export { createPrivateFile, isOpenToOthers, replacePrivateFile } from './access/private-file.ts';
export { fileVariableOf, readSecret } from './access/secret.ts';
export { checkDataDir, dataDirFault, makeDirectory, probeDataDir, searchDataDirs } from './data-dir.ts';
export {
  type NodeSecurityProfile,
  openLinkSignatures,
  readNodeSecurityProfile,
} from './link/open-signatures.ts';
export { wsDial, wsDialWith } from './link/ws-transport.ts';
export { withLogFields } from './log-context.ts';
export { createLog, SECRET_FIELDS } from './pino-log.ts';
export { readSession, sessionFile, writeSession } from './session-file.ts';
export { sidOf } from './sid.ts';
