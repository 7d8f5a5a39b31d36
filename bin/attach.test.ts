// The notes of a command whose connection is lost, against a real sentinel.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@fame-fabric/client';
import { readSentinelConfig, startSentinel } from '@fame-fabric/sentinel';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { systemClock } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { attach } from './attach.ts';
import { readClientConfig } from './config.ts';

test('a command whose key is removed prints the reason of the refused attach once', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'fame-attach-'));
  const keys = new KeysChange(join(dataDir, 'keys'), systemClock);
  const { token } = await keys.add({ name: 'ada', role: 'client' });
  const sentinel = await startSentinel({ ...readSentinelConfig({ FAME_DATA_DIR: dataDir }), port: 0 });
  const notes: string[] = [];
  let client: Client | undefined;
  try {
    const refused = Promise.withResolvers<void>();
    client = await attach({
      config: readClientConfig({ FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_ADMISSION_TOKEN: token }),
      writeNote: (text) => {
        notes.push(text);
        refused.resolve();
      },
      onConnection: (isConnected) => notes.push(isConnected ? 'connected' : 'lost'),
    });
    await keys.remove('ada');
    await refused.promise;
    expect(notes).toEqual([
      'lost',
      expect.stringMatching(/refused the key from FAME_ADMISSION_TOKEN\. .*\(AUTH_INVALID\)\n$/),
    ]);
  } finally {
    await client?.close();
    await sentinel.close();
    rmSync(dataDir, { recursive: true });
  }
});
