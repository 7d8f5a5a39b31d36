// Compares the documents with the code: tables with the tables that they describe, samples with the example files, links, file
// names, commands and make targets with those that exist. A missing row is printed in the form that it should have.
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CLOSE } from '@fame-fabric/sentinel/internal';
import { ERRORS, LIMITS } from '@fame-fabric/shared';
import { isFrameType, NAYLENCE_VARIABLES } from '@fame-fabric/shared/internal';
import { describe, expect, test } from 'vitest';
import {
  cell,
  DOC_TABLES,
  ERROR_AREAS,
  type ListedVariable,
  rowsOf,
  section,
  VARIABLE_LISTS,
  withRows,
} from './kit/doc-tables.ts';
import { ROOT } from './kit/processes.ts';

/** The table of commands; `bin` is another project of the compiler, so it is imported by its path. */
const { VERBS } = (await import(join(ROOT, 'bin/verbs.ts'))) as {
  VERBS: Readonly<Record<string, { about: string; isHidden?: boolean }>>;
};
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const DOCUMENTS = [
  '*.md',
  'docs/**/*.md',
  '{bench,test,agents,client,doors,sentinel,shared,packages}/**/*.md',
].flatMap((pattern) => globSync(pattern, { cwd: ROOT, exclude: ['**/node_modules/**'] }));
describe('tables of the code', () => {
  test.each(DOC_TABLES.map((table) => [table.file, table.heading, table] as const))(
    '%s, %s: `npm run docs` would change nothing',
    (file, heading, table) => {
      expect(rowsOf(section(read(file), heading))).toEqual(table.rows);
    },
  );

  test('the documents have no other rows, and errors.md no other areas', () => {
    for (const file of ['docs/errors.md', 'docs/configuration.md']) {
      const rows = DOC_TABLES.filter((table) => table.file === file).flatMap((table) => table.rows);
      expect(rowsOf(read(file))).toEqual(rows);
    }
    expect(read('docs/errors.md').match(/^## \w+$/gm)).toEqual(ERROR_AREAS.map((area) => `## ${area}`));
  });

  test('missing rows are added, obsolete ones removed, and other text is kept', () => {
    const text = '# T\n\n## a\n\nWords.\n\n| Code |\n|---|\n| `OLD` |\n\nMore.\n\n## b\n\n| `B` |\n';
    const table = { file: '', heading: '## a', rows: ['| `NEW` |', '| `$&` |'] };
    const updated = withRows(text, table);
    expect(updated).toBe(text.replace('| `OLD` |', () => table.rows.join('\n')));
    expect(withRows(updated, table)).toBe(updated);
  });

  test('fixes of errors name commands that exist', () => {
    for (const [code, { fix }] of Object.entries(ERRORS)) {
      for (const [, verb] of fix.matchAll(/`npx fame-fabric ([a-z-]+)/g))
        expect(VERBS, code).toHaveProperty(verb!);
    }
  });

  test('texts name the command as npx finds it: the package `fame` on npm is another project', () => {
    const sources = globSync('{bin,shared,sentinel,agents,client,doors}/**/*.{ts,yaml}', {
      cwd: ROOT,
      exclude: ['**/node_modules/**', '**/dist/**'],
    });
    const files = [...DOCUMENTS.filter((file) => file !== 'CHANGELOG.md'), ...sources];
    expect(files.filter((file) => /npx\s+fame(?![-\w])/.test(read(file)))).toEqual([]);
  });

  test('documents for users name commands as they are typed, with npx', () => {
    const names = Object.keys(VERBS).join('|');
    const forUsers = DOCUMENTS.filter(
      (file) => !/bench|CHANGELOG|CONTRIBUTING|decisions|releasing|upgrading/.test(file),
    );
    const short = new RegExp(`\`fame (?:${names})\\b`);
    expect(forUsers.filter((file) => short.test(read(file)))).toEqual([]);
  });

  test('a variable that several processes read has one unit and one default', () => {
    const seen = new Map<string, ListedVariable>();
    for (const variable of VARIABLE_LISTS.flatMap(([, variables]) => variables)) {
      const { name } = variable;
      const first = seen.get(name) ?? variable;
      seen.set(name, first);
      expect([name, variable.unit]).toEqual([name, first.unit]);
      // A sentinel keeps its id over restarts; an agent does not.
      if (name !== 'FAME_NODE_ID') expect([name, variable.default]).toEqual([name, first.default]);
    }
  });

  test('.env.example, the compose file and the documents name variables that exist', () => {
    const ours = VARIABLE_LISTS.flatMap(([, variables]) => variables.map(({ name }) => name));
    const known = new Set([...ours, ...NAYLENCE_VARIABLES.map(({ name }) => name)]);
    // Tests have variables of their own, such as FAME_TEST_NATS_SERVER.
    const documents = DOCUMENTS.filter((file) => !file.startsWith('test/'));
    for (const file of ['.env.example', 'docker-compose.yml', ...documents]) {
      for (const name of new Set(read(file).match(/\b(?:FAME(?!_TEST)|OPENAI)_[A-Z][A-Z_]+[A-Z]\b/g) ?? [])) {
        expect(known, `${name} in ${file}`).toContain(name);
      }
    }
  });
});

describe('docs/protocol.md', () => {
  const text = read('docs/protocol.md');

  test('names every close code of the sentinel, and no other of its own', () => {
    const listed = rowsOf(section(text, '## Close codes')).map((row) => Number(/\d{4}/.exec(row)![0]));
    expect(listed.toSorted()).toEqual(Object.values(CLOSE).toSorted());
  });

  test('lists the frames that exist', () => {
    const frames = rowsOf(section(text, '## Frames')).flatMap((row) =>
      [...row.split('|')[1]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!),
    );
    expect(frames.filter((name) => !isFrameType(name))).toEqual([]);
    const types = [...read('shared/src/protocol/envelope.ts').matchAll(/type: '(\w+)'/g)].map(
      ([, name]) => name!,
    );
    const opaque = ['SecureOpen', 'SecureAccept', 'SecureClose', 'KeyRequest', 'KeyAnnounce'];
    expect(new Set(frames)).toEqual(new Set([...types, ...opaque].filter(isFrameType)));
  });

  test('has every limit with its number', () => {
    const limits = section(text, '## Limits');
    for (const [name, value] of Object.entries(LIMITS)) {
      expect(limits, name).toContain(`| \`${name}\` | ${value.toLocaleString('en-US')} |`);
    }
  });
});

describe('links and names', () => {
  test.each(DOCUMENTS)('%s links to what exists', (file) => {
    const text = read(file).replace(/^```[\s\S]*?^```/gm, '');
    for (const [, linkTarget, image] of text.matchAll(/\]\(([^)\s]+)\)|<img src="([^"]+)"/g)) {
      const target = linkTarget ?? image;
      if (/^[a-z]+:/.test(target!)) continue;
      const [path, anchor] = target!.split('#') as [string, string?];
      const linked = path === '' ? file : join(dirname(file), path);
      expect(existsSync(join(ROOT, linked)), `${target} in ${file}`).toBe(true);
      if (anchor === undefined || !linked.endsWith('.md')) continue;
      const anchors = [...read(linked).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
        heading!
          .toLowerCase()
          .replace(/[^\w\s-]/g, '')
          .trim()
          .replaceAll(' ', '-'),
      );
      expect(anchors, `${target} in ${file}`).toContain(anchor);
    }
  });

  const sourceNames = new Set(
    globSync(
      '{shared,sentinel,agents,client,doors,packages,bin,test,bench,.ci}/**/*.{ts,tsx,mjs,json,py,html}',
      {
        cwd: ROOT,
        exclude: ['**/node_modules/**', '**/dist/**'],
      },
    ).map((file) => basename(file)),
  );

  test.each(DOCUMENTS)('%s names files that exist', (file) => {
    const lost: string[] = [];
    for (const [, path] of read(file).matchAll(/`((?:\.?[\w-]+\/)*[\w.-]+\.(?:ts|mjs|md|json|ya?ml|py))`/g)) {
      const exists = path!.includes('/')
        ? [path!, join(dirname(file), path!)].some((each) => existsSync(join(ROOT, each)))
        : !/\.(?:ts|mjs)$/.test(path!) || sourceNames.has(path!);
      // `name.test.ts` is a placeholder, and the command writes the files in `.fame`.
      if (!exists && path !== 'name.test.ts' && !path!.startsWith('.fame/')) lost.push(path!);
    }
    expect(lost).toEqual([]);
  });

  test.each(DOCUMENTS)('%s names folders that exist', (file) => {
    const named = read(file).matchAll(
      /`((?:shared|sentinel|agents|client|bin|test|bench|docs)\/(?:[\w-]+\/)*[\w-]*\/?)`/g,
    );
    const lost = [...named].map(([, path]) => path!).filter((path) => !existsSync(join(ROOT, path)));
    expect(lost).toEqual([]);
  });

  test('each decision has a number of its own and three sections', () => {
    const files = globSync('docs/decisions/*.md', { cwd: ROOT }).sort();
    const numbers = files.map((file) => Number(/\/(\d{4})-/.exec(file)?.[1]));
    expect(numbers).not.toContain(Number.NaN);
    expect(new Set(numbers).size).toBe(files.length);
    for (const file of files) {
      for (const heading of ['## Decision', '## Why', '## Rejected'])
        expect(read(file), file).toContain(heading);
    }
  });
});

describe('docs/guarantees.md', () => {
  const text = read('docs/guarantees.md');
  const tableRows = text.split('\n').filter((line) => line.startsWith('| '));
  const claims = tableRows.filter((row) => row.includes('.test.ts'));

  test.each(claims)('%s', (row) => {
    const tests = [
      ...row.matchAll(/\]\(\.\.\/((?:test|agents\/src|sentinel\/src|shared\/src)\/[^)]+\.ts)\)/g),
    ]
      .map(([, path]) => read(path!))
      .join('\n');
    expect(tests).toMatch(/\btest\(|\bit\(|\btest\.each\(/);
    for (const [, id] of row.matchAll(/\((P\d+)/g)) expect(tests).toMatch(new RegExp(`\\b${id}\\b`));
  });

  test('there are claims, and the crash matrix has the points and victims that the test kills at', () => {
    expect(claims.length).toBeGreaterThan(5);
    // Read, not imported: an import of the suite requires a build.
    const [points, victims] = ['POINTS', 'VICTIMS'].map((list) => {
      const [, items] = new RegExp(`const ${list}\\b[^=]*= \\[([^\\]]*)\\]`).exec(
        read('test/crash/matrix.ts'),
      )!;
      return [...items!.matchAll(/'([^']+)'/g)].map(([, item]) => item!);
    });
    const [head, , ...rows] = section(text, '### Crash matrix')
      .split('\n')
      .filter((line) => line.startsWith('|'));
    expect(head).toBe(`| killed at | ${victims!.join(' | ')} |`);
    expect(rows.map((row) => row.split('|')[1]!.trim())).toEqual(points);
  });
});

describe('commands', () => {
  const targets = new Set([...read('Makefile').matchAll(/^([a-z-]+):/gm)].map(([, name]) => name!));
  /** Scripts of this repository, and those of an app that `npm create fame-app` makes. */
  const scripts = [...Object.keys(JSON.parse(read('package.json')).scripts), 'dev', 'chat'];

  test.each(DOCUMENTS)('%s shows commands that exist', (file) => {
    const text = read(file);
    // Blocks of other languages match too: their fences must not count as the fences of a block of commands.
    const code = [...text.matchAll(/^```(\w*)[^\n]*\n([\s\S]*?)^```|`([^`\n]+)`/gm)]
      .filter(([, language]) => ['', 'sh', 'console', 'text', undefined].includes(language))
      .map(([, , block, inline]) => block ?? inline ?? '')
      .flatMap((snippet) => snippet.split('\n'))
      .map((line) =>
        line
          .replace(/^\$ /, '')
          .replace(/\s#.*$/, '')
          .replace(/^(?:[A-Z_]+=\S*\s+)+/, '')
          .trim(),
      );
    for (const line of code) {
      const make = /^make ((?:[a-z-]+ ?)+)(?:[A-Z_]+=|$)/.exec(line);
      for (const target of make?.[1]?.trim().split(/\s+/) ?? [])
        expect(targets, `${line} in ${file}`).toContain(target);
      const verb = /(?:^|\bnpx |\/|\| )fame ([a-z-]+)(?: |$)/.exec(line)?.[1];
      if (verb) expect(['help', ...Object.keys(VERBS)], `${line} in ${file}`).toContain(verb);
      const script = /^npm run ([a-z-]+)/.exec(line)?.[1];
      if (script) expect(scripts, `${line} in ${file}`).toContain(script);
    }
  });
});

test('docs/commands.md lists every command and every public make target', () => {
  const text = read('docs/commands.md');
  for (const [name, { about, isHidden }] of Object.entries(VERBS)) {
    if (!isHidden) expect(rowsOf(text)).toContain(`| \`npx fame-fabric ${name}\` | ${cell(about)} |`);
  }
  for (const [, target] of read('Makefile').matchAll(/^([a-z-]+):.*## /gm)) {
    if (target !== 'help') expect(text).toContain(`make ${target}`);
  }
});

describe('samples', () => {
  // ```ts agents/examples/weather-agent.ts: the words after the language name the file that the block is.
  const samples = DOCUMENTS.flatMap((file) =>
    [...read(file).matchAll(/^```\w+ ([\w./-]+)\n([\s\S]*?)^```/gm)].map(
      ([, path, text]) => [`${path} in ${file}`, path!, text!] as const,
    ),
  );

  test.each(samples)('%s is the file as it runs', (_name, path, text) => {
    expect(text).toBe(read(path));
  });

  test('the README, the guides on web pages and Python, and docs/naylence.md show their programs', () => {
    const shown = samples.map(([name]) => name);
    for (const sample of [
      'agents/examples/weather-agent.ts in README.md',
      'client/examples/page.html in docs/guides/web.md',
      'packages/react/examples/web/src/app.tsx in docs/guides/web.md',
      'test/interop/samples/talk.mjs in docs/naylence.md',
      'test/interop/samples/talk.py in docs/guides/python.md',
      'test/interop/samples/greeter.py in docs/guides/python.md',
      'test/interop/samples/greeter.ts in docs/naylence.md',
      ...globSync('docs/operating/*', { cwd: ROOT }).map((file) => `${file} in docs/operating.md`),
    ]) {
      expect(shown).toContain(sample);
    }
  });

  test('the README fits on two screens before its reference part', () => {
    const lines = read('README.md').split('\n');
    expect(lines.indexOf('## Reference')).toBeLessThan(140);
  });
});

test('.ci/long lists its steps', () => {
  const { status, stdout } = spawnSync('bash', [join(ROOT, '.ci/long'), 'no-step'], { encoding: 'utf8' });
  expect(stdout).toMatch(/^Unknown step "no-step"/);
  for (const step of ['crash-matrix', 'fuzz', 'bench'])
    expect(stdout).toMatch(new RegExp(`^${step} +\\d+  `, 'm'));
  expect(status).toBe(2);
});

test('`make start` and the image run the steps of `npm run build`, except for the types of tests and the bundle for browsers', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: { build: string } };
  const steps = scripts.build
    .split(' && ')
    .filter((step) => !['tsc -b', 'node client/bundle.mjs'].includes(step));
  expect(steps).toEqual(['node bin/bundle.mjs', 'vite build console']);
  for (const file of ['Makefile', 'Dockerfile']) {
    const recipes = read(file)
      .split('\n')
      .filter((line) => /^(\t|RUN )/.test(line))
      .join('\n');
    const missing = steps.filter(
      (step) => !recipes.includes(step.replace('node ', '').replace('vite ', 'vite.js ')),
    );
    expect(missing, file).toEqual([]);
  }
});
