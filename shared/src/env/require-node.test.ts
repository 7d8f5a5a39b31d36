import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MIN_NODE_VERSION, requireNode } from './require-node.ts';

const ROOT = new URL('../../../', import.meta.url);

describe('the version of Node', () => {
  it.each(['24.0.0', '24.21.0', '30.1.0'])('%s is accepted', (version) => {
    expect(() => requireNode(version, '/bin/node')).not.toThrow();
  });

  it.each(['20.19.2', '22.21.1', '18.0.0'])('%s is refused with the required version', (version) => {
    expect(() => requireNode(version, '/bin/node')).toThrow(
      `Fame Fabric needs Node 24 or newer, and this is Node ${version} (/bin/node). Install Node 24`,
    );
  });

  it.each(['shared', 'sentinel', 'agents', 'client'])('is that of the package %s', (name) => {
    const { engines } = JSON.parse(readFileSync(new URL(`${name}/package.json`, ROOT), 'utf8'));
    expect(engines.node).toBe(`>=${MIN_NODE_VERSION}`);
  });

  it.each(['@fame-fabric/agents', '@fame-fabric/client/node', '@fame-fabric/sentinel'])(
    'a program that imports %s on an old Node fails and says why',
    (name) => {
      const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.2' } });`;
      const { status, stderr, stdout } = spawnSync(
        process.execPath,
        [
          '--conditions=fame-source',
          `--import=data:text/javascript,${encodeURIComponent(pretend)}`,
          '--input-type=module',
          '--eval',
          `import '${name}'; console.log('it ran');`,
        ],
        { cwd: ROOT, encoding: 'utf8' },
      );
      expect(stderr).toContain('Fame Fabric needs Node 24 or newer, and this is Node 20.19.2');
      expect(status).toBe(1);
      expect(stdout).toBe('');
    },
  );
});
