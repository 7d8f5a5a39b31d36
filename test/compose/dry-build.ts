// Builds an image without a container engine: reads a Dockerfile and runs it, RUN lines included, in one directory for each
// stage. It supports the instructions and forms that our Dockerfile uses and throws on all others, so that none is skipped. The
// base image is empty.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readDockerignore } from './dockerignore.ts';

export interface Image {
  /** The directory that would be `/` in the container. */
  readonly root: string;
  readonly base: string;
  workdir: string;
  user: string;
  env: Record<string, string>;
  entrypoint: string[];
  command: string[];
  healthcheck: string[];
  volumes: string[];
  labels: Record<string, string>;
}

interface Instruction {
  readonly word: string;
  readonly rest: string;
}

/** Build arguments with their defaults, by name. */
const argsOf = (dockerfile: string): ReadonlyMap<string, string> =>
  new Map([...dockerfile.matchAll(/^ARG (\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]));

const instructions = (dockerfile: string): Instruction[] =>
  dockerfile
    .replace(/\\\n/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, word = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
      return { word: word.toUpperCase(), rest };
    });

/** Files below `directory`, as relative paths, without those in directories named in `skipped`. */
export function filesBelow(directory: string, skipped: ReadonlySet<string> = new Set()): string[] {
  const found: string[] = [];
  const walk = (path: string): void => {
    for (const entry of readdirSync(join(directory, path), { withFileTypes: true })) {
      const name = path === '' ? entry.name : `${path}/${entry.name}`;
      if (!entry.isDirectory()) found.push(name);
      else if (!skipped.has(entry.name)) walk(name);
    }
  };
  walk('');
  return found;
}

/** Copies the files of the build context. */
export function copyContext(source: string, target: string): void {
  const isSent = readDockerignore(readFileSync(join(source, '.dockerignore'), 'utf8'));
  for (const file of filesBelow(source, new Set(['.git', 'node_modules', '.fame', 'dist']))) {
    if (!isSent(file)) continue;
    mkdirSync(dirname(join(target, file)), { recursive: true });
    cpSync(join(source, file), join(target, file), { verbatimSymlinks: true });
  }
}

export interface BuildOptions {
  dockerfile: string;
  context: string;
  /** An empty directory in which the stages are built. */
  into: string;
  /** Environment of RUN lines. */
  env: NodeJS.ProcessEnv;
}

/** Builds all stages and returns the last. @throws if the Dockerfile has an unsupported instruction or flag */
export function dryBuild({ dockerfile, context, into, env }: BuildOptions): Image {
  const stages = new Map<string, Image>();
  const args = argsOf(dockerfile);
  let image: Image | undefined;
  for (const { word, rest } of instructions(dockerfile)) {
    if (word === 'FROM') {
      const [, base = '', name = `stage${stages.size}`] =
        /^(?:--platform=\S+ )?(\S+)(?: AS (\S+))?$/i.exec(rest) ?? [];
      image = emptyImage(join(into, name), base);
      stages.set(name, image);
      continue;
    }
    if (!image) throw new Error(`${word} before FROM`);
    if (word === 'WORKDIR') {
      image.workdir = rest;
      mkdirSync(join(image.root, rest), { recursive: true });
    } else if (word === 'COPY') copy(image, rest, context, stages);
    else if (word === 'RUN') run(image, rest, env);
    else if (word === 'LABEL') Object.assign(image.labels, label(rest, args));
    else if (word === 'ENV') Object.assign(image.env, pairs(rest));
    else if (word === 'USER') image.user = rest;
    else if (word === 'VOLUME') image.volumes.push(rest);
    else if (word === 'ENTRYPOINT') image.entrypoint = execForm(rest);
    else if (word === 'CMD') image.command = execForm(rest);
    else if (word === 'HEALTHCHECK') image.healthcheck = execForm(/ CMD (.*)$/.exec(rest)?.[1] ?? '');
    else if (word !== 'EXPOSE' && word !== 'ARG') throw new Error(`The dry build does not support ${word}`);
  }
  if (!image) throw new Error('The Dockerfile has no stage');
  return image;
}

function run({ root, workdir, env: own }: Image, command: string, env: NodeJS.ProcessEnv): void {
  const cwd = join(root, workdir);
  const { status, stdout, stderr } = spawnSync('sh', ['-ec', command], {
    cwd,
    env: { ...env, ...own },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`RUN ${command} ended with ${status}:\n${stdout}${stderr}`);
}

function emptyImage(root: string, base: string): Image {
  mkdirSync(root, { recursive: true });
  return {
    root,
    base,
    workdir: '/',
    user: 'root',
    env: {},
    entrypoint: [],
    command: [],
    healthcheck: [],
    volumes: [],
    labels: {},
  };
}

function label(text: string, args: ReadonlyMap<string, string>): Record<string, string> {
  const [, name, value] = /^([\w.]+)="(.*)"$/.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new Error(`The dry build does not support LABEL ${text}`);
  return { [name]: value.replace(/\$(\w+)/g, (_, arg: string) => args.get(arg) ?? '') };
}

const pairs = (text: string): Record<string, string> =>
  Object.fromEntries(text.split(/\s+/).map((pair) => pair.split('=') as [string, string]));

// Only the exec form: a shell form would hide signals from the process and need a shell in the image.
function execForm(text: string): string[] {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value) || !value.every((word) => typeof word === 'string')) {
    throw new Error(`${text} is not in the exec form`);
  }
  return value;
}

function copy(image: Image, rest: string, context: string, stages: ReadonlyMap<string, Image>): void {
  const words = rest.split(/\s+/);
  let from = context;
  while (words[0]?.startsWith('--')) {
    const [flag, value = ''] = words.shift()!.split('=');
    if (flag === '--from') {
      const stage = stages.get(value);
      if (!stage) throw new Error(`There is no stage ${value}`);
      from = stage.root;
    } else if (flag !== '--chown') throw new Error(`The dry build does not support COPY ${flag}`);
  }
  const target = words.pop()!;
  const to = target.startsWith('/') ? join(image.root, target) : join(image.root, image.workdir, target);
  for (const source of words) {
    const path = join(from, source);
    const isDirectory = statSync(path).isDirectory();
    if (!isDirectory && !target.endsWith('/') && words.length > 1)
      throw new Error(`${target} must end in a slash`);
    const destination = isDirectory || !target.endsWith('/') ? to : join(to, basename(path));
    mkdirSync(dirname(destination), { recursive: true });
    cpSync(path, destination, { recursive: true, verbatimSymlinks: true });
  }
}
