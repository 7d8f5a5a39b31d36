// The surface of shared: the names that each entry point exports, and that index.ts and internal.ts load in a browser.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import * as index from './index.ts';
import * as node from './node.ts';
import * as testing from './testing.ts';

describe('the exports', () => {
  it('of index.ts are these', () => {
    expect(Object.keys(index).sort()).toEqual([
      'AgentError',
      'ERRORS',
      'FLOW',
      'FabricError',
      'LIMITS',
      'LOG_LEVELS',
      'Link',
      'REPLY_PREFIX',
      'RTYPE',
      'SYSTEM_PARTICIPANT',
      'agentAddressOf',
      'decode',
      'encode',
      'firstData',
      'firstText',
      'isErrorCode',
      'isFabricError',
      'isFinalState',
      'makeEnvelope',
      'memoryDial',
      'memoryPair',
      'newId',
      'parseAddress',
      'readParams',
      'rpcError',
      'rpcRequest',
      'rpcResult',
      'silentLog',
      'systemClock',
      'textMessage',
      'tryParseAddress',
      'webDial',
    ]);
  });

  it('of node.ts and testing.ts are these', () => {
    expect(Object.keys(node).sort()).toEqual([
      'AdmissionToken',
      'SECRET_FIELDS',
      'checkDataDir',
      'createLog',
      'createPrivateFile',
      'dataDirFault',
      'ensureLocalKey',
      'fileVariableOf',
      'findLocalKey',
      'isOpenToOthers',
      'localKeyFile',
      'makeDirectory',
      'openLinkSignatures',
      'probeDataDir',
      'readNodeSecurityProfile',
      'readSecret',
      'readSession',
      'readTokenFile',
      'replacePrivateFile',
      'rotateLocalKey',
      'searchDataDirs',
      'sessionFile',
      'sidOf',
      'withLogFields',
      'writeSession',
      'wsDial',
      'wsDialWith',
    ]);
    expect(Object.keys(testing).sort()).toEqual([
      'CaptureLog',
      'ManualClock',
      'ScriptedSentinel',
      'memoryDial',
      'memoryPair',
      'settle',
    ]);
  });
});

describe.each(['index.ts', 'internal.ts'])('%s', (name) => {
  // All files that a module loads, by its import and export lines. Type imports do not exist at run time.
  const loadedBy = (file: string, seen = new Map<string, string[]>()): Map<string, string[]> => {
    if (seen.has(file)) return seen;
    const source = readFileSync(file, 'utf8');
    const lines = source.matchAll(/^(?:import|export)\s+(?!type\b)(?:[^'"]*?from\s+)?['"]([^'"]+)['"]/gms);
    const specifiers = [...lines].map((match) => match[1]!);
    seen.set(file, specifiers);
    for (const specifier of specifiers) {
      if (specifier.startsWith('.')) loadedBy(resolve(dirname(file), specifier), seen);
    }
    return seen;
  };

  it('loads nothing that a browser does not have', () => {
    const loaded = loadedBy(fileURLToPath(new URL(`./${name}`, import.meta.url)));
    const outside = new Set([...loaded.values()].flat().filter((specifier) => !specifier.startsWith('.')));
    expect([...outside].filter((specifier) => specifier !== 'nanoid')).toEqual([]);
  });

  it('detects such an import', () => {
    const loaded = loadedBy(fileURLToPath(new URL('./node.ts', import.meta.url)));
    expect(new Set([...loaded.values()].flat())).toEqual(
      expect.objectContaining(new Set(['ws', 'pino', 'node:crypto'])),
    );
  });
});
